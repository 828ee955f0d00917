"""What the documents promise: README's examples run as they stand, commands are understood, named files exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def ball(shape, center, radius):
    """Bright inside the ball, dark and noisy outside, int16."""
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(np.ogrid[tuple(map(slice, shape))], center)))
    noise = np.random.default_rng(0).normal(0, 10, shape)
    return (np.where(distance < radius, 200, 0) + noise).astype(np.int16)


def test_the_image_example_runs():
    """The image has the shape (1, 1, H, W), as a script of the first published API gives it."""
    names = {"image": ball((200, 200), (100, 90), 40)[None, None].astype(np.float32), "x": 90, "y": 100}
    exec(EXAMPLES[0], names)
    assert names["best_mask"].shape == (200, 200)
    assert names["masks"].shape[0] == len(names["scores"])
    assert names["best_mask"][100, 90]


@pytest.mark.slow
def test_the_volume_example_runs(capsys):
    volume = ball((60, 240, 220), (40, 160, 140), 55)
    before = volume.copy()
    names = {"volume": volume, "ijk_to_ras": np.diag([1.0, 1.0, 2.0, 1.0])}
    exec(EXAMPLES[1], names)
    assert names["mask"].shape == volume.shape
    assert names["mask"][40].any()
    assert len(capsys.readouterr().out.splitlines()) > 5
    assert np.array_equal(volume, before)


def test_commands_are_understood():
    """Options in README that the command line does not know would be an error of the parser."""
    from EfficientMedSAM2Lib.cli import COMMANDS, _build_parser

    shown = [shlex.split(line) for line in re.findall(r"^efficient-medsam2 .*$", README, re.MULTILINE)]
    assert shown
    for _, *arguments in shown:
        assert _build_parser(arguments).parse_args(arguments).command == arguments[0]
    for command in re.findall(r"`efficient-medsam2 (\w+)", README):
        assert command in COMMANDS


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_files_that_are_linked_exist(target):
    assert (REPOSITORY / target).exists()


DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_source_files_that_are_named_exist(document):
    """Walks through the code, such as those of docs/architecture.md, go wrong silently when a file is renamed."""
    named = set(re.findall(r"`([\w./-]+/[\w-]+\.py)`", document.read_text(encoding="utf-8")))
    roots = (REPOSITORY, REPOSITORY / "EfficientMedSAM2Lib")
    assert not {name for name in named if not any((root / name).is_file() for root in roots)}
