"""The effect is in the Segment Editor, can be activated and left, and shows its options."""

import slicer
from slicer_case import EFFECT, Editor, check, make_volume, run


def effect_can_be_activated():
    """Activate the effect, look at it, leave it."""
    editor = Editor(make_volume())
    check(EFFECT in editor.widget.availableEffectNames(), "the editor lists the effect")
    check(editor.effect.name == EFFECT, "it is the active one")
    check(bool(editor.effect.self().helpText()), "it has a help text")
    check(not editor.effect.self().icon().isNull(), "it has an icon")
    check(editor.effect.optionsFrame().visible, "its options are shown")
    editor.widget.setActiveEffectByName("")
    check(editor.widget.activeEffect() is None, "it can be left")
    check(editor.mask().sum() == 0, "nothing was segmented by that")
    print(f"    {len(editor.widget.availableEffectNames())} effects: {', '.join(editor.widget.availableEffectNames())}")
    check(hasattr(slicer, "SegmentEditorEfficientMedSAM2Lib"), "Slicer knows the effect's package")


run(effect_can_be_activated)
