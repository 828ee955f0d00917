"""An exported network is the torch network: same numbers, for any count of objects, clicks and memories."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.core.files import sha256_of
from EfficientMedSAM2Lib.core.resources import resource_path, shipped_weights
from EfficientMedSAM2Lib.learning.initialise import grown
from EfficientMedSAM2Lib.models import EfficientMedSAM2, MemoryBank, ModelConfig, PromptBatch
from EfficientMedSAM2Lib.models.builder import load_model, save_model
from EfficientMedSAM2Lib.models.config import ContextConfig
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.runtimes import build as building
from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model
from EfficientMedSAM2Lib.runtimes.onnx.export import export_network
from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import FORMAT, read_description
from EfficientMedSAM2Lib.runtimes.onnx.onnx_network import OnnxNetwork


@pytest.fixture(scope="module", params=["stride 4", "stride 2"])
def networks(request, exported, tmp_path_factory):
    if request.param == "stride 4":
        return build_efficient_medsam2_model(precision="fp32", device="cpu"), OnnxNetwork(exported, threads=1)
    folder = tmp_path_factory.mktemp("fine")
    save_model(grown(load_model(shipped_weights("efficientnet"))), folder / "fine.safetensors")
    model = build_efficient_medsam2_model(checkpoint=folder / "fine.safetensors", precision="fp32", device="cpu")
    export_network(model, folder / "fine.onnx.zip")
    return model, OnnxNetwork(folder / "fine.onnx.zip", threads=1)


def numpy_of(bundle):
    values = bundle if isinstance(bundle, dict) else bundle._asdict()
    return {name: value if value is None else np.asarray(value) for name, value in values.items()}


def assert_close(expected, found, tolerance=2e-3):
    for name, value in numpy_of(expected).items():
        if value is None:
            assert getattr(found, name) is None
            continue
        np.testing.assert_allclose(getattr(found, name), value, atol=tolerance, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("objects", "clicks", "memories"), [(1, 0, 1), (1, 1, 7), (3, 2, 4)])
@pytest.mark.parametrize("kind", ["box", "mask", "neighbour"])
def test_agrees_with_torch(networks, objects, clicks, memories, kind):
    torch_network, onnx_network = networks
    generator = torch.Generator().manual_seed(objects)
    image = torch.rand(objects, 3, 256, 256, generator=generator)
    bank = MemoryBank(
        torch.randn(objects, memories, 64, 16, 16, generator=generator),
        torch.randn(objects, memories, 192, generator=generator),
        10 * torch.randn(objects, memories, generator=generator),
        torch.ones(objects, memories),
    )
    prompts = PromptBatch.empty(objects)
    prompts.points = 256 * torch.rand(objects, clicks, 2, generator=generator)
    prompts.labels = torch.ones(objects, clicks, dtype=torch.long)
    side = torch_network.config.low_res_size
    logits = 5 * torch.randn(objects, 1, side, side, generator=generator)
    if torch_network.config.is_fine:
        prompts.dense = torch.rand(objects, 5, side, side, generator=generator)
    if kind == "box":
        prompts.boxes = torch.tensor([[40.0, 50, 120, 160]] * objects)
    elif kind == "mask":
        prompts.mask_logits, prompts.has_mask = logits, torch.ones(objects, dtype=torch.bool)
    else:
        prompts.neighbour_logits, prompts.neighbour_mm = logits, torch.full((objects,), 3.0)
    with torch.inference_mode():
        features = torch_network.encode_image(image)
        informed = torch_network.attend(features, bank)
        told = torch_network.encode_prompts(prompts)
        decoded = torch_network.decode(informed, told)
        memory = torch_network.encode_memory(features, logits)
        pointer = torch_network.object_pointer(decoded, torch.ones(objects, dtype=torch.long))
        alone = torch_network.without_memory(features)
    found = onnx_network.encode_image(image.numpy())
    assert_close(features, found)
    assert_close(alone, onnx_network.without_memory(found))
    seen = onnx_network.attend(found, MemoryBank(**numpy_of(bank)))
    assert_close(informed, seen)
    heard = onnx_network.encode_prompts(PromptBatch(**numpy_of(vars(prompts))))
    assert_close(told, heard)
    answer = onnx_network.decode(seen, heard)
    assert_close(decoded, answer)
    np.testing.assert_allclose(onnx_network.encode_memory(found, logits.numpy()), memory.numpy(), atol=2e-3)
    chosen = onnx_network.object_pointer(answer, np.ones(objects, int))
    np.testing.assert_allclose(chosen, pointer.numpy(), atol=2e-3)


def test_describes_itself(networks, exported):
    torch_network, onnx_network = networks
    assert onnx_network.config == torch_network.config
    assert onnx_network.parameter_count() == torch_network.parameter_count()
    assert onnx_network.compute_dtype == "float32"
    assert str(onnx_network.device) == "cpu"
    assert read_description(exported).licence == "Apache-2.0"


def test_memories_that_do_not_count_are_refused(networks):
    bank = MemoryBank(*(np.zeros(shape, np.float32) for shape in ((1, 2, 64, 16, 16), (1, 2, 192), (1, 2), (1, 2))))
    with pytest.raises(ValueError, match="leave the others out"):
        networks[1].attend(None, bank._replace(valid=np.array([[True, False]])))


def test_made_once_and_kept_by_the_weights_content(cache, exported, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(building, "export", lambda *arguments: made.append(shutil.copy(exported, arguments[-1])))
    weights = tmp_path / "others.safetensors"
    weights.write_bytes(shipped_weights("efficientnet").read_bytes() + b" ")
    path = building.exported_file("efficientnet", weights, "fp32")
    assert building.exported_file("efficientnet", weights, "fp32") == path
    assert made == [path]
    assert path.parent == cache
    weights.write_bytes(shipped_weights("efficientnet").read_bytes())
    assert building.exported_file("efficientnet", weights, "fp32").parent == resource_path("Models")


@pytest.mark.parametrize("encoder", ["efficientnet", "mobilenet"])
def test_what_is_shipped_comes_from_the_shipped_weights(encoder):
    network = build_efficient_medsam2_model(encoder, runtime="onnx", device="cuda")
    assert network.path == resource_path("Models", f"efficient_medsam2_{encoder}_fp32.onnx.zip")
    assert network.description.weights_sha256 == sha256_of(shipped_weights(encoder))


def test_an_export_of_the_shipped_weights_is_what_is_shipped(exported):
    shipped = resource_path("Models", "efficient_medsam2_efficientnet_fp32.onnx.zip")
    ours, theirs = (OnnxNetwork(path) for path in (exported, shipped))
    image = np.random.default_rng(0).random((1, 3, 256, 256), np.float32)
    assert_close(theirs.encode_image(image), ours.encode_image(image), 1e-4)


def test_threads_can_be_set(exported):
    network = OnnxNetwork(exported, threads=1)
    image = np.zeros((1, 3, 256, 256), np.float32)
    before = network.encode_image(image)
    network.set_threads(2)
    assert network.threads == 2
    np.testing.assert_allclose(network.encode_image(image).embedding, before.embedding, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runtime": "tensorflow"}, "torch or onnx"),
        ({"precision": "fp8"}, "fp32, fp16, bf16, int8"),
        ({"runtime": "onnx", "precision": "fp16"}, "fp32 or int8"),
        ({"runtime": "torch", "precision": "int8"}, "runtime='onnx'"),
        ({"runtime": "onnx", "encoder_type": "vit"}, "choose one of"),
        ({"runtime": "onnx", "checkpoint": "missing.safetensors"}, "does not exist"),
        ({"checkpoint": "missing.onnx.zip"}, "does not exist"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_efficient_medsam2_model(**arguments)


def test_another_encoder_and_another_precision_are_refused(exported):
    with pytest.raises(ValueError, match="ask for encoder_type='efficientnet'"):
        build_efficient_medsam2_model("mobilenet", exported)
    with pytest.raises(ValueError, match="exported as fp32"):
        build_efficient_medsam2_model(checkpoint=exported, precision="int8")


def test_damaged_and_foreign_files_are_refused(exported, tmp_path):
    damaged = tmp_path / "damaged.onnx.zip"
    damaged.write_bytes(exported.read_bytes()[:1000])
    foreign = tmp_path / "foreign.onnx.zip"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("network.json", json.dumps({"format": FORMAT}))
    for path in (damaged, foreign):
        with pytest.raises(ValueError, match="is not a network exported by"):
            build_efficient_medsam2_model(checkpoint=path)


@pytest.mark.slow
def test_tensors_where_torch_is_installed_but_only_when_they_are_asked_for(exported):
    """SAM2's calls give tensors, whatever the network runs on; sessions, the effect and the commands load no torch."""
    code = (
        "import sys, numpy as np\n"
        "from EfficientMedSAM2Lib import *\n"
        "from EfficientMedSAM2Lib.mrml.effect.predictor_loader import warm_up\n"
        f"predictor = EfficientMedSAM2VolumePredictor.from_pretrained({str(exported)!r})\n"
        "volume = np.random.default_rng(0).random((4, 48, 48))\n"
        "warm_up(predictor)\n"
        "session = InteractiveSession(predictor)\n"
        "session.set_image(volume)\n"
        "session.add_bbox_interaction([[1, 2], [5, 30], [5, 30]])\n"
        "list(session.propagate())\n"
        "session.add_initial_seg_interaction(np.ones((48, 48)), index=3)\n"
        "assert 'torch' not in sys.modules\n"
        "state = predictor.init_state(volume)\n"
        "frame_idx, ids, logits = predictor.add_new_points_or_box(state, 1, 1, box=[5, 5, 30, 30])\n"
        "assert (logits[0] > 0).cpu().numpy().shape == (1, 48, 48)\n"
        "for frame_idx, ids, logits in predictor.propagate_in_video(state):\n"
        "    assert (logits[0] > 0).cpu().numpy().shape == (1, 48, 48)\n"
        "images = EfficientMedSAM2ImagePredictor(predictor.model)\n"
        "images.set_image(volume[0])\n"
        "assert images.get_image_embedding().cpu().numpy().dtype == np.float32\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_exported_network_says_what_it_has_not(exported):
    predictor = EfficientMedSAM2VolumePredictor(OnnxNetwork(exported))
    assert predictor.to("cpu").eval() is predictor
    assert predictor.image_size == predictor.model.image_size == 256
    with pytest.raises(ValueError, match="computes on the CPU, not on cuda:1"):
        predictor.cuda(1)
    with pytest.raises(AttributeError, match="has no parameters; build the network with runtime='torch'"):
        predictor.parameters()
    again = pickle.loads(pickle.dumps(predictor))  # noqa: S301
    assert again.model.path == predictor.model.path


@pytest.mark.slow
def test_the_context_network_is_exported_where_there_is_one(tmp_path):
    torch.manual_seed(0)
    config = ModelConfig("mobilenet", context=ContextConfig(size=16, widths=(8, 8, 16, 16), fine_width=8))
    save_model(EfficientMedSAM2(config), tmp_path / "model.safetensors")
    model = build_efficient_medsam2_model("mobilenet", tmp_path / "model.safetensors", "cpu", precision="fp32")
    export_network(model, tmp_path / "model.onnx.zip")
    network = OnnxNetwork(tmp_path / "model.onnx.zip", threads=1)
    assert network.config == config
    cubes = torch.randn(3, 5, 16, 16, 16)
    with torch.inference_mode():
        expected = model.context_logits(cubes).numpy()
    np.testing.assert_allclose(network.context_logits(cubes.numpy()), expected, atol=1e-3)


def test_an_export_without_context_says_so(networks):
    _, without = networks
    assert without.config.context is None
    with zipfile.ZipFile(without.path) as archive:
        assert "context.onnx" not in archive.namelist()
    with pytest.raises(ValueError, match="no context network"):
        without.context_logits(np.zeros((1, 5, 64, 64, 64), np.float32))
