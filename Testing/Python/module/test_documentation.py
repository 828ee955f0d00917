"""docs/SLICER.md explains what there is: every control of both panels, every key, every picture."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from host.pythonqt import unwrap

REPOSITORY = Path(__file__).resolve().parents[3]
TEXT = (REPOSITORY / "docs" / "SLICER.md").read_text(encoding="utf-8")
CAPTIONS = re.compile(r"\*\*(.+?)\*\*")


def captions(widget):
    """Texts of all buttons, boxes and labelled rows inside."""
    from PySide6 import QtWidgets

    native = unwrap(getattr(widget, "panel", widget))
    buttons = {button.text() for button in native.findChildren(QtWidgets.QAbstractButton)}
    rows = {label.text().rstrip(":") for label in native.findChildren(QtWidgets.QLabel) if label.text().endswith(":")}
    plain = (text.split(" (")[0].lstrip("+\N{MINUS SIGN} ") for text in buttons | rows)  # without key and sign
    return {text for text in plain if text and text != "..."}


def is_explained(caption):
    return caption in CAPTIONS.findall(TEXT)


def test_every_control_of_the_effect_is_explained(slicer_host, segment_editor, monkeypatch):
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    monkeypatch.setattr(loader, "missing_packages", lambda _arguments: ["torch"])
    editor = segment_editor(slicer_host, slicer_host.volume(np.zeros((4, 8, 8), np.int16)))
    found = captions(editor.scripted_effect.optionsFrame())
    assert len(found) > 20
    named = {"Options"}  # a row that is explained by what is in it
    assert {caption for caption in found - named if not is_explained(caption)} == set()
    from SegmentEditorEfficientMedSAM2Lib.more_options import DIRECTIONS, RANGES, WINDOWS

    for _value, text in (*DIRECTIONS, *RANGES, *WINDOWS[:3]):
        assert text.split(" (")[0].split()[0] in TEXT.lower()
    from SegmentEditorEfficientMedSAM2Lib.shortcuts import KEYS

    for key in KEYS.values():
        assert f"| {key} |" in TEXT


def test_every_control_of_the_module_is_explained(slicer_host):
    module = slicer_host.load_module(REPOSITORY / "EfficientMedSAM2" / "EfficientMedSAM2.py")
    found = captions(module.widgetRepresentation())
    assert len(found) > 12
    shown_only = {"PyTorch", "Python packages", "Weights", "Set up: nothing to do"}
    assert {caption for caption in found - shown_only if not is_explained(caption)} == set()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)]+)\)", TEXT))))
def test_links_lead_somewhere(target):
    if target.startswith("#"):
        headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert target[1:] in anchors
    elif not target.startswith("https://"):
        assert (REPOSITORY / "docs" / target).exists()
