"""Running a training: batches, Lightning's trainer, a checkpoint every few minutes, weights at the end."""

from __future__ import annotations

import csv
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from EfficientMedSAM2Lib.core.files import output_folder
from EfficientMedSAM2Lib.learning.precision import choose_precision
from EfficientMedSAM2Lib.learning.stages.slices import PromptTraining, lightning
from EfficientMedSAM2Lib.models import EfficientMedSAM2, save_model

CHECKPOINT_MINUTES = 4
EMA_DECAY = 0.99


class TimeBudget(lightning.Callback):
    """Ends a training when its module has used up its minutes or steps, resumed ones included.

    Not Lightning's Timer: the module's own clock drives the learning rate too, and one process has to decide for all.
    """

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *unused: Any) -> None:
        # The first process decides for all: one that stopped alone would leave the others waiting for its gradients.
        over = trainer.strategy.broadcast(pl_module.progress_made >= 1)
        trainer.should_stop = trainer.should_stop or over


class CurveLog(lightning.Callback):
    """Means of everything logged over every `every` steps, as rows of a CSV file.

    Lightning's CSVLogger writes the value of a single step, and starts a new file when a training is resumed.
    """

    def __init__(self, path: Path, every: int = 50) -> None:
        self.path, self.every = path, every
        self._sums: dict[str, float] = {}
        self._steps = 0

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *unused: Any) -> None:
        for name, value in trainer.callback_metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._steps += 1
        if trainer.global_step % self.every or not trainer.is_global_zero:
            return
        row = {"step": trainer.global_step, "minutes": round(pl_module.elapsed / 60, 2)}
        row.update({name: round(total / self._steps, 5) for name, total in sorted(self._sums.items())})
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if new:
                writer.writeheader()
            writer.writerow(row)
        self._sums.clear()
        self._steps = 0


def train(
    module: PromptTraining,
    batches: IterableDataset[dict[str, Any]] | dict[str, IterableDataset[dict[str, Any]]],
    output: Path,
    resume: Path | None = None,
    precision: Any = "auto",
    devices: Any = 1,
    workers: int = 1,
) -> EfficientMedSAM2:
    """Train until the module's minutes are used up.

    Args:
        module: What to train.
        batches: Endless batches, or a dict of several kinds, of which every step gets one each.
        output: Folder for `curve.csv`, `last.ckpt` and `model.safetensors` (averaged weights).
        resume: A checkpoint to go on from.
        precision: "auto" for the fastest on this machine, or Lightning's name: "bf16-mixed", "16-mixed", "32-true".
        devices: Lightning's devices, a number or "auto"; more than one trains with DDP, each on batches of its own.
        workers: Processes that make batches.

    Returns:
        The network with averaged weights.
    """
    output_folder(output)
    precision = choose_precision(precision)
    average = lightning.pytorch.callbacks.EMAWeightAveraging(decay=EMA_DECAY)
    keeper = lightning.pytorch.callbacks.ModelCheckpoint(
        dirpath=output,
        filename="last",
        train_time_interval=timedelta(minutes=CHECKPOINT_MINUTES),
        save_top_k=1,
        enable_version_counter=False,
    )
    trainer = lightning.Trainer(
        accelerator="auto",
        devices=devices,
        strategy=_strategy(devices),
        precision=precision,
        max_epochs=-1,
        callbacks=[average, keeper, TimeBudget(), CurveLog(output / "curve.csv")],
        logger=False,
        gradient_clip_val=1.0,
        enable_model_summary=False,
        default_root_dir=str(output),
    )
    if isinstance(batches, dict):
        loader: Any = {name: _loader(part, workers) for name, part in batches.items()}
    else:
        loader = _loader(batches, workers)
    if resume is not None:
        _go_on(batches, resume)
    trainer.fit(module, loader, ckpt_path=str(resume) if resume else None)
    if trainer.is_global_zero:
        notes = {"minutes": f"{module.elapsed / 60:.1f}", "steps": str(trainer.global_step)}
        save_model(module.model, output / "model.safetensors", notes)
    return module.model


def _go_on(batches: Any, resume: Path) -> None:
    """Begin with the batch after those that a checkpoint's training has seen."""
    step = int(torch.load(resume, map_location="cpu", weights_only=True)["global_step"])
    for part in batches.values() if isinstance(batches, dict) else (batches,):
        if hasattr(part, "first"):
            part.first = step


def _strategy(devices: Any) -> str:
    """Stages leave parts of the network idle, such as the memory, which DDP must be told."""
    alone = devices == 1 or (devices == "auto" and torch.cuda.device_count() < 2)
    return "auto" if alone else "ddp_find_unused_parameters_true"


def _loader(batches: IterableDataset[dict[str, Any]], workers: int) -> DataLoader[dict[str, Any]]:
    return DataLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
    )
