"""The options that say which network computes, and where, are the same for every command that runs one."""

from __future__ import annotations

import argparse
from importlib import import_module

import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.pipeline.engine import ENGINE_OPTIONS, add_engine_options, engine_arguments

VALUES = {
    "encoder": "mobilenet",
    "weights": "w.safetensors",
    "device": "cpu",
    "runtime": "torch",
    "precision": "bf16",
    "threads": "2",
    "task": "t.task",
}
COMMANDS = {
    "segment": ["scan.nii", "--output", "o.nrrd"],
    "demo": [],
    "info": [],
    "web": [],
    "cohort": ["run", "m.csv", "--output", "o"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_all(command):
    pytest.importorskip("pydantic" if command == "cohort" else "numpy")
    parser = argparse.ArgumentParser()
    import_module(f"EfficientMedSAM2Lib.commands.{command}").add_arguments(parser)
    options = [word for name, value in VALUES.items() for word in (f"--{name}", value)]
    found = engine_arguments(parser.parse_args([*COMMANDS[command], *options]))
    assert tuple(found) == ENGINE_OPTIONS
    if command == "web":  # may be started with several tasks
        (found["task"],) = found["task"]
    assert {name: str(value) for name, value in found.items()} == VALUES


@pytest.mark.parametrize("spelling", ["--encoder", "--encoder-type", "--encoder_type"])
def test_older_spellings_mean_the_same(spelling):
    parser = argparse.ArgumentParser()
    add_engine_options(parser, "encoder")
    assert engine_arguments(parser.parse_args([spelling, "mobilenet"])) == {"encoder": "mobilenet"}


def test_a_network_without_threads_is_refused_in_one_line(capsys):
    assert main(["info", "--threads", "0"]) == 2
    assert capsys.readouterr().err == "efficient-medsam2: A network needs at least one thread, not 0.\n"
