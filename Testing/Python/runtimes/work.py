"""A radiologist's work on the sample CT, the same for any runtime: points, boxes, propagation, a correction, undo."""

from __future__ import annotations

import sys
from pathlib import Path


class Blocked:
    """Makes some libraries as good as not installed."""

    def __init__(self, *names: str) -> None:
        self._names = names or ("torch", "torchvision", "timm", "onnx")

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def masks_of(model):
    """Masks bool of every step, by name."""
    import numpy as np
    import SimpleITK
    import slicerio

    from EfficientMedSAM2Lib import EfficientMedSAM2ImagePredictor, EfficientMedSAM2VolumePredictor, InteractiveSession

    folder = Path(slicerio.__file__).parent / "data"
    names = ("CTChest4.nrrd", "Segmentation.seg.nrrd")
    volume, labels = [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / name))) for name in names]
    lung = labels == 5
    k = int(np.flatnonzero(lung.any(axis=(1, 2)))[lung.any(axis=(1, 2)).sum() // 2])
    rows, columns = np.flatnonzero(lung[k].any(axis=1)), np.flatnonzero(lung[k].any(axis=0))
    y, x = np.argwhere(lung[k])[lung[k].sum() // 2].tolist()
    found = {}

    image = EfficientMedSAM2ImagePredictor(model)
    image.set_image(volume[k], modality="CT")
    candidates, scores, low_res = image.predict([[x, y]], [1])
    found["click"] = candidates[int(scores.argmax())] > 0
    found["corrected"] = (
        image.predict(
            [[x, y], [int(columns[0]), int(rows[0])]],
            [1, 0],
            mask_input=low_res[int(scores.argmax())][None],
            multimask_output=False,
        )[0][0]
        > 0
    )
    found["box"] = image.predict(box=[columns[0], rows[0], columns[-1], rows[-1]], multimask_output=False)[0][0] > 0

    # SAM2's calls: logits as torch tensors where there is torch, else as numpy arrays
    video = EfficientMedSAM2VolumePredictor(model)
    state = video.init_state(volume, spacing=(10.0, 3.05, 3.05), modality="CT")
    _, _, logits = video.add_new_points_or_box(state, k, 1, box=[columns[0], rows[0], columns[-1], rows[-1]])
    found["first"] = np.asarray(logits[0, 0]) > 0
    passes = [video.propagate_in_video(state, k, 3, reverse=reverse) for reverse in (False, True)]
    found["video"] = np.stack([np.asarray(logits[0, 0]) > 0 for steps in passes for _, _, logits in steps])

    session = InteractiveSession(EfficientMedSAM2VolumePredictor(model))
    session.set_image(volume, modality="CT")
    session.add_bbox_interaction(
        [[k, k + 1], [int(rows[0]), int(rows[-1]) + 1], [int(columns[0]), int(columns[-1]) + 1]]
    )
    for _ in session.propagate("1", limits=(k - 3, k + 4)):
        pass
    found["propagated"] = session.mask("1").copy()
    session.add_point_interaction((k + 2, int(rows[0]), int(columns[0])), False)
    found["after correction"] = session.mask("1").copy()
    session.undo()
    found["undone"] = session.mask("1").copy()
    assert (found["undone"] == found["propagated"]).all()
    return found


if __name__ == "__main__":
    sys.meta_path.insert(0, Blocked())
    import numpy as np

    from EfficientMedSAM2Lib import build_efficient_medsam2_model

    results = masks_of(build_efficient_medsam2_model(checkpoint=sys.argv[1]))
    assert not {"torch", "torchvision", "timm", "onnx"} & set(sys.modules)
    np.savez(sys.argv[2], **results)
