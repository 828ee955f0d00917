"""Work that was saved is gone on with: segments and prompts by their names, in every order, and other segmentations."""

from __future__ import annotations

import csv
import json
import zipfile

import pytest

pytestmark = pytest.mark.browser


def rows(user):
    return [(s["name"], s["volume"]) for s in user.state("segments")]


def said(path, folder):
    """Kinds of the prompts in a saved file, by its name in the archive."""
    with zipfile.ZipFile(path) as archive:
        return {
            name: [markup["type"] for markup in json.loads(archive.read(name))["markups"]]
            for name in sorted(archive.namelist())
        }


@pytest.mark.slow
def test_segments_and_prompts_come_together_by_their_names(sample, tmp_path):
    from EfficientMedSAM2Lib.imaging.sample import sample_scan

    user = sample
    user.draw_box()
    user.rest()
    user.page.click("#propagate")
    user.wait("progress", "value && value.done >= 2")
    user.rest()
    user.key("a", "p")
    user.wait("segments", "value.length === 2 && value[1].selected")
    user.drag("Green", (0.3, 0.5))
    user.wait_for_volume()
    user.rest()
    done = rows(user)
    assert [name for name, _volume in done] == ["Segment_1", "Segment_2"]
    segments, prompts = user.save("segmentation", tmp_path), user.save("prompts", tmp_path)
    kinds = said(prompts, tmp_path)
    assert kinds == {"Segment_1.mrk.json": ["ROI"], "Segment_2.mrk.json": ["Fiducial"]}

    both = f"value.length === 2 && value[0].volume === '{done[0][1]}' && value[1].volume === '{done[1][1]}'"
    for step, files in enumerate([[[segments], [prompts]], [[prompts], [segments]], [[segments, prompts]]]):
        user.open_sample()
        user.wait("segments", "value.length === 1 && value[0].volume === '0'")
        texts = [user.send(*sent) for sent in files]
        user.wait("segments", both)
        assert rows(user) == done
        assert "2 segments were added" in " ".join(texts)
        voxels_stay = "The prompts for Segment_1, Segment_2 were added; its voxels stay as they are."
        assert (voxels_stay in " ".join(texts)) == (step != 1)
        assert said(user.save("prompts", tmp_path), tmp_path) == kinds
    user.send(sample_scan(), segments, prompts)  # all that belongs to a case, at once
    user.wait("segments", both)
    assert said(user.save("prompts", tmp_path), tmp_path) == kinds
    user.command("select_segment", user.state("segments")[1]["id"])
    user.wait("segments", "value[1].selected")
    user.drag("Green", (0.32, 0.52))  # one more prompt goes on from there
    user.wait("can_undo", "value === true")
    user.wait("segments", f"value[1].volume !== '{done[1][1]}'")
    user.rest()
    assert rows(user)[0] == done[0]
    kinds = said(user.save("prompts", tmp_path), tmp_path)
    assert kinds == {"Segment_1.mrk.json": ["ROI"], "Segment_2.mrk.json": ["Fiducial"]}
    user.picture("resumed")

    user.send(segments)  # once more, beside work that has changed: nothing is replaced
    user.wait("segments", "value.length === 4")
    assert [name for name, _volume in rows(user)][2:] == ["Segment_1 2", "Segment_2 2"]


@pytest.mark.slow
def test_renamed_segments_find_their_prompts_and_segments_of_one_name_their_own(sample, tmp_path):
    """By their IDs: two lesions of one name, of which one was renamed between two files; in both orders."""
    user = sample
    user.draw_box()
    user.rename("lesion")
    user.rest()
    user.key("a", "p")
    user.wait("segments", "value.length === 2 && value[1].selected")
    user.drag("Green", (0.3, 0.5))
    user.wait_for_volume()
    user.rename("lesion")
    user.wait("segments", "value.every(s => s.name === 'lesion')")
    user.rest()
    prompts = user.save("prompts", tmp_path)
    user.command("rename_segment", user.state("segments")[0]["id"], "metastasis")
    user.wait("segments", "value[0].name === 'metastasis'")
    segments = user.save("segmentation", tmp_path)
    done = rows(user)
    kinds = {s["id"]: kind for s, kind in zip(user.state("segments"), ("+ box", "+ point"))}
    expected = json.dumps(json.dumps(done, separators=(",", ":")))
    both = f"JSON.stringify(value.filter(s => s.volume !== '0').map(s => [s.name, s.volume])) === {expected}"
    for files in ([segments], [prompts]), ([prompts], [segments]):
        user.open_sample()
        user.wait("segments", "value.length === 1 && value[0].volume === '0'")
        for sent in files:
            user.send(*sent)
        user.wait("segments", both)
        assert set(kinds) <= {s["id"] for s in user.state("segments")}
        for segment_id, kind in kinds.items():
            user.command("select_segment", segment_id)
            user.wait("prompts", f"value.length === 1 && value[0].startsWith({kind!r})")


@pytest.mark.slow
def test_names_of_any_signs_are_the_same_in_every_file_and_after_a_reload(sample, tmp_path):
    names = ['<b>"GTV"</b> 1/2', "肝 – Läsion 'a' & b: c\\d"]

    def shown():
        user.wait("segments", "value.length === 2 && value.every(s => Number(s.volume) > 0)")
        assert [name for name, _volume in rows(user)] == names
        assert [field.input_value() for field in user.page.locator("input.name").all()] == names

    user = sample
    user.draw_box()
    user.rename(names[0])
    user.rest()
    user.key("a", "p")
    user.wait("segments", "value.length === 2 && value[1].selected")
    user.drag("Green", (0.3, 0.5))
    user.wait_for_volume()
    user.rename(names[1])
    user.rest()
    shown()
    segments, prompts, table = (user.save(kind, tmp_path) for kind in ("segmentation", "prompts", "measurements"))
    _labels, names_table = user.save_labelmap(tmp_path)
    with table.open(newline="", encoding="utf-8") as stream:
        assert [row["segment"] for row in csv.DictReader(stream)] == names
    with names_table.open(newline="", encoding="utf-8") as stream:
        assert [row["name"] for row in csv.DictReader(stream, delimiter="\t")] == names
    user.wait_kept()
    user.page.reload()
    user.page.wait_for_selector(".header")
    shown()
    user.picture("names")
    for files in ([prompts], [segments], [segments, prompts]):
        user.open_sample()
        user.wait("segments", "value.length === 1 && value[0].volume === '0'")
        user.send(*files)
        user.wait("segments", "value.filter(s => Number(s.volume) > 0).length === 2")
        assert [name for name, volume in rows(user) if volume != "0"] == names
