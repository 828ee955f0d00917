"""An index of volumes of three patients, a photograph, an instance map and an unlabelled volume; no pixels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def manifest_path(tmp_path: Path) -> Path:
    rows: list[dict] = [
        {
            "image": f"organ/case{number}.nii.gz",
            "label": f"organ/case{number}_label.nii.gz",
            "label_names": {"1": "nucleus", "2": "cytoplasm"},
            "group": f"organ/case{number}",
            "split": "dev" if number == 1 else "train",
        }
        for number in range(3)
    ]
    rows += [
        {"image": "photo/p1.png", "label": "photo/p1_mask.png", "label_names": {"1": "cell"}, "dim": 2},
        {"image": "nuclei/n1.png", "label": "nuclei/n1_mask.png", "label_names": {"instances": "nuclei"}, "dim": 2},
        {"image": "organ/other.nii.gz", "label": None, "split": "unlabelled"},
    ]
    for row in rows:
        (tmp_path / "data" / row["image"]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / row["image"]).touch()
    path = tmp_path / "data" / "index.json"
    path.write_text(json.dumps(rows))
    return path
