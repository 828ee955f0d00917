from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.learning.samples import augment, synthesis
from EfficientMedSAM2Lib.learning.samples.batches import (
    MixedBatches,
    clip_batches,
    collate_clips,
    collate_slices,
    load_training_images,
    load_unlabelled_images,
    slice_batches,
)
from EfficientMedSAM2Lib.learning.samples.clips import LARGEST_STEP_MM, LabelledClips, SyntheticClips, random_slices
from EfficientMedSAM2Lib.learning.samples.sources import shapes
from EfficientMedSAM2Lib.learning.samples.sources.labelled import FARTHEST_NEIGHBOUR_MM, LabelledSource
from EfficientMedSAM2Lib.learning.samples.sources.object_index import ObjectIndex
from EfficientMedSAM2Lib.learning.samples.sources.pseudo import PseudoSource
from EfficientMedSAM2Lib.learning.samples.sources.sample import MIN_VISIBLE_PX
from EfficientMedSAM2Lib.learning.samples.sources.superpixels import SuperpixelSource


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave intensities as they are, so that bright stays bright."""
    for module in ("sources.sample", "clips"):
        monkeypatch.setattr(
            f"EfficientMedSAM2Lib.learning.samples.{module}.augment_intensity",
            lambda image, rng, **unused: image.clone(),
        )


def agreement(mask: torch.Tensor, bright: torch.Tensor) -> float:
    return float(2 * (mask * bright).sum() / (mask.sum() + bright.sum()))


@pytest.mark.usefixtures("plain")
def test_masks_sit_on_the_anatomy(manifest_path: Path) -> None:
    # In these images everything labelled is bright, so the union of all labels is what can be seen.
    _, index = load_training_images(manifest_path)
    source = LabelledSource(index)
    rng = np.random.default_rng(0)
    checked = 0
    for row in range(0, len(index), 7):
        key = index.key(row)
        if key.union < 0 and index.images[key.image].is_volume:
            continue
        sample = source.sample(key, rng)
        if sample is None:
            continue
        bright = (sample.image.mean(dim=0) > 0.5).float()
        assert set(sample.mask.unique().tolist()) <= {0.0, 1.0}
        assert float((sample.mask * bright).sum() / sample.mask.sum()) > 0.9
        checked += 1
    assert checked > 10


@pytest.mark.usefixtures("plain")
def test_pseudo_labels_are_read_while_they_are_written(pseudo_folder: Path) -> None:
    source = PseudoSource(pseudo_folder)
    sample = source.draw(np.random.default_rng(0))
    assert agreement(sample.mask, (sample.image[0] > 0.5).float()) > 0.95
    assert sample.confidence == pytest.approx(0.8)
    assert not sample.neighbour_valid
    content = (pseudo_folder / "slice_0.npz").read_bytes()
    (pseudo_folder / "slice_1.npz").write_bytes(content)
    source.refresh()
    assert len(source) == 2


def test_what_is_left_out_is_drawn_from_nowhere(manifest_path: Path, pseudo_folder: Path) -> None:
    """Not its labels, not its shapes in synthesis, not what a teacher said of its images."""
    for number, source in enumerate(["organ/other.nii.gz", "photo/p1.png", "organ/case0.nii.gz", None], start=1):
        (pseudo_folder / f"slice_{number}.npz").write_bytes((pseudo_folder / "slice_0.npz").read_bytes())
        if source is not None:
            with (pseudo_folder / "records_0.jsonl").open("a") as file:
                file.write(json.dumps({"file": f"slice_{number}.npz", "source": source}) + "\n")
    (pseudo_folder / "index.json").write_text(json.dumps([{"file": "slice_0.npz", "source": "nuclei/n1.png"}]))
    labels, synthetic, superpixels, pseudo = slice_batches(
        manifest_path, pseudo_folder, leave_out=["organ"]
    ).source.sources
    assert {image.dataset for image in superpixels.images} == {"photo", "nuclei"}
    assert {image.dataset for image in labels.index.images} == {"photo", "nuclei"}
    assert {image.dataset for image in synthetic.images} == {"nuclei"}
    assert len(pseudo) == 2, "one of the organ is left out, and one of which nobody knows"
    rng = np.random.default_rng(0)
    assert {pseudo.draw(rng).name for _ in range(40)} == {"pseudo/slice_0", "pseudo/slice_2"}
    clips, shapes = clip_batches(manifest_path, leave_out=["photo", "nuclei"]).source.sources
    assert {image.dataset for image in clips.index.images} == {image.dataset for image in shapes.images} == {"organ"}


def test_leaving_out_what_is_not_there_or_everything_is_refused(manifest_path: Path, pseudo_folder: Path) -> None:
    with pytest.raises(ValueError, match="'organs'"):
        clip_batches(manifest_path, leave_out=["organs"])
    with pytest.raises(ValueError, match="fewer data sets"):
        slice_batches(manifest_path, leave_out=["organ", "photo", "nuclei"])
    with pytest.raises(ValueError, match="no pseudo-labels"):
        slice_batches(manifest_path, pseudo_folder, leave_out=["photo"])


def test_empty_pseudo_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pseudo_labels"):
        PseudoSource(tmp_path).draw(np.random.default_rng(0))


@pytest.mark.usefixtures("plain")
def test_neighbour_masks_come_from_the_same_view(manifest_path: Path) -> None:
    _, index = load_training_images(manifest_path)
    source = LabelledSource(index, neighbour_probability=1.0)
    rng = np.random.default_rng(0)
    overlaps, distances = [], []
    for _ in range(60):
        sample = source.draw(rng)
        if sample.neighbour_valid:
            overlaps.append(agreement(sample.mask, sample.neighbour_mask))
            distances.append(abs(sample.neighbour_distance_mm))
    assert len(overlaps) > 15
    near = np.array(distances) <= 3
    assert np.median(np.array(overlaps)[near]) > 0.7
    assert min(distances) >= 0.8
    assert 3 < max(distances) <= FARTHEST_NEIGHBOUR_MM + 0.5


@pytest.mark.parametrize("depth", [1, 4])
def test_scenes_show_their_target(depth: int, manifest_path: Path) -> None:
    images, _ = load_training_images(manifest_path)
    rng = np.random.default_rng(3)
    visible = 0
    for _ in range(40):
        scene = synthesis.random_scene(rng, depth, 0, images)
        assert scene.images.shape == scene.masks.shape == (depth, *scene.images.shape[1:])
        assert scene.images.min() >= 0.0
        assert scene.images.max() <= 1.0
        mask = scene.masks[0]
        assert mask.sum() >= 20
        inner = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        contour = mask.copy()
        contour[1:-1, 1:-1] &= ~inner
        smooth = augment.blur(torch.from_numpy(scene.images[:1]), 2)[0].numpy()
        steepness = np.hypot(*np.gradient(smooth))
        # A contour that does not belong to the image would be no steeper than its mirror image, half of the time.
        visible += steepness[contour].mean() > steepness[contour[::-1, ::-1]].mean()
    assert visible >= 34


def test_label_stacks_change_slowly() -> None:
    rng = np.random.default_rng(4)
    same = []
    for _ in range(30):
        labels = shapes.random_label_stack(rng, 3, 64)
        assert labels.shape == (3, 64, 64)
        assert labels.min() >= 0
        same.append((labels[0] == labels[1]).mean())
    assert 0.8 < np.mean(same) < 1.0


@pytest.mark.parametrize(("start", "count", "spacing"), [(0, 12, 1.0), (11, 12, 1.0), (5, 12, 4.0), (3, 6, 7.0)])
def test_clips_stay_in_the_volume_and_start_where_told(start: int, count: int, spacing: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        slices = random_slices(start, count, 4, spacing, rng)
        if slices is None:
            assert count == 6
            continue
        steps = set(np.diff(slices))
        assert slices[0] == start
        assert len(steps) == 1
        assert 0 <= min(slices) <= max(slices) < count
        assert abs(steps.pop()) * spacing <= max(LARGEST_STEP_MM, spacing)
    assert random_slices(1, 3, 4, 1.0, rng) is None


@pytest.mark.usefixtures("plain")
def test_clips_follow_the_object_past_its_end(manifest_path: Path) -> None:
    _, index = load_training_images(manifest_path)
    source = LabelledClips(index, length=4)
    rng = np.random.default_rng(1)
    clips = [source.draw(rng) for _ in range(80)]
    present = torch.stack([clip.masks.flatten(1).any(dim=1) for clip in clips])
    assert present[:, 0].all()
    assert (~present[:, -1]).any()
    assert present[:, -1].any()
    # An object that has ended does not come back.
    assert bool((present[:, 1:] <= present[:, :-1]).all())
    for clip in clips:
        assert clip.distance_mm[0] == 0
        assert (clip.distance_mm[1:].abs() > 0).all()
        for image, mask in zip(clip.images, clip.masks):
            if mask.sum() > 200:
                assert float((mask * (image > 0.5)).sum() / mask.sum()) > 0.85


def test_clips_need_volumes(manifest_path: Path) -> None:
    images, _ = load_training_images(manifest_path)
    with pytest.raises(ValueError, match="volumes"):
        LabelledClips(ObjectIndex([image for image in images if not image.is_volume]))


def test_batches_are_reproducible_and_mixed(manifest_path: Path, pseudo_folder: Path) -> None:
    first = next(iter(slice_batches(manifest_path, pseudo_folder, batch_size=24, seed=5)))
    again = next(iter(slice_batches(manifest_path, pseudo_folder, batch_size=24, seed=5)))
    other = next(iter(slice_batches(manifest_path, pseudo_folder, batch_size=24, seed=6)))
    assert torch.equal(first["image"], again["image"])
    assert first["name"] != other["name"]
    assert first["image"].shape == (24, 3, 256, 256)
    assert first["image"].dtype == torch.float32
    assert first["mask"].shape == first["neighbour_mask"].shape == (24, 256, 256)
    assert first["mask"].flatten(1).any(dim=1).all()
    assert not first["neighbour_mask"][~first["neighbour_valid"]].any()
    names = first["name"]
    assert "synthetic" in names
    assert any(name.startswith("pseudo/") for name in names)
    assert any(name.startswith(("organ/", "photo/", "nuclei/")) for name in names)


def test_superpixels_can_be_told_from_what_is_around_them(manifest_path: Path) -> None:
    images = load_unlabelled_images(manifest_path)
    assert [image.name for image in images] == ["organ/other.nii.gz"]
    source = SuperpixelSource(images)
    rng = np.random.default_rng(0)
    samples = [source.draw(rng) for _ in range(6)]
    assert {sample.name for sample in samples} == {"superpixel:organ/other.nii.gz"}
    for sample in samples:
        inside = sample.mask > 0.5
        assert MIN_VISIBLE_PX <= int(inside.sum()) < inside.numel() / 2


def test_unlabelled_images_are_read_for_superpixels_only(manifest_path: Path) -> None:
    batches = slice_batches(manifest_path, mix={"superpixels": 1.0}, batch_size=2)
    assert next(iter(batches))["name"][0].startswith("superpixel:")
    both = slice_batches([manifest_path, manifest_path], mix={"labels": 1.0}, batch_size=2)
    assert len(both.source.sources[0].index.images) == 2 * len(load_training_images(manifest_path)[0])


def test_mix_leaves_out_what_is_missing(manifest_path: Path, tmp_path: Path) -> None:
    batches = slice_batches(manifest_path, tmp_path / "nothing", mix={"pseudo": 0.9, "synthetic": 0.1}, batch_size=3)
    assert next(iter(batches))["name"] == ["synthetic"] * 3
    with pytest.raises(ValueError, match="No source"):
        MixedBatches({}, {"labels": 1.0}, collate_slices)


def test_clip_batches(manifest_path: Path) -> None:
    batch = next(iter(clip_batches(manifest_path, batch_size=3, length=3)))
    assert batch["images"].shape == (3, 3, 3, 256, 256)
    assert batch["masks"].shape == (3, 3, 256, 256)
    assert batch["distance_mm"].shape == batch["present"].shape == (3, 3)
    assert torch.equal(batch["present"], batch["masks"].flatten(2).any(dim=2))
    only = next(iter(MixedBatches({"synthetic": SyntheticClips(length=3)}, {"synthetic": 1.0}, collate_clips, 2)))
    assert only["name"] == ["synthetic"] * 2


def test_views_come_again_in_another_order(manifest_path: Path, pseudo_folder: Path) -> None:
    batches = iter(slice_batches(manifest_path, pseudo_folder, batch_size=6, views=6))
    first, second = next(batches), next(batches)
    seen = [[image.numpy().tobytes() for image in batch["image"]] for batch in (first, second)]
    assert len(set(seen[0])) == 6
    assert set(seen[0]) == set(seen[1])
    assert seen[0] != seen[1]
    again = next(iter(slice_batches(manifest_path, pseudo_folder, batch_size=6, views=6)))
    assert torch.equal(again["image"], first["image"])


def test_wide_clips_show_smaller_objects(manifest_path: Path) -> None:
    def share(wide: float) -> float:
        batch = next(iter(clip_batches(manifest_path, {"labels": 1.0}, 24, 2, wide_probability=wide)))
        return float(batch["masks"][:, 0].mean())

    assert share(1.0) < 0.8 * share(0.0)
