"""Scribbles and lassos in the browser: drawn by mouse and by keyboard, saved, and opened again."""

from __future__ import annotations

import json
import zipfile

import pytest

pytestmark = pytest.mark.browser

#: Around the heart on slice 16 of the sample, as parts of the axial view's width and height.
AROUND = (
    (0.44, 0.30),
    (0.50, 0.22),
    (0.58, 0.25),
    (0.61, 0.42),
    (0.57, 0.58),
    (0.48, 0.56),
    (0.44, 0.42),
    (0.44, 0.31),
)
ACROSS = ((0.49, 0.36), (0.53, 0.40), (0.55, 0.46))


def draw(user, tag, places):
    """Press at the first place of a view, move through the others, release at the last."""
    box = user.page.locator(f"[data-view={tag}]").bounding_box()
    pixels = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    user.page.mouse.move(*pixels[0])
    user.page.mouse.down()
    for pixel in pixels[1:]:
        user.page.mouse.move(*pixel, steps=6)
    user.page.mouse.up()


@pytest.mark.slow
def test_what_is_drawn_is_a_prompt_that_is_saved_and_opened_again(sample, tmp_path):
    user = sample
    user.command("slice", "Red", 16)
    user.key("e")
    user.wait("tool", "value === 'lasso'")
    draw(user, "Red", AROUND)
    in_lasso = user.wait_for_volume()
    assert 30 < in_lasso < 120  # the heart on a slice of 10 mm
    user.rest()
    user.picture("lasso")
    user.key("d", "n")
    user.wait("settings", "value.include === false")
    draw(user, "Red", ACROSS)
    user.wait("segments", f"Number(value[0].volume) !== {in_lasso}")
    user.rest()
    left = user.volume()
    assert left < in_lasso
    user.picture("scribble")
    user.key("Control+z")
    user.wait("segments", f"Number(value[0].volume) === {in_lasso}")
    user.key("Control+y")
    user.wait("segments", f"Number(value[0].volume) === {left}")
    user.rename("heart")
    saved = user.save("prompts", tmp_path)
    assert not zipfile.is_zipfile(saved)
    markups = json.loads(saved.read_text())["markups"]
    assert [markup["type"] for markup in markups] == ["ClosedCurve", "Curve"]
    assert "neg" in markups[1]["controlPoints"][0]["label"]

    user.open_sample()
    assert "The prompts for heart were used" in user.send(saved)
    user.wait("segments", "value.length === 1 && Number(value[0].volume) > 0")
    assert user.volume() == left


@pytest.mark.slow
def test_a_lasso_is_drawn_with_the_keyboard(sample):
    user = sample
    user.command("slice", "Red", 16)
    user.page.locator("[data-view=Red]").focus()
    user.key("e")
    user.wait("tool", "value === 'lasso'")
    user.command("step", "Red", 0, 14, 0)
    user.command("place", "Red")
    user.wait("is_drawing", "value === true")
    for right, up in ((14, 0), (0, -24), (-22, 0), (0, 24), (8, 0)):
        user.command("step", "Red", right, up, 0)
    user.command("place", "Red")
    user.wait("is_drawing", "value === false")
    user.wait_for_volume()
    user.rest()
    user.key("Control+z")
    user.wait("segments", "value[0].volume === '0'")
