"""One slice, one object: prompts in slice pixels in, masks in the chosen viewport out. Both predictors stand on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

from EfficientMedSAM2Lib.core.appearance import AppearanceModel, Intensities
from EfficientMedSAM2Lib.models.bundles import Array, DecodedMasks, ImageFeatures, MemoryBank
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import viewport_choice
from EfficientMedSAM2Lib.predictors.slices.clicks import heeding, holds
from EfficientMedSAM2Lib.predictors.slices.dense_prompts import grey
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.inference_thread import InferenceThread
from EfficientMedSAM2Lib.predictors.slices.prompt_batch import Attempt, prompt_batch, viewport_of_prompts
from EfficientMedSAM2Lib.predictors.slices.rejection import rejects_earlier
from EfficientMedSAM2Lib.predictors.slices.roundness import rounded
from EfficientMedSAM2Lib.predictors.slices.second_pass import second_pass, second_pass_by_task
from EfficientMedSAM2Lib.predictors.slices.slice_data import (
    SINGLE_MASK,
    PlacedLogits,
    SliceImage,
    SlicePrediction,
    SlicePrompts,
)
from EfficientMedSAM2Lib.predictors.viewport import NO_OBJECT_LOGIT, Viewport, crop, resample
from EfficientMedSAM2Lib.runtimes.arrays import arrays_of
from EfficientMedSAM2Lib.runtimes.home_process import check_home, note_home
from EfficientMedSAM2Lib.runtimes.network import Network
from EfficientMedSAM2Lib.runtimes.out_of_memory import MemoryGuard

T = TypeVar("T")


BankFor = Callable[[Viewport], "MemoryBank | None"]


class SlicePredictor:
    """Chooses the viewport, asks the network, gives masks back. Holds no state: the cache is handed in.

    Args:
        model: The network, in evaluation mode.
    """

    def __init__(self, model: Network) -> None:
        note_home(model)
        self.model = model
        self.arrays = arrays_of(model)
        self.inference_thread = InferenceThread(model)
        self._guard = MemoryGuard(model)
        self.size = model.config.image_size
        self.low_res = model.config.low_res_size
        self.candidates = tuple(range(1, 1 + model.config.num_multimask))

    def __reduce__(self) -> tuple[type[SlicePredictor], tuple[Network]]:
        # Its threads and locks are not pickled; it is made anew of the network.
        return type(self), (self.model,)

    @property
    def heuristics(self) -> HeuristicsConfig:
        """Rules and numbers that come with the network's weights."""
        return self.model.heuristics

    def single_mask_choices(self, prompts: SlicePrompts) -> tuple[int, ...]:
        """Masks of which one is the answer where a single mask is wanted."""
        return self.candidates if prompts.is_ambiguous and not self._known_size_mm else (SINGLE_MASK,)

    @property
    def _known_size_mm(self) -> float:
        """Longest side of the structure that clicks mean; 0 where the network has no task, or nobody knows."""
        task = self.model.task
        return task.size_mm if task is not None and self.heuristics.task_view else 0.0

    def encode(self, image: SliceImage, viewports: list[Viewport], cache: FeatureCache) -> list[ImageFeatures]:
        """Features of viewports of a slice; those not in the cache are encoded together."""
        features = self._run(lambda: self._encode(image, viewports, cache), cache.clear)
        if self.model.config.is_fine:
            for viewport in viewports:
                self._intensities(image, viewport, cache)
        return features

    def _intensities(self, image: SliceImage, viewport: Viewport, cache: FeatureCache) -> Intensities:
        """What a viewport shows, on the grid of mask logits."""
        return cache.get(
            (image.key, viewport, Intensities), lambda: Intensities.of(grey(self._crop(image, viewport), self.low_res))
        )

    def _run(self, work: Callable[[], T], forget: Callable[[], None] | None = None) -> T:
        """Ask the network; see `MemoryGuard.run`."""
        check_home(self.model)
        return self._guard.run(work, forget)

    def _encode(self, image: SliceImage, viewports: list[Viewport], cache: FeatureCache) -> list[ImageFeatures]:
        missing = [viewport for viewport in viewports if (image.key, viewport) not in cache]
        fresh: dict[Viewport, ImageFeatures] = {}
        with self.arrays.inference():
            if len(missing) > 1 and not self._guard.is_frugal:
                batch = self._features(np.concatenate([self._crop(image, viewport) for viewport in missing]))
                for i, viewport in enumerate(missing):
                    fresh[viewport] = batch.select(slice(i, i + 1)).map(self.arrays.copy)

            def compute(viewport: Viewport) -> ImageFeatures:
                return fresh[viewport] if viewport in fresh else self._features(self._crop(image, viewport))

            return [cache.get((image.key, viewport), partial(compute, viewport)) for viewport in viewports]

    def _crop(self, image: SliceImage, viewport: Viewport) -> np.ndarray:
        return crop(image.array, viewport, image.window, self.size)

    def _features(self, crops: np.ndarray) -> ImageFeatures:
        return self.model.encode_image(self.arrays.to_device(crops))

    def predict(
        self,
        image: SliceImage,
        prompts: SlicePrompts,
        cache: FeatureCache,
        viewport: Viewport | None = None,
        bank_for: BankFor | None = None,
        choices: tuple[int, ...] = (SINGLE_MASK,),
    ) -> tuple[SlicePrediction, int]:
        """Segment one object on one slice.

        Args:
            image: The slice.
            prompts: Prompts and earlier masks; may be empty when there is memory.
            cache: Where features are kept.
            viewport: What the network sees; None lets the prompts decide.
            bank_for: Makes the memory bank as seen in a viewport; None for a slice that stands alone.
            choices: Masks among which the best may be chosen, where the viewport depends on it.

        Returns:
            The prediction, whose masks contradict no click, and the index of the best of `choices`.
        """
        with self.arrays.inference():
            prediction, best = self._run(
                lambda: self._predict(image, prompts, cache, viewport, bank_for, choices), cache.clear
            )
        logits = heeding(prediction.logits, prediction.viewport, prompts.points, prompts.labels, image.shape)
        return dataclasses.replace(prediction, logits=logits), best

    def _predict(
        self,
        image: SliceImage,
        prompts: SlicePrompts,
        cache: FeatureCache,
        viewport: Viewport | None,
        bank_for: BankFor | None,
        choices: tuple[int, ...],
    ) -> tuple[SlicePrediction, int]:
        if rejects_earlier(prompts, self.heuristics):
            prompts, viewport = dataclasses.replace(prompts, earlier=None), None
        viewport = viewport or viewport_of_prompts(image, prompts, self.low_res, self.heuristics)
        if viewport is not None:
            attempt = Attempt(viewport, prompts.earlier)
            prediction = self._segment(image, prompts, [attempt], cache, bank_for)[0]
            is_known_roughly = prompts.shows_no_detail and (prompts.box is not None or bank_for is not None)
            if self.heuristics.second_pass and is_known_roughly and choices == (SINGLE_MASK,):
                prediction = self._asked_again(image, prompts, cache, bank_for is not None, prediction)
            return prediction, _best(prediction, choices)

        first, choice = self._predict_from_clicks(image, prompts, cache, bank_for, choices)
        if not self.heuristics.refit_viewport:
            return first, choice
        return self._refitted(image, prompts, cache, bank_for, first, choice), choice

    def _predict_from_clicks(
        self,
        image: SliceImage,
        prompts: SlicePrompts,
        cache: FeatureCache,
        bank_for: BankFor | None,
        choices: tuple[int, ...],
    ) -> tuple[SlicePrediction, int]:
        """The best mask for clicks alone: of the widest viewport if that is sure, else of all viewports."""
        viewports = viewport_choice.viewports_for_clicks(
            prompts.points, prompts.labels, image.shape, image.spacing, self.heuristics, self._known_size_mm
        )
        found: list[SlicePrediction] = []
        for more in (viewports[:1], viewports[1:]) if self.heuristics.sure_viewport else (viewports,):
            attempts = [Attempt(viewport, prompts.earlier) for viewport in more]
            # Whoever is given all candidates finds the best by its score.
            found += [
                dataclasses.replace(prediction, iou=self._scores(prediction, prompts))
                for prediction in self._segment(image, prompts, attempts, cache, bank_for)
            ]
            best, choice, score = viewport_choice.choose_candidate(
                viewports[: len(found)],
                np.stack([prediction.logits[list(choices)] for prediction in found]),
                np.stack([prediction.iou[list(choices)] for prediction in found]),
                np.array([prediction.presence for prediction in found]),
                image.shape,
                self.heuristics,
            )
            if score >= self.heuristics.sure_viewport_score or len(found) == len(viewports):
                break
        return found[best], choices[choice]

    def _scores(self, prediction: SlicePrediction, prompts: SlicePrompts) -> np.ndarray:
        """Scores (C,) of the masks; those that leave out a click inside the object are of another one."""
        held = holds(prediction.logits, prediction.viewport, prompts.points[prompts.labels == 1])
        return np.where(held, prediction.iou, self.heuristics.missed_click * prediction.iou)

    def _refitted(
        self,
        image: SliceImage,
        prompts: SlicePrompts,
        cache: FeatureCache,
        bank_for: BankFor | None,
        first: SlicePrediction,
        choice: int,
    ) -> SlicePrediction:
        """The chosen mask once more where it sits badly in its viewport, in a fitted one; the others as they were."""
        known = PlacedLogits(first.logits[choice], first.viewport)
        box = known.bounding_box()
        # A viewport that suits the mask is not left for a slightly better one: after five clicks as good
        # (docs/experiments/first-weights/08-viewports.md), and one encoding and one decoding of four saved.
        if box is None or viewport_choice.keeps_viewport(first.viewport, box, image.shape, self.heuristics):
            return first
        viewport = viewport_choice.viewport_for_mask(box, prompts.points, image.shape, image.spacing, self.heuristics)
        second = self._segment(image, prompts, [Attempt(viewport, known)], cache, bank_for)[0]
        # A mask given as prompt leaves nothing ambiguous: the answer is the single mask.
        others = resample(first.logits, first.viewport, viewport, (self.low_res, self.low_res))
        others[choice] = second.logits[SINGLE_MASK]
        iou = first.iou.copy()
        # It stays the best: the others have not been segmented twice.
        iou[choice] = max(second.iou[SINGLE_MASK], iou[choice])
        pointers = self.arrays.copy(second.decoded.pointers)
        pointers[:, choice] = pointers[:, SINGLE_MASK]
        return dataclasses.replace(second, logits=others, iou=iou, decoded=second.decoded._replace(pointers=pointers))

    def _asked_again(
        self,
        image: SliceImage,
        prompts: SlicePrompts,
        cache: FeatureCache,
        is_propagated: bool,
        first: SlicePrediction,
    ) -> SlicePrediction:
        """The slice once more, in the same viewport; see `second_pass`."""

        def ask(more: SlicePrompts, informed: ImageFeatures | None) -> SlicePrediction:
            return self._segment(image, more, [Attempt(first.viewport, more.earlier)], cache, None, informed)[0]

        if is_propagated and self.model.task is not None and self.heuristics.task_box:
            return second_pass_by_task(first, prompts, ask, self.heuristics)
        thread = self.inference_thread if is_propagated else None
        return second_pass(first, prompts, ask, self.heuristics, thread)

    def _segment(
        self,
        image: SliceImage,
        prompts: SlicePrompts,
        attempts: list[Attempt],
        cache: FeatureCache,
        bank_for: BankFor | None,
        informed: ImageFeatures | None = None,
    ) -> list[SlicePrediction]:
        """What the network says in several viewports; of two, each thread takes one.

        `informed`: Features of the only viewport with its memories, where they are at hand; else `bank_for` counts.
        """
        if len(attempts) > 1 and self.inference_thread.is_idle:
            half = len(attempts) // 2
            rest = self.inference_thread.submit(lambda: self._segment(image, prompts, attempts[half:], cache, bank_for))
            return [*self._segment(image, prompts, attempts[:half], cache, bank_for), *rest()]
        seen_as = partial(self._intensities, image, cache=cache)
        batch = prompt_batch(prompts, attempts, self.model.config, self.arrays.to_device, seen_as)
        encoded_prompts = self.inference_thread.offer(lambda: self.model.encode_prompts(batch))
        seen = self.encode(image, [attempt.viewport for attempt in attempts], cache)
        if informed is None:
            features = ImageFeatures(*(None if parts[0] is None else self.arrays.join(parts) for parts in zip(*seen)))
            banks = [bank_for(attempt.viewport) for attempt in attempts] if bank_for is not None else []
            known = [bank for bank in banks if bank is not None]
            informed = (
                self.model.attend(features, self._joined(known)) if known else self.model.without_memory(features)
            )
        decoded = self.model.decode(informed, encoded_prompts())
        logits, iou, presence = self.arrays.to_numpy(decoded.logits, decoded.iou, decoded.object_logit)
        if self.heuristics.roundness and prompts.lone_box is not None:
            boxes = [attempt.viewport.box_to_network(prompts.lone_box, self.size) for attempt in attempts]
            logits = np.stack([rounded(masks, box, self.size, self.heuristics) for masks, box in zip(logits, boxes)])
        logits = logits.clip(NO_OBJECT_LOGIT, -NO_OBJECT_LOGIT)
        return [
            SlicePrediction(
                attempt.viewport,
                logits[i],
                iou[i],
                float(presence[i, 0]),
                seen[i],
                informed.select(slice(i, i + 1)),
                DecodedMasks(*(part[i : i + 1] for part in decoded)),
            )
            for i, attempt in enumerate(attempts)
        ]

    def _joined(self, banks: list[MemoryBank]) -> MemoryBank:
        """The banks of several viewports as one; all of their memories are valid."""
        return MemoryBank(*(self.arrays.join(parts) for parts in zip(*(bank[:4] for bank in banks))))

    def appearance(
        self, image: SliceImage, viewport: Viewport, logits: np.ndarray, cache: FeatureCache
    ) -> AppearanceModel | None:
        """What an object looks like whose mask has logits (h,w) in a viewport of a slice, for its other slices."""
        if not self.model.config.is_fine:
            return None
        inside = (logits > 0).astype(np.float32)[None]
        return AppearanceModel.fit(self._intensities(image, viewport, cache), inside, 1 - inside)

    def memorise(self, prediction: SlicePrediction, choice: int, logits: np.ndarray) -> tuple[Array, Array]:
        """What to keep of a segmented slice.

        Args:
            prediction: Of that slice.
            choice: Which of its masks was taken, for the object pointer.
            logits: (h,w) the mask as it was taken, in the prediction's viewport.

        Returns:
            Memory map (memory_dim,S/16,S/16) and object pointer (embed_dim,), in the network's precision.
        """
        with self.arrays.inference():
            return self._run(lambda: self._memorise(prediction, choice, logits))

    def _memorise(self, prediction: SlicePrediction, choice: int, logits: np.ndarray) -> tuple[Array, Array]:
        to_device = self.arrays.to_device
        features = prediction.features.map(to_device)
        decoded = DecodedMasks(*(to_device(part) for part in prediction.decoded))
        mask = self.arrays.to_device(np.asarray(logits, np.float32)[None, None])
        memory = self.model.encode_memory(features, mask)[0]
        return memory, self.model.object_pointer(decoded, self.arrays.to_device(np.array([choice])))[0]


def _best(prediction: SlicePrediction, choices: tuple[int, ...]) -> int:
    return choices[int(np.argmax(prediction.iou[list(choices)]))]
