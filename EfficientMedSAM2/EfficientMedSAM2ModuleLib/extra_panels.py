"""Sections of the panel that other parts of the extension add, such as the cohort's."""

from __future__ import annotations

from typing import Any, Callable

#: Makes a section's content inside a frame: gets a qt.QVBoxLayout, and returns what must be kept alive.
PanelBuilder = Callable[[Any], Any]

_builders: dict[str, PanelBuilder] = {}


def add_panel(title: str, build: PanelBuilder) -> None:
    """Offer a section; it appears when the panel is made the next time. The same title replaces it."""
    _builders[title] = build


def build_panels(layout: Any) -> list[Any]:
    """Make all sections at the end of the panel's layout; returns what must be kept alive."""
    import ctk
    import qt

    kept = []
    for title, build in _builders.items():
        section = ctk.ctkCollapsibleButton()
        section.text = title
        section.collapsed = True
        kept += [section, build(qt.QVBoxLayout(section))]
        layout.addWidget(section)
    return kept
