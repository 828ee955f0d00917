"""A training computes in the fastest precision that the machine has, and says which."""

from __future__ import annotations

import argparse
import logging

import pytest
import torch

from EfficientMedSAM2Lib.commands import distill
from EfficientMedSAM2Lib.learning import precision


@pytest.mark.parametrize(
    ("gpu", "gpu_has_bfloat16", "cpu_has_bfloat16", "chosen"),
    [
        (False, False, False, "32-true"),
        (False, False, True, "bf16-mixed"),
        (True, True, False, "bf16-mixed"),
        (True, False, True, "16-mixed"),
    ],
)
def test_auto_is_what_the_machine_computes_natively(
    monkeypatch, caplog, gpu: bool, gpu_has_bfloat16: bool, cpu_has_bfloat16: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: gpu_has_bfloat16)
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: cpu_has_bfloat16)
    with caplog.at_level(logging.INFO):
        assert precision.choose_precision("auto") == chosen
    assert chosen in caplog.text


@pytest.mark.parametrize("wanted", ["bf16-mixed", "16-mixed", "32-true"])
def test_what_is_asked_for_is_taken(wanted: str) -> None:
    assert precision.choose_precision(wanted) == wanted


def test_the_command_offers_the_same_names() -> None:
    parser = argparse.ArgumentParser()
    distill.add_arguments(parser)
    action = next(action for action in parser._actions if action.dest == "mixed_precision")
    assert tuple(action.choices) == precision.PRECISIONS
