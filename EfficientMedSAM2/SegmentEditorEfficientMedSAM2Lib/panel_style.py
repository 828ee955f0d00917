"""Colours of the panel: a button that is down is plainly down, in Slicer's light and in its dark style."""

import qt

#: White text on these has a contrast of 5 to 1 or more, and each stands out from light and from dark windows.
TOOL, INCLUDE, EXCLUDE, LOCKED = "#1565c0", "#2e7d32", "#c62828", "#8a5a00"


def colorWhenDown(button, color):
    """Give a button that stays down a colour, and take it away while it is up.

    A style sheet also keeps the colours of the window that it was made in, so that a button that is up has none.
    """
    style = ""
    if button.checked:
        edge = "border: 1px solid palette(shadow); border-radius: 3px; padding: 3px;"
        style = f"QToolButton {{ background-color: {color}; color: white; font-weight: bold; {edge} }}"
    if button.styleSheet != style:
        button.styleSheet = style


def isDark(widget):
    """Whether a widget is in a dark window."""
    return widget.palette.color(qt.QPalette.Window).lightness() < 128


def errorColor(widget):
    """Colour of the text of an error."""
    return "#ff8a80" if isDark(widget) else "#b71c1c"
