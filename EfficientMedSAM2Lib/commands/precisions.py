"""`efficient-medsam2 precisions`: what each precision and runtime costs on this machine, and what it does to masks."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.pipeline.engine import DEFAULT_ENCODER, add_engine_options

#: Runtime and precision of each line of the table; the first is what the others are compared with.
VARIANTS = (("torch", "fp32"), ("torch", "bf16"), ("torch", "fp16"), ("onnx", "fp32"), ("onnx", "int8"))
#: Pixels along the edge of a slice.
SIDE = 512
COLUMNS = ("file MB", "memory MB", "load s", "encode ms", "new slice ms", "same slice ms", "propagate ms", "agreement")
#: Right lung in the segmentation of the sample CT.
LUNG = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `precisions`."""
    parser.description = (
        "Measure every precision in a process of its own, in turns: file, memory above the imported libraries, the "
        "fastest of several times on a CT of 512 x 512, agreement (Dice) of its propagated masks with torch's in fp32; "
        "with --manifest also the box Dice of `evaluate`."
    )
    add = parser.add_argument
    add_engine_options(parser, "encoder", "weights")
    add("--rounds", type=int, default=2, metavar="N", help="times that each is measured, in turns; default: 2")
    add("--manifest", type=Path, metavar="PATH", help="labelled scans, as for `evaluate`")
    add("--limit", type=int, default=8, metavar="N", help="objects per data set of the manifest; default: 8")
    add("--json", type=Path, metavar="FILE", help="also write the numbers")


def run(args: argparse.Namespace) -> int:
    """Measure, and print the table as Markdown."""
    if args.rounds < 1 or args.limit < 1:
        raise UserError("--rounds and --limit must be at least 1.")
    args.encoder = args.encoder or DEFAULT_ENCODER
    table: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for number in range(args.rounds):
            for runtime, precision in VARIANTS:
                found = _child(args, runtime, precision, Path(name))
                known = table.setdefault(f"{runtime} {precision}", found)
                # Whatever else the machine does makes things slower and larger, never faster.
                known.update({key: min(known[key], found[key]) for key in found})
                if number == 0 and args.manifest:
                    known["box Dice"] = _box_dice(args, runtime, precision, Path(name))
                if args.json:  # after each, so that an interruption loses little
                    with replacing(args.json) as temporary:
                        temporary.write_text(json.dumps(table, indent=2), encoding="utf-8")
    print(markdown(table))
    return 0


def markdown(table: dict[str, dict[str, float]]) -> str:
    """The numbers as a Markdown table."""
    columns = [*COLUMNS, *(["box Dice"] if any("box Dice" in row for row in table.values()) else [])]
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for name, row in table.items():
        cells = (f"{row[key]:.4f}" if key in ("agreement", "box Dice") else f"{row[key]:.1f}" for key in columns)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _child(args: argparse.Namespace, runtime: str, precision: str, folder: Path) -> dict[str, float]:
    asked = [args.encoder, str(args.weights or ""), runtime, precision, str(folder / "reference.npy")]
    code = f"from {__name__} import measure; measure(*{asked!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise UserError(f"{runtime} {precision} cannot be measured: {last}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _box_dice(args: argparse.Namespace, runtime: str, precision: str, folder: Path) -> float:
    from EfficientMedSAM2Lib.evaluation.methods import EfficientMedSAM2Method

    method, output = EfficientMedSAM2Method.name, folder / f"{runtime}-{precision}"
    command = [
        *(sys.executable, "-m", "EfficientMedSAM2Lib.cli", "evaluate", "--manifest", str(args.manifest)),
        *("--model", method, "--protocol", "box", "--limit", str(args.limit), "--quiet", "--output", str(output)),
        *("--encoder", args.encoder, "--runtime", runtime, "--precision", precision),
        *(("--weights", str(args.weights)) if args.weights else ()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(done.stderr.strip().splitlines()[-1])
    results = json.loads((output / "box.json").read_text(encoding="utf-8"))["results"]
    return float(results[method]["macro"]["dice"])


def measure(encoder: str, weights: str, runtime: str, precision: str, reference: str) -> None:
    """Measure one variant in this process, and print the numbers as JSON; the first one leaves its masks for others."""
    import numpy as np

    from EfficientMedSAM2Lib.core.metrics import dice
    from EfficientMedSAM2Lib.core.resources import shipped_weights
    from EfficientMedSAM2Lib.pipeline.machine import peak_memory_megabytes
    from EfficientMedSAM2Lib.predictors import EfficientMedSAM2ImagePredictor, EfficientMedSAM2VolumePredictor
    from EfficientMedSAM2Lib.runtimes.build import build_efficient_medsam2_model, exported_file

    volume, spacing, k, box = _sample()
    checkpoint = weights or None
    path = exported_file(encoder, checkpoint, precision) if runtime == "onnx" else shipped_weights(encoder)
    _import_libraries(runtime)
    libraries = peak_memory_megabytes() or 0.0
    start = time.perf_counter()
    model = build_efficient_medsam2_model(encoder, checkpoint, "cpu", runtime=runtime, precision=precision)
    found = {"file MB": (path if runtime == "onnx" or not weights else Path(weights)).stat().st_size / 1e6}
    found["load s"] = time.perf_counter() - start

    image = EfficientMedSAM2ImagePredictor(model)
    click = ([[(box[0] + box[2]) // 2, (box[1] + box[3]) // 2]], [1])

    def new_slice() -> None:
        image.set_image(volume[k], modality="CT", spacing=spacing[1:])
        image.predict(*click)

    found["new slice ms"] = _fastest(new_slice)
    found["same slice ms"] = _fastest(lambda: image.predict(*click))
    found["encode ms"] = _encoder_ms(model)

    video = EfficientMedSAM2VolumePredictor(model)
    state = video.init_state(volume, spacing=spacing, modality="CT")
    video.add_new_points_or_box(state, k, 1, box=box, need_output=False)
    times, masks = [], []
    last = time.perf_counter()
    for _, mask, _ in video.propagate_object(state, 1, k, range(k, min(k + 9, len(volume)))):
        times.append(time.perf_counter() - last)
        masks.append(mask)
        last = time.perf_counter()
    found["propagate ms"] = 1000 * min(times[1:])
    found["memory MB"] = (peak_memory_megabytes() or 0.0) - libraries
    if not Path(reference).exists():
        np.save(reference, np.stack(masks))
    found["agreement"] = dice(np.stack(masks), np.load(reference))
    print(json.dumps(found))


def _sample() -> tuple[Any, tuple[float, float, float], int, list[int]]:
    """The CT that comes with slicerio, with slices of 512 x 512 at 5 mm: voxels, spacing, a slice, and a box on it."""
    import numpy as np
    import SimpleITK
    from scipy import ndimage

    from EfficientMedSAM2Lib.core.boxes import tight_xyxy
    from EfficientMedSAM2Lib.imaging.sample import sample_scan, sample_segmentation

    images = [SimpleITK.ReadImage(str(path)) for path in (sample_scan(), sample_segmentation())]
    x, y, z = images[0].GetSpacing()
    ct, labels = (SimpleITK.GetArrayFromImage(image) for image in images)
    factors = (z / 5.0, SIDE / ct.shape[1], SIDE / ct.shape[2])
    volume = ndimage.zoom(ct.astype(np.int16), factors, order=1)
    lung = ndimage.zoom((labels == LUNG).astype(np.uint8), factors, order=0) > 0
    k = int(lung.sum(axis=(1, 2)).argmax())
    box = tight_xyxy(lung[k])
    assert box is not None
    return volume, (5.0, y / factors[1], x / factors[2]), k, [int(edge) for edge in box]


def _import_libraries(runtime: str) -> None:
    from scipy import ndimage  # noqa: F401

    if runtime == "onnx":
        import onnxruntime  # noqa: F401
    else:
        from EfficientMedSAM2Lib.models.timm_import import import_timm

        import_timm()


def _encoder_ms(model: Any) -> float:
    """The bare encoder: the limit of everything above it."""
    import numpy as np

    from EfficientMedSAM2Lib.runtimes.arrays import arrays_of

    arrays, size = arrays_of(model), model.config.image_size
    picture = arrays.to_device(np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32))
    with arrays.inference():
        return _fastest(lambda: model.encode_image(picture))


def _fastest(work: Any, repeats: int = 6) -> float:
    """Milliseconds of the fastest run."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)
