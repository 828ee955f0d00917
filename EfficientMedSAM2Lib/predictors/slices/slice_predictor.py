"""One slice, one object: prompts in slice pixels in, masks in the chosen view out. Both predictors stand on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from EfficientMedSAM2Lib.core.appearance import AppearanceModel, Intensities
from EfficientMedSAM2Lib.models.config import Array, DecodedMasks, ImageFeatures, MemoryBank, PromptBatch
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import zoom
from EfficientMedSAM2Lib.predictors.fov import NO_OBJECT_LOGIT, FieldOfView, crop, resample
from EfficientMedSAM2Lib.predictors.slices.clicks import heeding, holds
from EfficientMedSAM2Lib.predictors.slices.dense_prompts import dense_maps, grey
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.inference_thread import SecondThread
from EfficientMedSAM2Lib.predictors.slices.rejection import rejects_earlier
from EfficientMedSAM2Lib.predictors.slices.roundness import rounded
from EfficientMedSAM2Lib.predictors.slices.slice_data import (
    SINGLE_MASK,
    PlacedLogits,
    SliceImage,
    SlicePrediction,
    SlicePrompts,
)
from EfficientMedSAM2Lib.runtimes.arrays import arrays_of
from EfficientMedSAM2Lib.runtimes.home_process import check_home, note_home
from EfficientMedSAM2Lib.runtimes.out_of_memory import MemoryGuard

T = TypeVar("T")


class _Look(NamedTuple):
    view: FieldOfView
    earlier: PlacedLogits | None


BankFor = Callable[[FieldOfView], "MemoryBank | None"]
Meanwhile = Callable[[], None]


class SlicePredictor:
    """Chooses the view, asks the network, gives masks back. Holds no state: the cache is handed in.

    Args:
        model: The network, in evaluation mode.
    """

    def __init__(self, model: Any) -> None:
        note_home(model)
        self.model = model
        self.arrays = arrays_of(model)
        self.second_thread = SecondThread(model)
        self._guard = MemoryGuard(model)
        self.size = model.config.image_size
        self.low_res = model.config.low_res_size
        self.candidates = tuple(range(1, 1 + model.config.num_multimask))

    def __reduce__(self) -> tuple[type[SlicePredictor], tuple[Any]]:
        # Its threads and locks are not pickled; it is made anew of the network.
        return type(self), (self.model,)

    @property
    def heuristics(self) -> HeuristicsConfig:
        """Rules and numbers that come with the network's weights."""
        heuristics: HeuristicsConfig = self.model.heuristics
        return heuristics

    def single_mask_choices(self, prompts: SlicePrompts) -> tuple[int, ...]:
        """Masks of which one is the answer where a single mask is wanted."""
        return self.candidates if prompts.is_ambiguous else (SINGLE_MASK,)

    def encode(self, image: SliceImage, views: list[FieldOfView], cache: FeatureCache) -> list[ImageFeatures]:
        """Features of views of a slice; those not in the cache are encoded together."""
        return self._run(lambda: self._encode(image, views, cache), cache.clear)

    def _run(self, work: Callable[[], T], forget: Callable[[], None] | None = None) -> T:
        """Ask the network; see `MemoryGuard.run`."""
        check_home(self.model)
        return self._guard.run(work, forget)

    def _encode(self, image: SliceImage, views: list[FieldOfView], cache: FeatureCache) -> list[ImageFeatures]:
        missing = [view for view in views if (image.key, view) not in cache]
        fresh: dict[FieldOfView, ImageFeatures] = {}
        with self.arrays.inference():
            if len(missing) > 1 and not self._guard.is_frugal:
                batch = self._features(np.concatenate([self._crop(image, view) for view in missing]))
                for i, view in enumerate(missing):
                    fresh[view] = batch.select(slice(i, i + 1)).map(self.arrays.copy)

            def compute(view: FieldOfView) -> ImageFeatures:
                return fresh[view] if view in fresh else self._features(self._crop(image, view))

            return [cache.get((image.key, view), partial(compute, view)) for view in views]

    def _crop(self, image: SliceImage, view: FieldOfView) -> np.ndarray:
        return crop(image.array, view, image.window, self.size)

    def _features(self, crops: np.ndarray) -> ImageFeatures:
        features: ImageFeatures = self.model.encode_image(self.arrays.put(crops))
        return features

    def view_for(self, image: SliceImage, prompts: SlicePrompts) -> FieldOfView | None:
        """The view that prompts fix, None when there are clicks alone (or nothing)."""
        if prompts.box is not None:
            x0, y0, x1, y1 = prompts.box
            return zoom.view_for_box((x0, y0, x1, y1), prompts.points, image.shape, image.spacing, self.heuristics)
        for known in (prompts.earlier, prompts.neighbour):
            box = known.bounding_box() if known is not None else None
            if known is not None and box is not None:
                view, is_view = known.rectangle, known.logits.shape == (self.low_res, self.low_res)
                keeps = is_view and zoom.keeps_view(view, box, image.shape, self.heuristics)
                if keeps and zoom.shows(view, prompts.points):
                    return view
                return zoom.view_for_mask(box, prompts.points, image.shape, image.spacing, self.heuristics)
        return None

    def predict(
        self,
        image: SliceImage,
        prompts: SlicePrompts,
        cache: FeatureCache,
        view: FieldOfView | None = None,
        bank_for: BankFor | None = None,
        choices: tuple[int, ...] = (SINGLE_MASK,),
        meanwhile: Meanwhile | None = None,
    ) -> tuple[SlicePrediction, int]:
        """Segment one object on one slice.

        Args:
            image: The slice.
            prompts: Prompts and earlier masks; may be empty when there is memory.
            cache: Where features are kept.
            view: Where to look; None lets the prompts decide.
            bank_for: Makes the memory bank as seen in a view; None for a slice that stands alone.
            choices: Masks among which the best may be chosen, where the view depends on it.
            meanwhile: Called when the second thread has got all that it is to do for this slice, where the view is
                fixed: the time to give it the next slice.

        Returns:
            The prediction, whose masks contradict no click, and the index of the best of `choices`.
        """
        with self.arrays.inference():
            prediction, best = self._run(
                lambda: self._predict(image, prompts, cache, view, bank_for, choices, meanwhile), cache.clear
            )
        logits = heeding(prediction.logits, prediction.view, prompts.points, prompts.labels, image.shape)
        return dataclasses.replace(prediction, logits=logits), best

    def _predict(
        self,
        image: SliceImage,
        prompts: SlicePrompts,
        cache: FeatureCache,
        view: FieldOfView | None,
        bank_for: BankFor | None,
        choices: tuple[int, ...],
        meanwhile: Meanwhile | None,
    ) -> tuple[SlicePrediction, int]:
        if rejects_earlier(prompts, self.heuristics):
            prompts, view = dataclasses.replace(prompts, earlier=None), None
        view = view or self.view_for(image, prompts)
        if view is not None:
            look = _Look(view, prompts.earlier)
            prediction = self._segment(image, prompts, [look], cache, bank_for, meanwhile)[0]
            return prediction, _best(prediction, choices)

        first, choice = self._look_for_clicks(image, prompts, cache, bank_for, choices)
        if not self.heuristics.second_look:
            return first, choice
        return self._second_look(image, prompts, cache, bank_for, first, choice), choice

    def _look_for_clicks(
        self,
        image: SliceImage,
        prompts: SlicePrompts,
        cache: FeatureCache,
        bank_for: BankFor | None,
        choices: tuple[int, ...],
    ) -> tuple[SlicePrediction, int]:
        """The best mask for clicks alone: of the widest view if that is sure, else of all views."""
        views = zoom.views_for_clicks(prompts.points, prompts.labels, image.shape, image.spacing, self.heuristics)
        found: list[SlicePrediction] = []
        for more in (views[:1], views[1:]) if self.heuristics.sure_view else (views,):
            looks = [_Look(view, prompts.earlier) for view in more]
            found += self._segment(image, prompts, looks, cache, bank_for)
            best, choice, score = zoom.choose_candidate(
                views[: len(found)],
                np.stack([prediction.logits[list(choices)] for prediction in found]),
                np.stack([self._scores(prediction, prompts)[list(choices)] for prediction in found]),
                np.array([prediction.presence for prediction in found]),
                image.shape,
                self.heuristics,
            )
            if score >= self.heuristics.sure_view_score or len(found) == len(views):
                break
        # Whoever is given all candidates finds the best by its score.
        return dataclasses.replace(found[best], iou=self._scores(found[best], prompts)), choices[choice]

    def _scores(self, prediction: SlicePrediction, prompts: SlicePrompts) -> np.ndarray:
        """Scores (C,) of the masks; those that leave out a click inside the object are of another one."""
        held = holds(prediction.logits, prediction.view, prompts.points[prompts.labels == 1])
        return np.where(held, prediction.iou, self.heuristics.missed_click * prediction.iou)

    def _second_look(
        self,
        image: SliceImage,
        prompts: SlicePrompts,
        cache: FeatureCache,
        bank_for: BankFor | None,
        first: SlicePrediction,
        choice: int,
    ) -> SlicePrediction:
        """The chosen mask once more where it sits badly in its view, in a fitted one; the others as they were."""
        known = PlacedLogits(first.logits[choice], first.view)
        box = known.bounding_box()
        # A view that suits the mask is not left for a slightly better one: after five clicks as good (see TRAINING.md),
        # and one encoding and one decoding of four saved.
        if box is None or zoom.keeps_view(first.view, box, image.shape, self.heuristics):
            return first
        view = zoom.view_for_mask(box, prompts.points, image.shape, image.spacing, self.heuristics)
        second = self._segment(image, prompts, [_Look(view, known)], cache, bank_for)[0]
        # A mask given as prompt leaves nothing ambiguous: the answer is the single mask.
        others = resample(first.logits, first.view, view, (self.low_res, self.low_res))
        others[choice] = second.logits[SINGLE_MASK]
        iou = first.iou.copy()
        # It stays the best: the others have not been looked at twice.
        iou[choice] = max(second.iou[SINGLE_MASK], iou[choice])
        pointers = self.arrays.copy(second.decoded.pointers)
        pointers[:, choice] = pointers[:, SINGLE_MASK]
        return dataclasses.replace(second, logits=others, iou=iou, decoded=second.decoded._replace(pointers=pointers))

    def _segment(
        self,
        image: SliceImage,
        prompts: SlicePrompts,
        looks: list[_Look],
        cache: FeatureCache,
        bank_for: BankFor | None,
        meanwhile: Meanwhile | None = None,
    ) -> list[SlicePrediction]:
        """What several looks show; of two, each thread takes one."""
        if len(looks) > 1 and self.second_thread.is_idle:
            half = len(looks) // 2
            rest = self.second_thread.queue(lambda: self._segment(image, prompts, looks[half:], cache, bank_for))
            return [*self._segment(image, prompts, looks[:half], cache, bank_for), *rest()]
        batch = self._prompt_batch(image, prompts, looks)
        told = self.second_thread.offer(lambda: self.model.encode_prompts(batch))
        if meanwhile is not None:
            meanwhile()
        seen = self.encode(image, [look.view for look in looks], cache)
        features = ImageFeatures(*(None if parts[0] is None else self.arrays.join(parts) for parts in zip(*seen)))
        banks = [bank_for(look.view) for look in looks] if bank_for is not None else []
        known = [bank for bank in banks if bank is not None]
        informed = self.model.attend(features, self._joined(known)) if known else self.model.without_memory(features)
        decoded: DecodedMasks = self.model.decode(informed, told())
        logits, iou, presence = self.arrays.get(decoded.logits, decoded.iou, decoded.object_logit)
        if self.heuristics.roundness and prompts.lone_box is not None:
            boxes = [look.view.box_to_network(prompts.lone_box, self.size) for look in looks]
            logits = np.stack([rounded(masks, box, self.size, self.heuristics) for masks, box in zip(logits, boxes)])
        logits = logits.clip(NO_OBJECT_LOGIT, -NO_OBJECT_LOGIT)
        return [
            SlicePrediction(
                look.view,
                logits[i],
                iou[i],
                float(presence[i, 0]),
                seen[i],
                DecodedMasks(*(part[i : i + 1] for part in decoded)),
            )
            for i, look in enumerate(looks)
        ]

    def _joined(self, banks: list[MemoryBank]) -> MemoryBank:
        """The banks of several looks as one; all of their memories are valid."""
        return MemoryBank(*(self.arrays.join(parts) for parts in zip(*(bank[:4] for bank in banks))))

    def _prompt_batch(self, image: SliceImage, prompts: SlicePrompts, looks: list[_Look]) -> PromptBatch:
        put, count = self.arrays.put, len(looks)
        views = [look.view for look in looks]
        points = np.zeros((count, 0, 2), np.float32)
        if len(prompts.points):
            points = np.stack([view.to_network(prompts.points, self.size) for view in views])
        boxes = np.full((count, 4), np.nan, np.float32)
        if prompts.box is not None:
            boxes = np.stack([view.box_to_network(prompts.box, self.size) for view in views])
        # Clicks outside the object may lie outside a narrow view, which they then say nothing about.
        labels = np.array(
            [np.where(zoom.shown(view, prompts.points), prompts.labels, -1) for view in views], np.int64
        ).reshape(count, -1)
        batch = PromptBatch(put(points), put(labels), put(boxes))
        if looks[0].earlier is not None:
            batch.mask_logits = self._seen([look.earlier for look in looks if look.earlier is not None], views)
            batch.has_mask = put(np.ones(count, bool))
        if prompts.neighbour is not None:
            batch.neighbour_logits = self._seen([prompts.neighbour] * count, views)
            batch.neighbour_mm = put(np.full(count, prompts.neighbour_mm, np.float32))
        if self.model.config.is_fine:
            earlier = [look.earlier for look in looks if look.earlier is not None]
            crops = np.concatenate([self._crop(image, view) for view in views])
            batch.dense = put(dense_maps(crops, prompts, views, earlier, (boxes, points, labels), self.low_res))
        return batch

    def appearance(self, image: SliceImage, view: FieldOfView, logits: np.ndarray) -> AppearanceModel | None:
        """What an object looks like whose mask has logits (h,w) in a view of a slice, for its other slices."""
        if not self.model.config.is_fine:
            return None
        inside = (logits > 0).astype(np.float32)[None]
        seen = Intensities.of(grey(self._crop(image, view), self.low_res))
        return AppearanceModel.fit(seen, inside, 1 - inside)

    def _seen(self, masks: list[PlacedLogits], views: list[FieldOfView]) -> Array:
        seen = np.stack([mask.seen_in(view, self.low_res) for mask, view in zip(masks, views)])
        return self.arrays.put(seen[:, None])

    def memorise(self, prediction: SlicePrediction, choice: int, logits: np.ndarray) -> tuple[Array, Array]:
        """What to keep of a segmented slice.

        Args:
            prediction: Of that slice.
            choice: Which of its masks was taken, for the object pointer.
            logits: (h,w) the mask as it was taken, in the prediction's view.

        Returns:
            Memory map (memory_dim,S/16,S/16) and object pointer (embed_dim,), in the network's precision.
        """
        with self.arrays.inference():
            return self._run(lambda: self._memorise(prediction, choice, logits))

    def _memorise(self, prediction: SlicePrediction, choice: int, logits: np.ndarray) -> tuple[Array, Array]:
        here = self.arrays.here
        features = prediction.features.map(here)
        decoded = DecodedMasks(*(here(part) for part in prediction.decoded))
        mask = self.arrays.put(np.asarray(logits, np.float32)[None, None])
        memory = self.model.encode_memory(features, mask)[0]
        return memory, self.model.object_pointer(decoded, self.arrays.put(np.array([choice])))[0]


def _best(prediction: SlicePrediction, choices: tuple[int, ...]) -> int:
    return choices[int(np.argmax(prediction.iou[list(choices)]))]
