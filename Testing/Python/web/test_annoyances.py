"""Small things that cost a reader time: where views go, what Enter does, what is saved, what a strip counts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.browser

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.mark.slow
def test_fit_leaves_slices_and_crosshair_where_they_are(sample):
    user = sample
    user.key("c")
    user.wait("tool", "value === 'navigate'")
    first = user.state("slices")["Yellow"]["index"]
    user.drag("Red", (0.62, 0.35))
    user.wait("slices", f"value.Yellow.index !== {first}")
    user.rest()
    user.command("slice", "Green", 40)
    user.wait("slices", "value.Green.index === 40")
    user.rest()
    before = {tag: view["index"] for tag, view in user.state("slices").items()}, user.state("readout")
    user.page.click(".view-Red .corner button >> nth=0")
    user.page.wait_for_timeout(500)
    user.rest()
    assert ({tag: view["index"] for tag, view in user.state("slices").items()}, user.state("readout")) == before


@pytest.mark.slow
def test_what_the_page_said_stays_when_a_view_is_enlarged(sample, tmp_path):
    user = sample
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no scan")
    said = user.send(wrong)
    user.command("layout", "Red")
    user.wait("layout", "value === 'Red'")
    user.page.wait_for_function("document.querySelectorAll('[data-view]').length === 1")
    user.rest()
    assert user.page.inner_text("#transfer") == said
    assert "error" in user.page.get_attribute("#transfer", "class")


@pytest.mark.slow
def test_enter_applies_a_preview_and_nothing_is_saved_beside_one(sample):
    user = sample
    user.command("setting", "auto_commit", False)
    user.wait("settings", "value.auto_commit === false")
    user.command("slice", "Red", 16)
    user.key("p")
    user.drag("Red", (0.52, 0.40))
    user.wait("has_preview", "value === true")
    user.rest()
    user.page.click("[data-kind=segmentation]")
    user.page.wait_for_function("document.querySelector('#transfer').textContent.includes('apply it (Enter)')")
    user.key("1", "Enter")
    user.wait("has_preview", "value === false")
    assert user.wait_for_volume() > 0
    user.rest()
    assert len([bar for bar in user.state("strip") if "prompted" in bar[2]]) == 1


@pytest.mark.slow
def test_what_was_said_of_one_segment_is_not_said_of_the_next(sample):
    user = sample
    user.draw_box()
    user.rest()
    user.key("m")
    user.wait("activity", "value === 'propagating'")
    user.rest()
    user.wait("message", "value !== ''")
    user.key("a")
    user.wait("segments", "value.length === 2")
    user.wait("message", "value === ''")
    assert "Segment_2" in user.page.inner_text(".message")


@pytest.mark.slow
def test_the_status_line_names_what_is_selected_whatever_was_done(sample):
    user = sample

    def says(text):
        user.page.wait_for_function("text => document.querySelector('.message').innerText.includes(text)", arg=text)

    user.rename("heart")
    says("Segment: heart")
    user.key("a")
    user.wait("segments", "value.length === 2")
    user.rename("lung")
    says("Segment: lung")
    user.page.click("tr.selected button[aria-label^=Delete]")
    says("Segment: heart")
    user.key("Control+z")
    says("Segment: lung")
    user.open_sample()
    says("Segment: Segment_1")


@pytest.mark.slow
def test_without_a_segment_a_prompt_says_what_there_is_to_do_on_the_page(sample):
    user = sample
    user.key("a")
    user.wait("segments", "value.length === 2")
    user.key("Control+z")
    user.wait("segments", "value.length === 1 && value[0].selected")
    user.page.click("tr.selected button[aria-label^=Delete]")
    user.wait("segments", "value.length === 0")
    user.key("p")
    user.drag("Red", (0.5, 0.5))
    user.wait("message", "value !== ''")
    assert user.state("message") == "No segment is selected; add or select one first."
    user.key("a")
    user.drag("Red", (0.5, 0.5))
    assert user.wait_for_volume() > 0


@pytest.mark.slow
def test_a_cube_turns_with_the_3d_view(sample):
    user = sample
    user.command("layout", "ThreeD")
    user.wait("layout", "value === 'ThreeD'")
    user.command("setting", "slices_in_3d", False)
    user.rest()
    box = user.page.locator("[data-view=ThreeD]").bounding_box()
    side = min(box["width"], box["height"]) / 5
    corner = {"x": box["x"] + box["width"] - side, "y": box["y"] + box["height"] - side, "width": side, "height": side}

    def shown():
        user.rest()
        return user.page.screenshot(clip=corner)

    before = shown()
    assert shown() == before
    user.drag("ThreeD", (0.4, 0.4), (0.6, 0.5))
    assert shown() != before
    user.picture("cube")


@pytest.mark.slow
def test_after_use_roi_its_mask_is_seen(sample):
    user = sample
    user.command("slice", "Red", 16)
    user.key("o")
    user.wait("tool", "value === 'roi'")
    user.drag("Red", (0.44, 0.22), (0.61, 0.60))
    user.wait("roi_text", "value !== ''")
    user.command("slice", "Red", 20)
    user.page.click("text=Use ROI")
    user.wait_for_volume()
    user.rest()
    (prompted,) = (bar[0] for bar in user.state("strip") if "prompted" in bar[2])
    assert user.state("slices")["Red"]["index"] == prompted
    first, last = user.state("strip_range")  # slices are named as in Slicer's views, and counted from 1 to their number
    ends = [f"S {-340.2 + 10 * index:.1f} mm" for index in (first, last)]
    assert user.page.inner_text(".strip-ends").split("\n") == [ends[0], "axial slices", ends[1]]
    assert user.page.inner_text(".label.Red span") == f"S {-340.2 + 10 * prompted:.1f} mm · {prompted + 1} / 34"
    user.picture("roi-used")


@pytest.mark.slow
def test_a_dicom_scan_opens_in_its_own_window(user, tmp_path):
    from imaging import dicom_files as dicom
    from imaging.phantom import grid, sample

    tags = {"WindowCenter": [70, -500], "WindowWidth": [300, 1400], "WindowCenterWidthExplanation": ["SOFT", "AIR"]}
    paths = dicom.write(dicom.slices(sample(grid()).astype(np.int16), grid(), **tags), tmp_path)
    user.send(*paths)
    user.wait("window_width", "value === 300")
    assert user.state("window_level") == 70
    user.page.select_option("#preset", label="AIR: 1400 / -500")
    user.wait("window_width", "value === 1400")
    user.page.select_option("#preset", "auto")
    user.wait("window_width", "value !== 1400")


@pytest.mark.slow
def test_views_are_laid_out_as_wanted_and_f_leads_back(sample):
    user = sample
    views = {
        "axial": ["Red", "Green", "Yellow", "ThreeD"],
        "volume": ["ThreeD", "Red", "Green", "Yellow"],
        "slices": ["Red", "Green", "Yellow"],
    }
    for name, tags in views.items():
        user.page.select_option("#layout", name)
        user.wait("layout", f"value === {name!r}")
        user.page.wait_for_function(f"document.querySelectorAll('[data-view]').length === {len(tags)}")
        shown = user.page.locator("[data-view]")
        assert shown.evaluate_all("all => all.map(view => view.dataset.view)") == tags
        if name != "slices":
            first, second = (user.page.locator(f"[data-view={tag}]").bounding_box() for tag in tags[:2])
            assert first["width"] * first["height"] > 3 * second["width"] * second["height"]
            user.picture(f"layout-{name}")
    user.wait("slices", "Object.values(value).every(view => parseInt(view.bar_text) >= 50)")  # all of the body is seen
    user.key("1", "f")
    user.wait("layout", "value === 'Red'")
    user.key("f")
    user.wait("layout", "value === 'slices'")


@pytest.mark.slow
def test_what_is_said_of_a_slice_is_never_cut_and_moves_nothing(sample):
    """At 1280 x 720; the strip is under the mouse, whose clicks change what is said."""
    user = sample
    user.draw_box()
    user.rest()
    user.key("m")
    user.wait("strip", "value.filter(bar => bar[1] > 0).length > 3")
    user.rest()

    def measured():
        said = user.page.locator(".strip-text")
        is_cut = said.evaluate("e => e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight")
        return said.inner_text(), is_cut, user.page.locator(".strip").bounding_box()

    texts = {}
    for index in (bar[0] for bar in user.state("strip") if "none" not in bar[2]):
        user.command("jump", index)
        user.wait("strip_current", f"value === {index}")
        user.wait("strip_text", f"value.startsWith('S {-340.2 + 10 * index:.1f} mm: ')")
        texts[index] = measured()
    assert any(text.endswith(", prompted") for text, *_ in texts.values())
    longest = "S -180.2 mm: confidence 91 %, edited by hand, prompted, structure not seen, out of date: press Propagate"
    user.page.evaluate("text => window.trame.state.set('strip_text', text)", longest)
    user.page.wait_for_function("text => document.querySelector('.strip-text').innerText === text", arg=longest)
    texts[-1] = measured()
    assert not any(is_cut for _text, is_cut, _place in texts.values())
    assert len({tuple(place.items()) for *_, place in texts.values()}) == 1
    user.picture("strip")


@pytest.mark.slow
def test_names_of_large_segments_can_be_read_at_1280_x_720(sample):
    user = sample
    user.command("slice", "Red", 16)
    user.key("p")
    user.drag("Red", (0.36, 0.45))
    one_slice = user.wait_for_volume()
    user.rename("right lung")
    user.rest()
    user.key("m")
    user.wait("segments", f"Number(value[0].volume) > {3 * one_slice}")
    user.rest()
    (row,) = user.state("segments")
    assert float(row["volume"]) > 1000
    assert float(row["mean"]) < -500
    name = user.page.locator("tr.selected input.name")
    assert name.evaluate("e => e.scrollWidth <= e.clientWidth")
    assert name.get_attribute("title").startswith("right lung: ")


@pytest.mark.slow
def test_what_to_do_next_is_said(sample):
    user = sample
    user.key("p")
    user.wait("next_step", "value === 'Click on the structure.'")
    user.wait("message", "value === ''")
    user.page.wait_for_selector(".message >> text=Click on the structure.")
    user.key("c")
    user.wait("next_step", "value === 'Choose a prompt, such as Point (P).'")
    user.draw_box()
    user.wait("next_step", "value === 'Click again to correct it, or propagate it to the other slices (M).'")
    user.rest()
    user.picture("next-step")
    user.key("m")
    user.wait("next_step", "value === 'See the least sure slice (U), correct it, or add the next segment (A).'")
    user.rest()
    user.key("p", "n")
    user.drag("Red", (0.50, 0.30))
    user.wait("next_step", "value === 'Propagate again (M).'")
    user.rest()
    user.key("a")
    user.wait("next_step", "value === 'Click on the structure.'")


@pytest.mark.slow
def test_what_waits_for_an_answer_moves_nothing_at_1280_x_720(sample):
    user = sample
    for count in (2, 3, 4):
        user.key("a")
        user.wait("segments", f"value.length === {count}")

    def places():
        script = "names => names.map(name => document.querySelector(name).getBoundingClientRect().toJSON())"
        return user.page.evaluate(script, ["#edit-title", "#propagate-title", ".strip"])

    before = places()
    user.command("setting", "auto_commit", False)
    user.command("slice", "Red", 16)
    user.key("x")
    user.wait("tool", "value === 'box'")
    user.drag("Red", (0.44, 0.22), (0.61, 0.60))
    user.wait("has_preview", "value")
    user.rest()
    assert user.page.locator(".pending").is_visible()
    assert places() == before
    strip = places()[-1]
    assert strip["bottom"] <= user.page.locator(".footer").bounding_box()["y"]
    user.key("Escape")
    user.wait("has_preview", "!value")
    user.key("o")
    user.drag("Red", (0.44, 0.22), (0.61, 0.60))
    user.wait("roi_text", "value")
    assert user.page.inner_text(".pending span") == user.state("roi_text")
    widths = user.page.evaluate("(e => [e.scrollWidth, e.clientWidth])(document.querySelector('.pending span'))")
    assert widths[0] <= widths[1]  # all of it is seen
    inside, panel = (user.page.locator(name).bounding_box() for name in (".pending", ".panel"))
    assert inside["x"] + inside["width"] <= panel["x"] + panel["width"]
    user.picture("waiting")
    user.key("Escape")
