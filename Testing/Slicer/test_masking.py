"""The editor's masking and overwrite rules are obeyed."""

import numpy as np
import slicer
from slicer_case import Editor, ball, check, make_volume, run, wait_until


def make_neighbour(editor):
    """The left half of the ball belongs to segment B."""
    half = ball("A")
    half[:, :, 36:] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(half.astype(np.uint8), editor.segmentation, "B", editor.volume)
    return half


def neighbours_are_kept_where_overlap_is_allowed():
    """With 'overwrite none' the neighbour keeps its voxels."""
    editor = Editor(make_volume())
    half = make_neighbour(editor)
    node = editor.widget.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteNone)
    editor.click((12, 48, 44))
    wait_until(lambda: editor.mask("A").any(), "a click makes a mask")
    editor.settle()
    check(np.array_equal(editor.mask("B"), half), "the neighbour is the same as before")


def nothing_is_drawn_outside_the_editable_area():
    """With 'editable outside all segments' the new segment keeps out of the neighbour."""
    editor = Editor(make_volume())
    half = make_neighbour(editor)
    node = editor.widget.mrmlSegmentEditorNode()
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    editor.click((12, 48, 44))
    wait_until(lambda: editor.mask("A").any(), "a click makes a mask")
    count = editor.settle()
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
    check(np.array_equal(editor.mask("B"), half), "the neighbour is the same as before")
    check(not (editor.mask("A") & half).any(), f"the new segment of {count} voxels keeps out of it")


def neighbours_that_were_painted_are_kept():
    """Also with 'overwrite all', and 'do not enter other segments' off: nobody knows how sure they are."""
    editor = Editor(make_volume())
    half = make_neighbour(editor)
    node = editor.widget.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteAllSegments)
    editor.effect.setParameter("KeepOut", "0")
    editor.click((12, 48, 44))
    wait_until(lambda: editor.mask("A").any(), "a click makes a mask")
    editor.settle()
    check(np.array_equal(editor.mask("B"), half), "the neighbour is the same as before")
    check(not (editor.mask("A") & half).any(), "no voxel belongs to both")


def a_lesion_takes_its_voxels_from_an_organ_when_asked():
    """With 'overwrite all', and 'do not enter other segments' off, the voxels of what lies within change hands."""
    editor = Editor(make_volume())
    organ = np.ones_like(ball("A"))
    slicer.util.updateSegmentBinaryLabelmapFromArray(organ.astype(np.uint8), editor.segmentation, "B", editor.volume)
    node = editor.widget.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteAllSegments)
    editor.effect.setParameter("KeepOut", "0")
    editor.click((12, 48, 44))
    wait_until(lambda: editor.mask("A").any(), "a click makes a mask")
    editor.settle()
    check(not (editor.mask("A") & editor.mask("B")).any(), "no voxel belongs to both")
    taken = int((organ & ~editor.mask("B")).sum())
    check(taken == int(editor.mask("A").sum()), f"{taken} voxels changed hands")


run(
    neighbours_are_kept_where_overlap_is_allowed,
    nothing_is_drawn_outside_the_editable_area,
    neighbours_that_were_painted_are_kept,
    a_lesion_takes_its_voxels_from_an_organ_when_asked,
)
