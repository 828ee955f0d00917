"""From finished cases to a task: folds, what is better on cases left out, the training on all, the file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from EfficientMedSAM2Lib import __version__
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import check_place
from EfficientMedSAM2Lib.core.resources import shipped_weights
from EfficientMedSAM2Lib.evaluation.methods.interface import BOX, CLICKS, VOLUME
from EfficientMedSAM2Lib.learning.tasks.cases import FinishedCase
from EfficientMedSAM2Lib.learning.tasks.checks import check_cases, modality_of
from EfficientMedSAM2Lib.learning.tasks.curve import earlier_tasks
from EfficientMedSAM2Lib.learning.tasks.judge import MEASURES, Dices, compare, is_better, joined, judge, results_text
from EfficientMedSAM2Lib.learning.tasks.kept_state import KeptState
from EfficientMedSAM2Lib.learning.tasks.samples import CaseSamples, sample_case, structure_size_mm, views_per_case
from EfficientMedSAM2Lib.learning.tasks.training import TaskTraining, quick_dice
from EfficientMedSAM2Lib.models import EfficientMedSAM2, load_model
from EfficientMedSAM2Lib.runtimes.exported import weights_sha256
from EfficientMedSAM2Lib.runtimes.network import Network
from EfficientMedSAM2Lib.runtimes.tasks import Task, write_task
from EfficientMedSAM2Lib.runtimes.tasks.task import Addition
from EfficientMedSAM2Lib.runtimes.tasks.torch_task import adapt_to

logger = logging.getLogger(__name__)

STEPS_PER_MINUTE = 26
"""Of each training, so that folds, the training on all cases and the comparison take the minutes that were asked for on
two idle cores. A number of steps and not a clock: the same cases and seed give the same task on any machine."""
FEWEST_MINUTES, MOST_MINUTES = 5, 15
"""Where no minutes are given: one for each case, since more cases take more steps (docs/experiments/10-task-view)."""
FOLDS = 2
SHARES = (1 / 3, 2 / 3, 1.0)
"""Of the steps: where a training may end."""
KEEP_EVERY = 10
RULES = {BOX: "roundness", CLICKS: "task_view", VOLUME: "task_box"}
"""Rules that suit many structures but not all; each is left out where its measure is better without it."""

Report = Callable[[str, int, int], None]
"""Is told what is being done, how far that is, and of how much."""


@dataclass(frozen=True)
class LearnOptions:
    """How a task is learnt.

    Attributes:
        minutes: About how long, on two idle cores; None for a minute a case, within limits.
        encoder: Of the weights that are started from.
        weights: Their file; None for the shipped one.
        seed: The same cases and seed give the same task.
    """

    minutes: float | None = None
    encoder: str = "efficientnet"
    weights: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.minutes is not None and not 0 < self.minutes <= 600:
            raise UserError(f"--minutes has to be more than 0 and at most 600, not {self.minutes:g}.")

    def steps(self, cases: int) -> int:
        """Steps of a training for a task of so many cases."""
        minutes = min(max(cases, FEWEST_MINUTES), MOST_MINUTES) if self.minutes is None else self.minutes
        return max(3, round(minutes * STEPS_PER_MINUTE))


def learn(
    cases: Sequence[FinishedCase],
    segment: str,
    output: Path,
    options: LearnOptions | None = None,
    report: Report | None = None,
) -> Task:
    """Learn a structure and write its task.

    Interrupted, it leaves a file beside the output from which the same call goes on.

    Args:
        cases: Finished cases of two patients or more.
        segment: Name of the structure.
        output: The `.task` file.
        options: How.
        report: For a progress bar. What it raises ends the work.

    Raises:
        UserError: The cases cannot be learnt from, the file cannot be written, or the task is not better on cases that
            were left out: then nothing is written.
    """
    options, report = options or LearnOptions(), report or _silent
    check_place(output)
    check_cases(cases, segment)
    for case in cases:
        if case.note:
            logger.warning("%s: %s", case.name, case.note)
    return _Learning(cases, segment, output, options, report).run()


class _Learning:
    """One run of `learn`."""

    def __init__(
        self, cases: Sequence[FinishedCase], segment: str, output: Path, options: LearnOptions, report: Report
    ) -> None:
        self.cases, self.segment, self.output = list(cases), segment, output
        self.options, self.report = options, report
        self.steps = options.steps(len(cases))
        self.weights = options.weights or shipped_weights(options.encoder)
        self._weights_sha256 = weights_sha256(options.encoder, self.weights)
        self.kept = KeptState(output.with_name(f".{output.name}.learning"), self._identity())
        self.samples: list[CaseSamples] = []

    def run(self) -> Task:
        try:
            return self._learnt()
        except UserError:
            self.kept.remove()  # the same call would end in the same way
            raise

    def _learnt(self) -> Task:
        self.samples = self._encode()
        folds = self._folds()
        marks = [max(1, round(share * self.steps)) for share in SHARES]
        trained = [self._trained(f"fold {n + 1} of {len(folds)}", n, fold, marks) for n, fold in enumerate(folds)]
        best = self._best_mark(folds, trained, marks)
        results, without = self._compared(folds, [states[best] for states in trained])
        if not is_better(results):
            raise UserError(
                f"Learning {self.segment!r} from {len(self.cases)} cases made it no better on cases left out "
                f"({results_text(results)}); nothing was written. Give more cases, or check their masks."
            )
        everything = list(range(len(self.cases)))
        final = self._trained("all cases", len(folds), everything, marks[: best + 1])[best]
        earlier = earlier_tasks(self.output, self.segment, self._weights_sha256, len(self.cases))
        task = replace(self._task(final, without), results=results, steps=marks[best], earlier=earlier)
        write_task(self.output, task)
        self.kept.remove()
        return task

    def _identity(self) -> str:
        """Everything that the task depends on, as a hash: a state of other cases is not gone on from."""
        digest = hashlib.sha256(json.dumps([self.segment, __version__, asdict(self.options)], default=str).encode())
        digest.update(self._weights_sha256.encode())
        for case in self.cases:
            digest.update(f"{case.name} {case.patient} {case.image.window} {case.image.spacing_mm}".encode())
            digest.update(np.ascontiguousarray(case.image.voxels).tobytes())
            digest.update(np.packbits(case.image.labels > 0).tobytes())
        return digest.hexdigest()

    def _encode(self) -> list[CaseSamples]:
        model = load_model(self.weights, for_inference=True)
        model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        count, found = views_per_case(len(self.cases)), []
        for number, case in enumerate(self.cases):
            self.report("looking at the cases", number, len(self.cases))
            found.append(sample_case(model, case.image, count, [self.options.seed, number]))
        return found

    def _folds(self) -> list[list[int]]:
        """Cases learnt from in each fold; those of a patient are left out together."""
        patients = sorted({case.patient for case in self.cases})
        order = np.random.default_rng(self.options.seed).permutation(len(patients))
        group = {patients[patient]: place % FOLDS for place, patient in enumerate(order)}
        return [[n for n, case in enumerate(self.cases) if group[case.patient] != fold] for fold in range(FOLDS)]

    def _left_out(self, fold: Sequence[int]) -> list[int]:
        return [number for number in range(len(self.cases)) if number not in fold]

    def _model(self) -> EfficientMedSAM2:
        return load_model(self.weights).eval()

    def _trained(self, what: str, number: int, fold: Sequence[int], marks: Sequence[int]) -> list[dict[str, Addition]]:
        """Additions at each mark of a training on some cases."""
        cases = [self.samples[case] for case in fold]
        training = TaskTraining(self._model(), cases, self.steps, self.options.seed)
        kept = self.kept.of(number)
        states: list[dict[str, torch.Tensor]] = kept.get("states", [])
        if "training" in kept:
            training.load(kept["training"])
        while len(states) < len(marks):
            self.report(f"learning from {what}", training.step, marks[-1])
            training.advance()
            if training.step == marks[len(states)]:
                states.append({name: value.clone() for name, value in training.average.items()})
            if training.step % KEEP_EVERY == 0 or len(states) == len(marks):
                self.kept.keep(number, {"states": states, "training": training.state()})
        return [training.additions.of(state) for state in states]

    def _best_mark(
        self, folds: Sequence[Sequence[int]], trained: Sequence[Sequence[dict[str, Addition]]], marks: Sequence[int]
    ) -> int:
        """Which mark is best on the cases left out."""
        found = []
        for mark in range(len(marks)):
            self.report("choosing when to stop", mark, len(marks))
            dices = [
                quick_dice(self._adapted(states[mark]), [self.samples[number] for number in self._left_out(fold)])
                for fold, states in zip(folds, trained)
            ]
            found.append(float(np.mean(dices)))
        return int(np.argmax(found))

    def _compared(
        self, folds: Sequence[Sequence[int]], trained: Sequence[dict[str, Addition]]
    ) -> tuple[dict[str, tuple[float, float]], tuple[str, ...]]:
        """Before and after on the cases left out, and the rules that do not suit the structure."""
        images = [[self.cases[case].image for case in self._left_out(fold)] for fold in folds]
        networks = [self._network(self._task(additions)) for additions in trained]
        plain = self._network()
        after: Dices = {}
        without: tuple[str, ...] = ()
        for number, measure in enumerate(MEASURES):
            self.report("comparing before and after", number, len(MEASURES) + 1)
            tried: dict[tuple[str, ...], Dices] = {without: {}}
            if measure in RULES:
                tried[(*without, RULES[measure])] = {}
            for rules in tried:
                for network in networks:
                    network.heuristics = plain.heuristics.without(rules)
                tried[rules] = joined(judge(network, left, [measure]) for network, left in zip(networks, images))
            if measure == BOX and BOX not in tried[without]:
                raise UserError(f"{self.segment!r} is too small on the slices of these scans to be learnt.")
            without = max(tried, key=lambda rules: float(np.mean(tried[rules].get(measure, [0.0]))))
            after.update(tried[without])
        self.report("comparing before and after", len(MEASURES), len(MEASURES) + 1)
        before = judge(plain, [image for left in images for image in left])
        return compare(before, after), without

    def _adapted(self, additions: dict[str, Addition]) -> EfficientMedSAM2:
        model = self._model()
        adapt_to(self._task(additions))(model)
        return model

    def _network(self, task: Task | None = None) -> Network:
        model = load_model(self.weights, for_inference=True)
        if task is not None:
            adapt_to(task)(model)
        return model.requires_grad_(False)

    def _task(self, additions: dict[str, Addition], without: tuple[str, ...] = ()) -> Task:
        images = [case.image for case in self.cases]
        middle: Any = np.median
        return Task(
            name=self.segment,
            encoder=self._model().config.encoder_type,
            weights_sha256=self._weights_sha256,
            cases=len(self.cases),
            modality=next((modality_of(case) for case in self.cases if modality_of(case)), ""),
            window=tuple(float(middle([image.window[n] for image in images])) for n in (0, 1)),  # type: ignore[arg-type]
            spacing_mm=tuple(float(middle([image.spacing_mm[n] for image in images])) for n in range(3)),  # type: ignore[arg-type]
            size_mm=float(middle([structure_size_mm(image) for image in images])),
            terminology=next((case.terminology for case in self.cases if case.terminology), ""),
            seed=self.options.seed,
            without=without,
            version=__version__,
            additions=additions,
        )


def _silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


__all__ = ["LearnOptions", "Report", "learn"]
