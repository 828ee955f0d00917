"""Prompts of a segment one by one: listed, gone to, moved, taken away; and what a click would make."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def prompted(sample):
    """A box on the heart, and a point on it on another slice."""
    user = sample
    user.page.click("summary")
    user.draw_box()
    user.rest()
    user.command("slice", "Red", 20)
    user.wait("slices", "value.Red.index === 20")
    user.key("p")
    user.wait("tool", "value === 'point'")
    user.drag("Red", (0.52, 0.42))
    user.wait("prompts", "value.length === 2")
    user.rest()
    return user


@pytest.mark.slow
def test_prompts_are_listed_in_order_and_gone_to(prompted):
    user = prompted
    texts = user.page.locator(".prompts button").all_inner_texts()
    assert [text.split(",")[0] for text in texts] == ["+ box", "+ point"]
    assert all(text.split(", ")[1].startswith("S ") for text in texts)  # as the slice views say it
    assert user.page.is_disabled("text='Delete'")
    user.page.click(".prompts button >> nth=0")
    user.wait("slices", "value.Red.index === 16")
    user.wait("prompt_chosen", "value === 0")
    user.page.click(".prompts button >> nth=1")
    user.wait("slices", "value.Red.index === 20")
    user.picture("prompts")


@pytest.mark.slow
def test_a_prompt_is_taken_away_and_undo_brings_it_back(prompted):
    user = prompted
    both = user.volume()
    user.page.click(".prompts button >> nth=1")
    user.wait("prompt_chosen", "value === 1")
    user.page.click("text='Delete'")
    user.wait("prompts", "value.length === 1")
    user.wait("segments", f"Number(value[0].volume) < {both}")
    assert user.state("prompts")[0].startswith("+ box")
    user.rest()
    user.key("Control+z")
    user.wait("segments", f"Number(value[0].volume) === {both}")
    user.wait("prompts", "value.length === 2")


@pytest.mark.slow
def test_a_prompt_is_moved_by_a_click_or_by_keys(prompted):
    user = prompted
    before = user.state("prompts")
    user.page.click(".prompts button >> nth=1")
    user.wait("prompt_chosen", "value === 1")
    user.page.click("text='Move'")
    user.wait("is_moving_prompt", "value === true")
    assert "Click where the middle of the prompt shall be" in user.page.inner_text(".message")
    user.command("slice", "Red", 22)
    user.wait("slices", "value.Red.index === 22")
    user.drag("Red", (0.52, 0.40))
    user.wait("is_moving_prompt", "value === false")
    user.wait("prompts", f"value.length === 2 && value[1] !== {before[1]!r}")
    user.rest()
    assert [bar[0] for bar in user.state("strip") if "prompted" in bar[2]] == [16, 22]
    user.page.click("text='Move'")
    user.wait("is_moving_prompt", "value === true")
    user.key("Escape")
    user.wait("is_moving_prompt", "value === false")
    user.page.click("text='Move'")
    user.wait("is_moving_prompt", "value === true")
    user.key("1", "PageUp", "Enter")
    user.wait("is_moving_prompt", "value === false")
    user.rest()
    user.wait("strip", "value.some(bar => bar[2].includes('prompted') && ![16, 22].includes(bar[0]))")
    assert len(user.state("prompts")) == 2


@pytest.mark.slow
def test_a_slice_is_cleared_and_a_segment_started_over(prompted):
    user = prompted
    both = user.volume()
    user.page.click("text='Clear slice'")  # the one on view, of the point
    user.wait("prompts", "value.length === 1")
    one = user.wait("segments", f"Number(value[0].volume) < {both} && Number(value[0].volume) > 0")
    assert one
    user.rest()
    user.page.click("text='Start over'")
    user.wait("segments", "value[0].volume === '0'")
    user.wait("prompts", "value.length === 0")
    user.rest()
    user.key("Control+z")
    user.wait("prompts", "value.length === 1")


@pytest.mark.slow
def test_a_resting_mouse_shows_what_a_click_would_make(sample):
    user = sample
    user.key("p")
    user.command("slice", "Red", 16)
    user.wait("slices", "value.Red.index === 16")
    user.rest()
    picture = user.page.locator("[data-view=Red] .picture")
    box = picture.bounding_box()
    place = box["x"] + 0.52 * box["width"], box["y"] + 0.4 * box["height"]
    user.page.mouse.move(place[0] - 40, place[1])
    user.page.mouse.move(*place)
    yellow = """() => {
        const image = document.querySelector("[data-view=Red] img");
        if (!image || !image.complete || !image.naturalWidth) return false;
        const canvas = document.createElement("canvas");
        canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let n = 0; n < data.length; n += 4) if (data[n] > 150 && data[n + 1] > 130 && data[n + 2] < 90) count += 1;
        return count;
    }"""
    before = user.page.evaluate(yellow)
    user.page.wait_for_function(f"({yellow})() > {before} + 60")
    user.picture("hover")
    assert user.state("segments")[0]["volume"] == "0"
    assert user.state("can_undo") is False
    user.page.mouse.move(place[0] - 60, place[1] - 100)
    user.page.mouse.move(5, 5)
    user.page.wait_for_function(f"({yellow})() <= {before} + 60")
