"""The stage that trains the context network: it alone learns, and a resumed run is the run that was not interrupted."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.models import EfficientMedSAM2, ModelConfig, load_model, save_model
from EfficientMedSAM2Lib.models.config import ContextConfig
from EfficientMedSAM2Lib.models.timm_import import import_timm

import_timm()
lightning = pytest.importorskip("lightning")

from EfficientMedSAM2Lib.learning import train as training  # noqa: E402
from EfficientMedSAM2Lib.learning.initialise import with_context  # noqa: E402
from EfficientMedSAM2Lib.learning.samples.cubes.batches import cube_batches, cube_source  # noqa: E402
from EfficientMedSAM2Lib.learning.stages.context import ContextTraining, context_loss  # noqa: E402
from EfficientMedSAM2Lib.learning.stages.distil import same_sizes  # noqa: E402

SMALL = ContextConfig(size=16, widths=(8, 8, 16, 16), fine_width=8)


def small_network() -> EfficientMedSAM2:
    torch.manual_seed(0)
    return EfficientMedSAM2(ModelConfig("mobilenet", context=SMALL))


class StopAt(lightning.Callback):
    """Ends a run after a number of steps, with a checkpoint."""

    steps = 0

    def on_train_batch_end(self, trainer, module, *unused):
        if trainer.global_step >= self.steps:
            trainer.should_stop = True


@pytest.fixture
def run(manifest_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training, "TimeBudget", StopAt)
    # The rate depends on time, which no two runs share.
    monkeypatch.setattr(ContextTraining, "progress_made", 0.5)
    source = cube_source(manifest_path, {"labels": 1.0}, SMALL.size)

    def train(output: Path, steps: int, resume: Path | None = None, **options):
        monkeypatch.setattr(StopAt, "steps", steps)
        module = ContextTraining(small_network(), compile_model=False, learning_rate=1e-2)
        batches = cube_batches(source, batch_size=2, seed=3)
        return training.train(module, batches, output, resume, precision="32-true", **options)

    return train


@pytest.mark.slow
def test_only_the_context_network_learns_and_loss_falls(run, tmp_path: Path) -> None:
    before = small_network().state_dict()
    run(tmp_path, 100)
    after = load_model(tmp_path / "model.safetensors").state_dict()
    for name, value in before.items():
        if name.endswith("num_batches_tracked"):
            continue
        same = torch.allclose(after[name], value, atol=1e-3, rtol=1e-3)
        assert same != name.startswith("context.") or "norm" in name or name.endswith("bias"), name
    rows = list(csv.DictReader((tmp_path / "curve.csv").open()))
    assert float(rows[-1]["loss"]) < 0.8 * float(rows[0]["loss"])
    assert float(rows[-1]["dice"]) > float(rows[0]["dice"])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_is_the_run_that_was_not_interrupted(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_MINUTES", 1e-6)
    whole = run(tmp_path / "whole", 5, workers=workers)
    run(tmp_path / "first", 3, workers=workers)
    resumed = run(tmp_path / "second", 5, tmp_path / "first" / "last.ckpt", workers=workers)
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values()):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6, msg=name)


def test_loss_counts_the_cells_in_the_volume_alone() -> None:
    torch.manual_seed(0)
    mask = torch.zeros(2, 8, 8, 8)
    mask[:, 2:6, 2:6, 2:6] = 1
    valid = torch.ones_like(mask, dtype=torch.bool)
    valid[:, :, :, 6:] = False
    good = torch.where(mask > 0, 9.0, -9.0)
    bad_outside = good.clone()
    bad_outside[:, :, :, 6:] = 9.0
    perfect = context_loss(good, mask, valid)
    assert perfect["loss"] < 0.01
    assert perfect["dice"] == 1
    torch.testing.assert_close(context_loss(bad_outside, mask, valid), perfect)
    wrong = context_loss(-good, mask, valid)
    assert wrong["loss"] > 10
    assert wrong["dice"] == 0


def test_a_network_gets_a_context_part_once() -> None:
    model = EfficientMedSAM2(ModelConfig("mobilenet"))
    larger = with_context(model)
    assert same_sizes(model.config, larger.config), "it can still be taught by the one without"
    assert larger.config.context == ContextConfig()
    for name, value in model.state_dict().items():
        assert torch.equal(larger.state_dict()[name], value)
    assert with_context(larger) is larger


def test_the_command_draws_a_cache_and_trains_on_it(
    manifest_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from EfficientMedSAM2Lib.learning.samples.cubes import batches, cache

    monkeypatch.setattr(cache, "CUBES_PER_FILE", 2)
    monkeypatch.setattr(batches, "CUBE_MIX", {"labels": 1.0})
    save_model(small_network(), tmp_path / "start.safetensors")
    command = [
        "distill",
        "--stage",
        "context",
        "--data_dir",
        str(manifest_path),
        "--weights",
        str(tmp_path / "start.safetensors"),
        "--cache",
        str(tmp_path / "cache"),
        "--cached_cubes",
        "4",
        "--cube_batch_size",
        "2",
        "--no-compile",
        "--max-minutes",
        "1e-6",
        "--mixed_precision",
        "32-true",
        "--workers",
        "0",
    ]
    assert main([*command, "--output", str(tmp_path / "one")]) == 0
    assert len(list((tmp_path / "cache").iterdir())) == 2
    manifest_path.unlink()
    assert main([*command, "--output", str(tmp_path / "two")]) == 0, "a full cache needs no images"
    assert load_model(tmp_path / "two" / "model.safetensors").config.context == SMALL


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stage", "context"], "name it by --weights"),
        (["--stage", "context", "--cube_batch_size", "0"], "1 or more"),
        (["--stage", "slices", "--cache", "cubes"], "--cache keeps cubes"),
        (["--stage", "context", "--cache", "cubes", "--leave-out", "organ"], "cubes of all data sets"),
        (["--stage", "slices", "--workers", "-1"], "0 or more"),
    ],
)
def test_what_cannot_be_is_one_line(manifest_path, tmp_path, capsys, options, message) -> None:
    assert main(["distill", "--data_dir", str(manifest_path), "--output", str(tmp_path / "out"), *options]) == 2
    told = capsys.readouterr().err.strip()
    assert message in told
    assert "\n" not in told
