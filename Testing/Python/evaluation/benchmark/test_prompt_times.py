"""Times of every kind of prompt: that each is given and answered; how long it takes is the machine's business."""

from __future__ import annotations

import numpy as np
import pytest
from prompt_kinds import CENTRE, KINDS, SPACING_KJI, ball, scan

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.evaluation.benchmark.prompt_times import measure_prompts
from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan


@pytest.fixture
def bright():
    labels = ball()
    keep = slice(CENTRE[0] - 2, CENTRE[0] + 3)
    return Scan("ball", scan()[keep], labels[keep], SPACING_KJI, (0.0, 150.0), (13, 23, 39, 49), (26, 36))


@pytest.mark.slow
def test_each_kind_is_given_on_new_slices_and_again(bright):
    from EfficientMedSAM2Lib.pipeline.engine import build_session

    session, ticks = build_session(threads=2), iter(range(1000))
    times = measure_prompts(session, bright, clock=lambda: float(next(ticks)))
    assert tuple(times.kinds) == KINDS
    for kind, found in times.kinds.items():
        assert found.new == found.known == [1000.0] * 4, kind
        assert np.min(found.dice) > 0.9, kind
    text = str(times)
    assert all(f"\n{kind} " in text for kind in KINDS)
    assert "1000 (1000 to 1000)" in text
    with pytest.raises(UserError, match="one slice only"):
        measure_prompts(session, bright.of_length(1))


@pytest.mark.slow
def test_the_command_prints_them_and_refuses_what_it_cannot_do(capsys):
    assert main(["benchmark", "--prompts", "--size", "64", "--threads", "1", "--processor-time"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == [*KINDS, "at"]
    assert "load" in lines[0]
    for options, message in (
        (("--size", "8"), "--size is 8; give 32 or more"),
        (("--processor-time",), "give --threads 1"),
        (("--data-dir", "/nowhere"), "/nowhere does not exist"),
    ):
        assert main(["benchmark", "--prompts", *options]) == 2
        assert message in capsys.readouterr().err
