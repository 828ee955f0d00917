from __future__ import annotations

import csv
import dataclasses
import json

import pytest

from EfficientMedSAM2Lib.evaluation.cases import choose_cases
from EfficientMedSAM2Lib.evaluation.methods import EllipseMethod
from EfficientMedSAM2Lib.evaluation.protocols import run_protocol
from EfficientMedSAM2Lib.evaluation.report.gallery import choose_examples, write_gallery
from EfficientMedSAM2Lib.evaluation.report.reliability import review_order_text
from EfficientMedSAM2Lib.evaluation.report.tables import summarise, table, write_csv, write_json


@pytest.fixture
def records(ball_image):
    other = dataclasses.replace(ball_image, dataset="others", name="others/ball.nrrd")
    return list(run_protocol("box", EllipseMethod(), choose_cases([ball_image, other])))


def with_dice(records, value_of):
    return [dataclasses.replace(record, values={"dice": value_of(record)}) for record in records]


def test_data_sets_and_labels_count_alike_whatever_their_number(records):
    few = [r for r in records if r.case.image.dataset == "shapes" and r.case.label == "ball"][:1]
    kept = with_dice(few, lambda _: 1.0) + with_dice(
        [r for r in records if r.case.image.dataset == "others"], lambda r: 0.2 if r.case.label == "ball" else 0.6
    )
    summary = summarise(kept)
    assert summary["datasets"]["others"]["dice"] == pytest.approx(0.4)
    assert summary["macro"]["dice"] == pytest.approx(0.7)
    assert summary["compact"]["dice"] == pytest.approx(0.6)
    assert summary["labels"]["others/ring"]["dice"] == pytest.approx(0.6)


def test_table_shows_methods_side_by_side(records):
    text = table({"ellipse": summarise(records), "half": summarise(with_dice(records, lambda _: 0.5))})
    lines = text.splitlines()
    assert lines[0].split() == ["ellipse", "half"]
    macro = next(line for line in lines if line.startswith("MACRO dice "))
    assert macro.split()[-1] == "0.500"
    assert [line.split("  ")[0] for line in lines if line.startswith("macro ")] == [
        "macro iou",
        "macro iou, compact",
        "macro nsd",
        "macro nsd, compact",
    ]


def test_files_hold_every_object(records, tmp_path):
    write_csv(tmp_path / "box.csv", records)
    write_json(tmp_path / "box.json", {"ellipse": summarise(records)}, {"seed": 0})
    with (tmp_path / "box.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(records)
    assert float(rows[0]["dice"]) == pytest.approx(records[0].values["dice"], abs=1e-4)
    content = json.loads((tmp_path / "box.json").read_text())
    assert content["results"]["ellipse"]["objects"] == len(records)
    assert {path.name for path in tmp_path.iterdir()} == {"box.csv", "box.json"}


def test_gallery_shows_worst_median_and_best_once(records, tmp_path):
    examples = choose_examples(records, 2)
    shown = [id(record) for row in examples.values() for record in row]
    assert len(shown) == len(set(shown)) == 6
    dices = {title: [record.values["dice"] for record in row] for title, row in examples.items()}
    assert max(dices["worst"]) <= min(dices["median"])
    assert max(dices["median"]) <= min(dices["best"])
    write_gallery(tmp_path / "gallery.png", records)
    assert (tmp_path / "gallery.png").read_bytes().startswith(b"\x89PNG")


def test_gallery_of_a_single_result(records, tmp_path):
    write_gallery(tmp_path / "one.png", records[:1])
    assert (tmp_path / "one.png").exists()


def test_the_order_of_review_is_compared_with_the_true_one(records):
    """Ten cases: one score puts them into the order of their Dice, the other into the opposite one."""
    chosen = [
        dataclasses.replace(
            record,
            values={"dice": place / 10},
            case_scores={"lowest slice": 1 - place / 10, "volume score": place / 20},
        )
        for place, record in enumerate((records * 10)[:9])
    ]
    found = summarise(chosen)["review_order"]
    assert found == {
        "cases": 9,
        "lowest slice": {"spearman": pytest.approx(-1.0), "worst_found": 0.0},
        "volume score": {"spearman": pytest.approx(1.0), "worst_found": 1.0},
    }
    text = review_order_text("efficient-medsam2", {"review_order": found})
    assert "volume score" in text
    assert "-1.000" in text
    assert review_order_text("ellipse", {"review_order": summarise(records)["review_order"]}) == ""
