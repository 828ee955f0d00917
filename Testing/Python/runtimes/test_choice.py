"""Which runtime "auto" stands for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import EfficientMedSAM2Lib.models.builder as builder
from EfficientMedSAM2Lib.core.resources import shipped_weights
from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model, choice
from EfficientMedSAM2Lib.runtimes.choice import choose_runtime


@pytest.fixture
def machine(monkeypatch):
    """A machine as one says: what is installed, and whether there is a driver of a GPU, and a GPU for torch."""

    def make(installed=(*choice.TORCH_PACKAGES, "onnxruntime"), driver=False, gpu=False):
        monkeypatch.setattr(choice, "installed", lambda name: name in installed)
        monkeypatch.setattr(choice, "may_have_gpu", lambda: driver)
        monkeypatch.setattr(builder, "default_device", lambda: SimpleNamespace(type="cuda" if gpu else "cpu"))

    make()
    return make


@pytest.mark.parametrize(
    ("arguments", "runtime"),
    [
        (("efficientnet", None, "auto", None), "onnx"),
        (("mobilenet", None, "cpu", "fp32"), "onnx"),
        (("efficientnet", None, "auto", "int8"), "onnx"),
        (("efficientnet", "any.onnx.zip", "auto", None), "onnx"),
        (("efficientnet", None, "cuda:0", None), "onnx"),
        (("efficientnet", None, "cpu", "bf16"), "torch"),
        (("efficientnet", "random", "cpu", None), "torch"),
    ],
)
def test_a_cpu_gets_onnx_runtime_where_an_exported_network_is_at_hand(machine, arguments, runtime):
    assert choose_runtime(*arguments) == runtime


def test_what_is_not_installed_is_not_chosen(machine):
    machine(installed=choice.TORCH_PACKAGES)
    assert choose_runtime("efficientnet", None, "auto", None) == "torch"
    machine(installed=("torch", "onnxruntime"))  # timm is missing
    assert choose_runtime("efficientnet", None, "auto", None) == "onnx"
    machine(installed=("onnxruntime",))
    assert choose_runtime("efficientnet", "random", "auto", None) == "onnx"


def test_a_gpu_that_torch_can_use_is_used_unless_the_cpu_is_asked_for(machine):
    machine(driver=True, gpu=True)
    assert choose_runtime("efficientnet", None, "auto", None) == "torch"
    assert choose_runtime("efficientnet", None, "cuda:0", None) == "torch"
    assert choose_runtime("efficientnet", None, "cpu", None) == "onnx"
    machine(driver=True, gpu=False)
    assert choose_runtime("efficientnet", None, "cuda:0", None) == "onnx"
    assert choose_runtime("efficientnet", None, "auto", None) == "onnx"


def test_weights_that_were_never_exported_run_on_torch(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("EFFICIENT_MEDSAM2_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(shipped_weights("efficientnet").read_bytes() + b" ")
    assert choose_runtime("efficientnet", weights, "auto", None) == "torch"


def test_the_builder_takes_what_is_chosen(monkeypatch):
    monkeypatch.setattr(choice, "may_have_gpu", lambda: False)
    assert build_efficient_medsam2_model(runtime="auto").array_library == "numpy"
    assert hasattr(build_efficient_medsam2_model(), "state_dict")


def test_onnx_runtime_alone_is_enough_where_the_network_is_exported(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("EFFICIENT_MEDSAM2_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(shipped_weights("efficientnet").read_bytes() + b" ")
    machine(installed=())
    assert choice.missing_packages("efficientnet", None, "auto") == ["onnxruntime"]
    assert choice.missing_packages("mobilenet", None, "cpu") == ["onnxruntime"]
    assert choice.missing_packages("efficientnet", weights, "auto") == ["torch", "timm", "safetensors"]
    assert choice.missing_packages("efficientnet", None, "cuda:0") == ["torch", "timm", "safetensors"]
    machine(installed=("onnxruntime",))
    assert choice.missing_packages("efficientnet", None, "auto") == []
    machine(installed=choice.TORCH_PACKAGES)
    assert choice.missing_packages("efficientnet", None, "auto") == []
