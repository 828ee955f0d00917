"""The page's files: contrast by WCAG's formula, keys that are explained, commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WEB = Path(__file__).parents[3] / "Resources" / "Web"
CSS, SCRIPT = ((WEB / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
PAGES = {path.name: path.read_text(encoding="utf-8") for path in WEB.glob("*.html")}
COLORS = dict(re.findall(r"--(\w[\w-]*): (#[0-9a-f]{6})", CSS))


def luminance(color):
    channels = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("text", ["text", "soft", "bad", "Red", "Yellow", "Green", "ThreeD"])
@pytest.mark.parametrize("ground", ["ground", "panel", "raise"])
def test_text_can_be_read(text, ground):
    assert contrast(COLORS[text], COLORS[ground]) >= 4.5


def test_buttons_and_borders_can_be_seen():
    assert contrast(COLORS["on-accent"], COLORS["accent"]) >= 4.5
    for ground in ("ground", "panel", "raise"):
        assert contrast(COLORS["accent"], COLORS[ground]) >= 3  # the focus ring
        assert contrast(COLORS["line"], COLORS[ground]) >= 3
    for rule, ground in re.findall(r"\.tools \.?(\w+)?\.on \{ background: (#[0-9a-f]{6})", CSS):
        assert contrast("#e6ebf2", ground) >= 4.5, rule


def test_every_command_of_the_page_exists():
    pytest.importorskip("trame_slicer", reason="needs the extra web")
    folder = Path(__file__).parents[3] / "EfficientMedSAM2Lib/web/page"
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*commands.py"))
    known = set(re.findall(r'"(\w+)": (?:self|viewer)\.', source))
    used = set(re.findall(r"trigger\('command', \['(\w+)'", "".join(PAGES.values())))
    used |= set(re.findall(r'command\("(\w+)"', SCRIPT))
    assert len(used) > 20
    assert used <= known


def test_every_key_is_explained():
    keys = re.findall(r"^    (?:\"(.+?)\"|(\w+)):", SCRIPT[SCRIPT.index("const anywhere") :], re.MULTILINE)
    explained = PAGES["footer.html"]
    for quoted, plain in keys:
        key = quoted or plain
        if re.fullmatch(r"open-\w+|download|help|end|z|y", key):
            continue
        name = {"Escape": "Esc"}.get(key, key.upper() if len(key) == 1 else key)
        assert f"<kbd>{name}</kbd>" in explained or key in "so?", key


@pytest.mark.browser
def test_every_control_has_a_name(user):
    user.open_sample()
    nameless = user.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [role=slider], [data-view], [tabindex='0']")]
            .filter(e => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim()
                || (e.labels && e.labels.length) || e.title))
            .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert [html for html in nameless if "vtk" not in html] == []
    overflow = user.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert overflow == [1280, 720]  # all of it fits
    user.picture("sample")
