"""A graphics card without enough memory: once more with less, then on the CPU, told once each."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.runtimes.arrays import NumpyArrays
from EfficientMedSAM2Lib.runtimes.out_of_memory import MemoryGuard, is_out_of_memory
from EfficientMedSAM2Lib.runtimes.torch_arrays import TorchArrays

sys.path.insert(0, str(Path(__file__).parents[1] / "predictors"))
ERROR = getattr(torch, "OutOfMemoryError", None) or torch.cuda.OutOfMemoryError


class Card:
    """A network on a graphics card that is not there."""

    def __init__(self):
        self.device = torch.device("cuda")
        self.compute_dtype = torch.float16

    def to(self, device):
        self.device = device

    def set_compute_dtype(self, dtype):
        self.compute_dtype = dtype


class Work:
    """Fails a number of times, for want of memory."""

    def __init__(self, failures, error=None):
        self.failures = failures
        self.error = error or ERROR("CUDA out of memory. Tried to allocate 20.00 MiB")
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


@pytest.fixture(autouse=True)
def _each_message_once(monkeypatch):
    """The effect's relay, which its tests leave installed, and pytest would both bring a message to caplog."""
    engine = logging.getLogger("EfficientMedSAM2Lib")
    monkeypatch.setattr(engine, "handlers", [one for one in engine.handlers if not hasattr(one, "deliver")])


@pytest.mark.slow
def test_a_second_try_has_less_to_keep(caplog):
    card, forgotten = Card(), []
    guard, work = MemoryGuard(card), Work(1)
    assert guard.run(work, lambda: forgotten.append(True)) == "done"
    assert (work.calls, len(forgotten), guard.is_frugal, card.device.type) == (2, 1, True, "cuda")
    assert "going on with less" in caplog.text


@pytest.mark.slow
def test_a_third_try_is_on_the_cpu_and_stays_there(caplog):
    card = Card()
    guard = MemoryGuard(card)
    assert guard.run(Work(2)) == "done"
    assert (card.device.type, card.compute_dtype) == ("cpu", torch.float32)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "on the CPU" in caplog.records[1].message
    with pytest.raises(ERROR):  # the CPU has nowhere to go
        guard.run(Work(1))


@pytest.mark.slow
def test_told_once(caplog):
    guard = MemoryGuard(Card())
    for _ in range(3):
        guard.run(Work(1))
    assert len(caplog.records) == 1


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"):
        MemoryGuard(Card()).run(Work(1, RuntimeError("shapes differ")))


def test_the_error_has_several_names():
    assert is_out_of_memory(ERROR("x"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 18.1 GB)"))
    assert not is_out_of_memory(MemoryError("x"))


@pytest.mark.slow
def test_propagation_goes_on_where_memory_ends(monkeypatch, caplog):
    """The second slice does not fit on the card: its mask, and those after it, are what they would have been."""
    from stub_network import StubNetwork

    class Full(StubNetwork):
        room = 2
        moved = False

        def encode_image(self, image):
            if self.room == 0 and not self.moved:
                raise ERROR("CUDA out of memory")
            self.room -= 1
            return super().encode_image(image)

        def to(self, device):
            self.moved = True

        def set_compute_dtype(self, dtype):
            self.compute_dtype = dtype

    monkeypatch.setattr(
        MemoryGuard, "_on_cpu", lambda guard: guard._model.moved if hasattr(guard._model, "moved") else True
    )
    volume = np.zeros((6, 64, 64), np.float32)
    volume[:, 20:40, 24:44] = 1
    masks = []
    for network in (StubNetwork(), Full()):
        predictor = EfficientMedSAM2VolumePredictor(network)
        state = predictor.init_state(volume, window=(0.0, 1.0))
        predictor.add_new_points_or_box(state, 0, 1, box=[24, 20, 43, 39])
        masks.append([mask for _, mask, _ in predictor.propagate_object(state, 1, 0, range(6))])
        if isinstance(network, Full):
            assert network.moved
    assert np.array_equal(*masks)
    assert "going on on the CPU" in caplog.text


def test_memories_follow_the_network_to_the_cpu():
    card = Card()
    card.to(torch.device("cpu"))
    card.set_compute_dtype(torch.float32)
    moved = TorchArrays(card).to_device(torch.ones(2, dtype=torch.float16))
    assert moved.dtype == torch.float32


def test_arrays_on_any_device():
    card = Card()
    card.to(torch.device("meta"))
    arrays = TorchArrays(card)
    there = arrays.to_device(np.broadcast_to(np.float32(1), (2, 3)))
    assert there.device.type == "meta"
    assert arrays.join([there, there]).shape == (4, 3)
    assert arrays.stack([there, there]).shape == (2, 2, 3)
    card.to(torch.device("cpu"))
    a, b = arrays.to_numpy(torch.ones(2, 3, dtype=torch.float16), torch.zeros(4))
    assert (a.dtype, a.shape, b.shape) == (np.float32, (2, 3), (4,))


def test_memory_maps_are_resampled_alike():
    card = Card()
    card.to(torch.device("cpu"))
    memory = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)
    for target in [(0, 0, 64, 64), (10, -5, 64, 64), (8, 8, 30, 41), (-50, -50, 200, 170), (500, 0, 64, 64)]:
        source = (0, 0, 64, 64)
        expected = TorchArrays(card).resample_map(torch.from_numpy(memory), source, target).numpy()
        np.testing.assert_allclose(NumpyArrays().resample_map(memory, source, target), expected, atol=1e-4)
