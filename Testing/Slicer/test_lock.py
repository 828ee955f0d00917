"""A locked segment keeps its voxels; prompts are deleted one by one; what is needed is at the top of the panel."""

from __future__ import annotations

from slicer_case import BALLS, Editor, check, make_volume, run


def a_locked_segment_is_kept():
    """Lock the large ball, try to change it, and let the other segment try to take it."""
    editor = Editor(make_volume())
    editor.click(BALLS["A"][0])
    before = editor.settle()
    check(before > 0, "a click makes a mask")
    lock = editor.tool_button("Lock")
    lock.click()
    editor.click(BALLS["B"][0])
    check(editor.settle() == before, "a click does not change a locked segment")
    editor.press("Propagate")
    check(editor.settle() == before, "nor does propagation")
    editor.widget.setCurrentSegmentID("B")
    node = editor.widget.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteAllSegments)
    editor.effect.setParameter("KeepOut", "0")
    editor.click(BALLS["A"][0])
    editor.settle("B")
    check(int(editor.mask("A").sum()) == before, "nor does another segment take its voxels")


def a_prompt_is_deleted():
    """Click in both balls, and delete the second click in the list."""
    editor = Editor(make_volume())
    editor.click(BALLS["A"][0])
    alone = editor.settle()
    editor.click(BALLS["B"][0], jump=False)
    check(editor.settle() > alone, "the second click adds the other ball")
    panel = editor.effect.self().panel
    check(panel.promptList.count == 2, "both are listed")
    panel.promptList.currentRow = 1
    editor.press("Delete")
    check(editor.settle() == alone, "the mask is that of the first click")
    check(panel.promptList.count == 1, "the other is listed no more")


def the_panel_is_in_order():
    """Prompts, message, Propagate and confidence are above the closed section More, which holds all else."""
    editor = Editor(make_volume())
    panel = editor.effect.self().panel
    parts = (panel.toolButtons["point"], panel.includeButton, panel.propagateButton, panel.strip.label)
    tops = [part.y for part in parts]
    check(tops == sorted(tops), f"the parts are in order: {tops}")
    check(panel.moreSection.collapsed, "More is closed")
    check("(P)" in panel.toolButtons["point"].text, "keys stand on the buttons")


run(a_locked_segment_is_kept, a_prompt_is_deleted, the_panel_is_in_order)
