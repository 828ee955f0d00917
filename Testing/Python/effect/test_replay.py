"""A radiologist's session on a real chest CT, replayed through the effect's own file.

Three structures, five corrections, two undos, one cancel, save, load, go on. The oracle knows the structures of
slicerio's segmentation, so that the expected segments are known to the voxel.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

slicerio = pytest.importorskip("slicerio")

RIGHT, LEFT, COLUMN = "right lung", "left lung", "lumbar column"
LABELS = {RIGHT: 5, LEFT: 6, COLUMN: 4}


def structures():
    """Name -> mask: of each label and slice the largest part, thinned, so that no structure touches another."""
    folder = Path(slicerio.__file__).parent / "data"
    labels = np.asarray(slicerio.read_segmentation(str(folder / "Segmentation.seg.nrrd"))["voxels"]).transpose(2, 1, 0)
    masks, taken = {}, np.zeros(labels.shape, bool)
    for name, label in LABELS.items():
        mask, previous = np.zeros_like(taken), None
        for k in range(len(labels)):
            part = largest(ndimage.binary_erosion(labels[k] == label, iterations=2) & ~taken[k])
            if part.sum() < 60 or (previous is not None and not (part & previous).any()):
                if mask.any():
                    break
                continue
            mask[k], previous = part, part
        masks[name] = mask
        taken |= ndimage.binary_dilation(mask, np.ones((3, 3, 3)), iterations=2)
    return masks


def largest(mask):
    parts, count = ndimage.label(mask)
    return mask if count < 2 else parts == 1 + np.argmax(ndimage.sum(mask, parts, range(1, count + 1)))


def middle(mask, k):
    """The voxel of a slice that is deepest inside."""
    depth = ndimage.distance_transform_edt(mask[k])
    return (k, *(int(v) for v in np.unravel_index(depth.argmax(), depth.shape)))


def hole(mask, index_kji):
    """What the oracle takes away for a negative click."""
    k, j, i = index_kji
    left = mask.copy()
    left[k, j - 1 : j + 2, i - 1 : i + 2] = False
    return left


def save_scene(folder):
    import slicer

    scene = slicer.mrmlScene
    for n in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(n)
        if node.IsA("vtkMRMLStorableNode") and node.GetSaveWithScene() and node.GetHideFromEditors() == 0:
            node.AddDefaultStorageNode()
            storage = node.GetStorageNode()
            if storage is not None:
                storage.SetFileName(str(folder / f"{node.GetID()}.{storage.GetDefaultWriteFileExtension()}"))
                assert storage.WriteData(node), node.GetName()
    scene.SetRootDirectory(str(folder))
    scene.SetURL(str(folder / "scene.mrml"))
    assert scene.Commit()


def load_scene(user, folder):
    import slicer

    slicer.mrmlScene.Clear(0)
    user.host.process_events(20)
    slicer.mrmlScene.SetURL(str(folder / "scene.mrml"))
    assert slicer.mrmlScene.Import()
    user.host.process_events(20)
    user.volume = slicer.mrmlScene.GetFirstNodeByName("CT")
    user.editor.segmentation = slicer.mrmlScene.GetFirstNodeByName("Segmentation")
    user.editor.widget.setSegmentationNode(user.editor.segmentation)
    user.editor.widget.setSourceVolumeNode(user.volume)
    user.editor.widget.setCurrentSegmentID(RIGHT)
    user.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    user.orient_views()
    user.wait()


def test_a_radiologists_session(make_user, oracle, tmp_path):
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    truth = structures()
    assert all(mask.any(axis=(1, 2)).sum() >= 5 for mask in truth.values())
    oracle.truth = np.logical_or.reduce(list(truth.values()))
    ct = read_volume(Path(slicerio.__file__).parent / "data" / "CTChest4.nrrd")
    user = make_user(ct.array, ijk_to_ras=ct.ijk_to_ras, segments=tuple(truth), name="CT")
    source = hashlib.sha256(user.voxels()).hexdigest()
    panel, expected = user.panel, dict(truth)
    slices = {name: np.flatnonzero(mask.any(axis=(1, 2))) for name, mask in truth.items()}

    # Right lung: a box, propagation, two corrections, of which the second is taken back.
    k = int(slices[RIGHT][len(slices[RIGHT]) // 2])
    rows, columns = np.nonzero(truth[RIGHT][k])
    user.press(panel.toolButtons["box"])
    user.jump_to((k, int(rows.mean()), int(columns.mean()))).drag(
        user.world((k, rows.min() - 1, columns.min() - 1)), user.world((k, rows.max() + 1, columns.max() + 1))
    )
    user.wait()
    user.press(panel.propagateButton)
    np.testing.assert_array_equal(user.editor.mask(RIGHT), truth[RIGHT])
    user.press(panel.toolButtons["point"])
    user.press(panel.excludeButton)
    first = middle(truth[RIGHT], int(slices[RIGHT][2]))
    user.click(first)
    user.click(middle(truth[RIGHT], int(slices[RIGHT][-2])))
    user.undo()
    user.press(panel.propagateButton)  # stale slices
    expected[RIGHT] = hole(truth[RIGHT], first)
    np.testing.assert_array_equal(user.editor.mask(RIGHT), expected[RIGHT])
    assert user.controller.scores.stale == frozenset()

    # Left lung: a click, propagation that is cancelled and gone on with, a correction.
    user.select(LEFT)
    user.press(panel.includeButton)
    user.click(middle(truth[LEFT], int(slices[LEFT][len(slices[LEFT]) // 2])))
    oracle._maybe_fail = lambda _frame: time.sleep(0.02)
    user.press(panel.propagateButton, wait=False)
    assert user.propagated(3)
    user.press(panel.propagateButton)
    done = user.editor.mask(LEFT).any(axis=(1, 2)).sum()
    assert 3 < done < len(slices[LEFT])
    oracle._maybe_fail = lambda _frame: None
    user.press(panel.propagateButton)
    np.testing.assert_array_equal(user.editor.mask(LEFT), truth[LEFT])
    user.press(panel.excludeButton)
    third = middle(truth[LEFT], int(slices[LEFT][1]))
    user.click(third)
    expected[LEFT] = hole(truth[LEFT], third)

    # Column: the longest diameter, propagation, a correction that another one heals, and that is taken back.
    user.select(COLUMN)
    k = int(slices[COLUMN][1])
    rows, columns = np.nonzero(truth[COLUMN][k])
    user.press(panel.toolButtons["line"])
    row = int(np.median(rows))
    ends = columns[rows == row]
    user.jump_to((k, row, int(ends.mean()))).drag(user.world((k, row, ends.min())), user.world((k, row, ends.max())))
    user.wait()
    user.press(panel.propagateButton)
    user.press(panel.toolButtons["point"])
    fourth = middle(truth[COLUMN], int(slices[COLUMN][-1]))
    user.press(panel.excludeButton)  # a segment without prompts begins with Include
    user.click(fourth)
    user.press(panel.includeButton)
    healed = user.editor.mask(COLUMN)
    user.click((fourth[0], *np.argwhere(healed[fourth[0]])[0].tolist()))
    user.undo()
    column = user.editor.mask(COLUMN)
    assert not column[fourth]
    assert not (column & ~truth[COLUMN]).any()
    expected[COLUMN] = column

    prompts = {name: user.prompt_count(name) for name in truth}
    assert list(prompts.values()) == [2, 2, 2]
    for name, mask in expected.items():
        np.testing.assert_array_equal(user.editor.mask(name), mask)
    assert hashlib.sha256(user.voxels()).hexdigest() == source

    # The next day.
    save_scene(tmp_path)
    load_scene(user, tmp_path)
    for name, mask in expected.items():
        np.testing.assert_array_equal(user.editor.mask(name), mask)
    assert hashlib.sha256(user.voxels()).hexdigest() == source
    user.press(panel.excludeButton)
    last = middle(truth[RIGHT], int(slices[RIGHT][4]))
    user.click(last)
    expected[RIGHT] = hole(expected[RIGHT], last)
    assert user.prompt_count(RIGHT) == 3
    for name, mask in expected.items():
        np.testing.assert_array_equal(user.editor.mask(name), mask)
    user.undo()
    assert user.editor.mask(RIGHT)[last]
    assert user.prompt_count(RIGHT) == 2
    assert hashlib.sha256(user.voxels()).hexdigest() == source
