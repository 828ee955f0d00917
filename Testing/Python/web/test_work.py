"""Work of a reader in the browser: prompts, propagation, correction, undo, cancelling, files."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytestmark = pytest.mark.browser

#: Counts pictures of each view and texts of the progress, as the browser gets them while propagation goes on.
COUNT = """() => {
    const counted = window.counted = {pictures: {}, texts: 0};
    const watching = new MutationObserver(changes => {
        if (window.trame.state.get("activity") !== "propagating") return;
        for (const {target} of changes) {
            const view = target.closest?.("[data-view]")?.dataset.view;
            if (view) counted.pictures[view] = (counted.pictures[view] || 0) + 1;
            else if ((target.closest ? target : target.parentElement)?.closest(".progress span")) counted.texts += 1;
        }
    });
    const kinds = {subtree: true, attributes: true, attributeFilter: ["src"], characterData: true, childList: true};
    watching.observe(document.body, kinds);
}"""


def scored(user):
    """Slices of the strip that have a confidence."""
    return [bar[0] for bar in user.state("strip") if "none" not in bar[2].split()]


def test_box_propagation_correction_undo_and_download(sample, tmp_path):
    from EfficientMedSAM2Lib.imaging.sample import sample_scan
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    user = sample
    one_slice = user.draw_box()
    assert 40 < one_slice < 120  # the heart on a slice of 10 mm: 40 to 120 square centimetres
    assert float(user.state("segments")[0]["mean"]) == pytest.approx(20, abs=60)  # HU of blood and muscle
    assert scored(user) == [16]
    user.picture("box")

    user.page.evaluate(COUNT)
    user.page.click("#propagate")
    user.wait("progress", r"value && value.done >= 2 && /\/s, /.test(value.text) && /left/.test(value.text)")
    user.picture("propagating", settle_ms=0)
    user.wait("activity", "value === 'idle'")
    pictures, texts = user.page.evaluate("[window.counted.pictures, window.counted.texts]")
    assert texts >= 2  # of progress
    assert pictures.get("ThreeD", 0) == 0  # the processor is the network's
    assert sum(pictures.values()) <= 1.5 * texts + 4, (pictures, texts)  # and not three with each text
    user.rest()
    propagated = user.volume()
    assert propagated > 4 * one_slice
    assert len(scored(user)) > 10
    user.picture("propagated", settle_ms=2000)  # with the surface

    user.key("p", "n")
    user.wait("settings", "value.include === false")
    user.drag("Red", (0.51, 0.30))
    user.wait("segments", f"Number(value[0].volume) !== {propagated}")
    corrected = user.volume()
    assert any("stale" in bar[2].split() for bar in user.state("strip"))
    user.rest()
    user.page.click("text=Undo")
    user.wait("segments", f"Number(value[0].volume) === {propagated}")
    user.key("Control+y")
    user.wait("segments", f"Number(value[0].volume) === {corrected}")
    user.key("Control+z")
    user.wait("segments", f"Number(value[0].volume) === {propagated}")

    user.page.fill("tr.selected input.name", "heart")
    user.key("Enter")
    user.wait("segments", "value[0].name === 'heart' && value[0].color === '#ce6e54'")  # Slicer's colour of a heart
    volume = read_volume(sample_scan())
    saved = user.save("segmentation", tmp_path)
    assert saved.name == "CTChest4.seg.nrrd"
    (segment,) = read_segmentation(saved, volume)
    assert segment.name == "heart"
    assert "80891009" in segment.terminology
    milliliters = segment.mask.sum() * abs(np.linalg.det(volume.ijk_to_ras[:3, :3])) / 1000
    assert milliliters == pytest.approx(propagated, rel=0.005)
    labelmap = read_segmentation(user.save("nifti", tmp_path), volume)
    assert np.array_equal(labelmap[0].mask, segment.mask)
    markups = json.loads(user.save("prompts", tmp_path).read_text())["markups"]
    assert [markup["type"] for markup in markups] == ["ROI"]

    # opened again, the file gives the same segment, of which the same file is written
    user.open_sample()
    user.wait("segments", "value.length === 1 && value[0].volume === '0'")
    assert "1 segment was added" in user.send(saved)
    user.wait("segments", "value.length === 1 && value[0].name === 'heart'")  # in place of the empty one
    assert user.wait_for_volume() == propagated
    again = read_segmentation(user.save("segmentation", tmp_path), volume)
    assert [s.name for s in again] == ["heart"]
    assert np.array_equal(again[0].mask, segment.mask)
    assert again[0].color == pytest.approx(segment.color, abs=0.01)


@pytest.mark.slow
def test_a_propagation_is_cancelled_and_undone_in_one_step(sample):
    user = sample
    one_slice = user.draw_box()
    user.rest()
    user.key("m")
    done = user.wait("progress", "value && value.done >= 3")["done"]
    user.key("m")
    user.wait("activity", "value === 'idle' || value === 'cancelling'")
    user.rest()
    slices = len(scored(user))
    assert done <= slices - 1 < 30  # all slices that were reported are kept; of 33, some are left
    user.wait("segments", f"Number(value[0].volume) > {one_slice}")
    user.key("Control+z")
    user.wait("segments", f"Number(value[0].volume) === {one_slice}")
    assert scored(user) == [16]


@pytest.mark.slow
def test_everything_by_keyboard(sample):
    """A point, a box with an exclude point, an ROI and a line, without a mouse."""
    user = sample
    user.key("1", "p")
    user.wait("tool", "value === 'point'")
    for _ in range(2):
        user.key("Shift+ArrowUp")
    user.wait("slices", "value.Green.index !== 63 && value.Green.index !== 64")
    user.key("Enter")
    assert user.wait_for_volume() > 0
    user.rest()
    user.key("Control+z")
    user.wait("segments", "value[0].volume === '0'")

    user.key("x", "Enter")
    user.wait("is_drawing", "value === true")
    for _ in range(3):
        user.key("Shift+ArrowRight", "Shift+ArrowDown")
    user.key("Enter")
    user.wait("is_drawing", "value === false")
    user.rest()
    assert user.state("can_undo") is True
    user.key("a")
    user.wait("segments", "value.length === 2 && value[1].selected")

    user.key("1", "o", "Enter")
    user.wait("is_drawing", "value === true")
    for _ in range(2):
        user.key("Shift+ArrowRight", "Shift+ArrowUp")
    user.key("Enter")
    assert "mm" in user.wait("roi_text", "value !== ''")
    user.picture("roi")
    user.key("Enter")
    user.wait("roi_text", "value === ''")
    user.rest()
    user.key("l", "Enter")
    user.wait("is_drawing", "value === true")
    user.key("Escape")
    user.wait("is_drawing", "value === false")

    before = user.state("slices")["Red"]["index"]
    user.key("PageUp")
    user.wait("slices", f"value.Red.index !== {before}")
    user.key("f")
    user.wait("layout", "value === 'Red'")
    user.picture("enlarged")
    user.key("f")
    user.wait("layout", "value === 'four'")
    width = user.state("window_width")
    user.key("]")
    user.wait("window_width", f"value > {width}")
    user.key("h")
    user.wait("masks_shown", "value === false")
    user.key("h", "Delete")
    user.wait("segments", "value.length === 1")
    user.key("F1")
    user.page.wait_for_selector("#help[open]")
    user.picture("help")
    user.key("Escape")


@pytest.mark.slow
def test_a_preview_waits_to_be_applied(sample):
    user = sample
    user.command("setting", "auto_commit", False)
    user.wait("settings", "value.auto_commit === false")
    user.command("slice", "Red", 16)
    user.key("x")
    user.wait("tool", "value === 'box'")
    user.drag("Red", (0.44, 0.22), (0.61, 0.60))
    user.wait("has_preview", "value === true")
    assert user.volume() == 0
    user.picture("preview")
    user.page.click("text=Discard")
    user.wait("has_preview", "value === false")
    user.rest()
    assert user.volume() == 0
    user.drag("Red", (0.44, 0.22), (0.61, 0.60))
    user.wait("has_preview", "value === true")
    user.page.click("text=Apply")
    assert user.wait_for_volume() > 0


@pytest.mark.slow
def test_crosshair_is_linked_and_the_window_is_dragged(sample):
    user = sample
    user.key("c")
    user.wait("tool", "value === 'navigate'")
    before = user.state("slices")
    user.drag("Red", (0.40, 0.45))
    user.wait("slices", f"value.Yellow.index !== {before['Yellow']['index']}")
    assert "HU" in user.wait("readout", "value !== ''")
    user.key("w")
    user.wait("tool", "value === 'window'")
    width, level = user.state("window_width"), user.state("window_level")
    user.drag("Red", (0.4, 0.4), (0.6, 0.6))
    user.page.wait_for_timeout(500)
    assert (user.state("window_width"), user.state("window_level")) != (width, level)
    user.page.select_option("#preset", "lung")
    user.wait("window_width", "value === 1500")
    assert user.state("window_level") == -600
    user.picture("lung-window")


@pytest.mark.slow
def test_the_selection_stays_and_comes_back(sample):
    user = sample
    user.command("add_segment")
    user.command("add_segment")
    first, second, third = (s["id"] for s in user.wait("segments", "value.length === 3 && value"))

    def wait_for(selected, count):
        ids = user.wait("segments", f"value.length === {count} && value.some(s => s.selected && s.id === '{selected}')")
        return [s["id"] for s in user.state("segments")] if ids else []

    user.command("remove_segment", first)
    assert wait_for(third, 2) == [second, third]  # another one was deleted
    user.command("undo")
    assert wait_for(third, 3) == [first, second, third]
    user.command("select_segment", second)
    wait_for(second, 3)
    user.command("remove_segment", second)
    wait_for(first, 2)
    user.command("undo")
    wait_for(second, 3)  # it was selected
    user.command("redo")
    wait_for(first, 2)
    user.command("undo")
    wait_for(second, 3)
    user.command("select_segment", third)
    wait_for(third, 3)
    user.command("undo")  # of adding the third
    wait_for(second, 2)
    user.command("redo")
    wait_for(third, 3)


@pytest.mark.slow
def test_a_locked_segment_is_kept_and_what_is_needed_stands_in_one_order(sample):
    user = sample
    user.draw_box()
    before = user.volume()
    user.page.click("button[aria-label^='Lock ']")
    user.wait("segments", "value[0].locked")
    assert user.page.is_disabled("button[aria-label^='Delete ']")
    user.page.click("#propagate")
    user.wait("message", "/is locked/.test(value)")
    user.page.click("button[aria-label^='Lock ']")
    user.wait("segments", "!value[0].locked")
    assert user.volume() == before
    order = [".tools", "#propagate", ".stale-text", ".progress", ".strip", "details"]  # as in the panel of Slicer
    tops = [user.page.locator(name).first.bounding_box()["y"] for name in order]
    assert tops == sorted(tops) or abs(tops[1] - tops[2]) < 12
    assert not user.page.is_visible("#direction")
    user.page.click("summary")
    assert user.page.is_visible("#direction")


@pytest.mark.slow
def test_a_new_prompt_takes_no_voxels_from_other_segments_by_default(sample, tmp_path):
    from EfficientMedSAM2Lib.imaging.sample import sample_scan
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    def masks():
        return [segment.mask for segment in read_segmentation(user.save("segmentation", tmp_path), scan)]

    user, scan = sample, read_volume(sample_scan())
    assert user.page.is_checked("text=do not enter other segments")
    user.draw_box()
    user.rest()
    user.key("m")
    user.wait("segments", f"Number(value[0].volume) > {user.volume()}")
    user.rest()
    heart, (before,) = user.volume(), masks()
    user.key("a", "x")
    user.wait("segments", "value.length === 2 && value[1].selected")
    user.drag("Red", (0.44, 0.22), (0.61, 0.60))  # the same box for another segment
    user.wait("message", "/^[1-9][0-9]* voxels belong to other segments and were left to them/.test(value)")
    user.rest()
    user.key("m")
    user.wait("activity", "value === 'propagating'")
    user.rest()
    after, other = masks()
    assert (user.state("segments")[0]["volume"], int(after.sum())) == (f"{heart:g}", int(before.sum()))
    assert np.array_equal(after, before)
    assert not (other & before).any()
