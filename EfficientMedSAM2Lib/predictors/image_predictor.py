"""The image predictor: SAM2ImagePredictor's methods and meanings, in a viewport around the prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.predictors import viewport_choice
from EfficientMedSAM2Lib.predictors.inputs import (
    NotFiniteError,
    as_box,
    as_clicks,
    as_image,
    as_spacing,
    as_window,
    to_numpy,
)
from EfficientMedSAM2Lib.predictors.mask_cleaning import clean_mask
from EfficientMedSAM2Lib.predictors.pretrained import FromPretrained
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.slice_data import PlacedLogits, SliceImage, SlicePrompts
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import SlicePredictor
from EfficientMedSAM2Lib.predictors.viewport import NO_OBJECT_LOGIT, resample, whole_slice
from EfficientMedSAM2Lib.runtimes.network import Network

LOW_RES_SIZE = 256
"""Side of the low-resolution logits handed out and taken back: the whole image pressed into a square, as in SAM2."""
CACHE_BYTES = 32 * 2**20
"""Features of one image kept at most: about fifty viewports in half precision."""
CLEANING_LOGIT = 10.0
"""Logit above or below the threshold that a filled hole or a removed part gets, as in SAM2."""


class EfficientMedSAM2ImagePredictor(FromPretrained):
    """Segments single images from points, boxes and masks.

    Args:
        sam_model: The network, from `build_efficient_medsam2_model`.
        mask_threshold: Logit above which a pixel belongs to the mask.
        max_hole_area: Holes up to this many pixels are filled; 0 leaves all.
        max_sprinkle_area: Separate parts up to this many pixels are removed; 0 leaves all.
        **kwargs: Ignored, for scripts written for SAM2.

    Example:
        >>> predictor = EfficientMedSAM2ImagePredictor(build_efficient_medsam2_model())
        >>> predictor.set_image(image)
        >>> masks, scores, logits = predictor.predict(point_coords=[[120, 80]], point_labels=[1])
    """

    def __init__(
        self,
        sam_model: Network,
        mask_threshold: float = 0.0,
        max_hole_area: float = 0.0,
        max_sprinkle_area: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.model = sam_model
        self.mask_threshold = mask_threshold
        self.max_hole_area = max_hole_area
        self.max_sprinkle_area = max_sprinkle_area
        self._slices = SlicePredictor(sam_model)
        self._images: list[SliceImage] = []
        self._cache = FeatureCache(CACHE_BYTES)
        self._is_batch = False
        self._answers: dict[Hashable, tuple[np.ndarray, PlacedLogits]] = {}

    @property
    def device(self) -> Any:
        """Where the network is."""
        return self.model.device

    def set_image(self, image: Any, window: Any = None, modality: str | None = None, spacing: Any = None) -> None:
        """Choose the image that the next prompts mean. Nothing is encoded before the first prompt.

        Args:
            image: HxW, HxWx1, HxWx3, (1,1,H,W) or (1,3,H,W), any real type: numpy, torch or PIL. It is not copied.
            window: Intensities to show the network: (low, high), `IntensityWindow` or a preset such as "lung"; by
                default chosen from modality and image.
            modality: DICOM modality such as "CT", if known.
            spacing: mm between rows and between columns; by default square pixels.

        Raises:
            UserError: Not an image.
        """
        self.reset_predictor()
        self._images = [self._slice_image(image, window, modality, spacing, 0)]

    def set_image_batch(
        self, image_list: Sequence[Any], window: Any = None, modality: str | None = None, spacing: Any = None
    ) -> None:
        """Choose several images for `predict_batch`; arguments as `set_image`."""
        self.reset_predictor()
        self._images = [
            self._slice_image(image, window, modality, spacing, number) for number, image in enumerate(image_list)
        ]
        self._is_batch = True

    @staticmethod
    def _slice_image(image: Any, window: Any, modality: str | None, spacing: Any, number: int) -> SliceImage:
        array = as_image(image)
        row_mm, column_mm = as_spacing(spacing, 2)
        return SliceImage(array, as_window(window, array[None], modality), (row_mm, column_mm), number)

    def predict(
        self,
        point_coords: Any = None,
        point_labels: Any = None,
        box: Any = None,
        mask_input: Any = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Segment what the prompts point at in the image; of several images, in the last one.

        Args:
            point_coords: (N,2) clicks (x, y).
            point_labels: (N,) 1 inside, 0 outside.
            box: (4,) XYXY; (B,4) or (B,1,4) asks for B objects at once.
            mask_input: (1,256,256) low-resolution logits of an earlier prediction.
            multimask_output: Three candidate masks, for ambiguous prompts such as one click; else one mask, for a lone
                click the best of the three.
            return_logits: Masks as logits instead of 0 and 1.
            normalize_coords: Coordinates are in pixels of the image; False: in 0...1 of its size, as in SAM2.

        Prompts need not lie on the image, and may be missing: then the network says what it takes for an object. Of
        several boxes or sets of points, one that is NaN or infinite gets an empty mask with the score 0.

        Returns:
            Masks (C,H,W) float32 of 0 and 1, their predicted intersection over union (C,) float32, and low-resolution
            logits (C,256,256) float32, the whole image pressed into a square, to be given back as `mask_input`. For B
            boxes or B sets of points each has a leading dimension B.

        Raises:
            RuntimeError: No image was set.
            UserError: Prompts of the wrong shape, or not numbers.
        """
        if not self._images:
            raise RuntimeError("An image must be set with .set_image(...) before mask prediction.")
        prompts = (point_coords, point_labels, box, mask_input)
        return self._answer(self._images[-1], prompts, multimask_output, return_logits, normalize_coords)

    def predict_batch(
        self,
        point_coords_batch: Sequence[Any] | None = None,
        point_labels_batch: Sequence[Any] | None = None,
        box_batch: Sequence[Any] | None = None,
        mask_input_batch: Sequence[Any] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
        """`predict` for every image of `set_image_batch`: a list of prompts in, lists of results out."""
        if not self._images or not self._is_batch:
            raise RuntimeError("Images must be set with .set_image_batch(...) before batched mask prediction.")
        columns = (point_coords_batch, point_labels_batch, box_batch, mask_input_batch)
        for column in columns:
            if column is not None and len(column) != len(self._images):
                raise UserError(
                    f"Give one entry of prompts for each of the {len(self._images)} images, not {len(column)}."
                )
        results = [
            self._answer(
                image,
                tuple(None if column is None else column[number] for column in columns),
                multimask_output,
                return_logits,
                normalize_coords,
            )
            for number, image in enumerate(self._images)
        ]
        return [r[0] for r in results], [r[1] for r in results], [r[2] for r in results]

    def _answer(
        self, image: SliceImage, prompts: tuple[Any, ...], multimask: bool, return_logits: bool, in_pixels: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        points, labels, box, mask_input = (None if prompt is None else to_numpy(prompt) for prompt in prompts)
        # SAM2 reads boxes of any shape as rows of four: (B,1,4) is what its prompt encoder takes.
        box = box.reshape(-1, 4) if box is not None and box.ndim > 2 and box.size % 4 == 0 else box
        objects = [len(p) for p, ndim in ((points, 3), (box, 2)) if p is not None and p.ndim == ndim and len(p) > 1]
        if not objects:
            found = self._one_object(image, points, labels, box, mask_input, multimask, in_pixels)
            return self._finish(*found, return_logits=return_logits)
        if len(set(objects)) > 1:
            raise UserError(f"Points and boxes must be for equally many objects, not {objects[0]} and {objects[1]}.")
        every = []
        for number in range(objects[0]):
            p, marks, b, m = (
                prompt[number] if prompt is not None and prompt.ndim == ndim and len(prompt) == objects[0] else prompt
                for prompt, ndim in ((points, 3), (labels, 2), (box, 2), (mask_input, 4))
            )
            try:
                found = self._one_object(image, p, marks, b, m, multimask, in_pixels)
            except NotFiniteError:
                found = self._nothing(image, multimask)
            every.append(self._finish(*found, return_logits=return_logits))
        masks, scores, low_res = zip(*every)
        return np.stack(masks), np.stack(scores), np.stack(low_res)

    def _one_object(
        self,
        image: SliceImage,
        points: Any,
        labels: Any,
        box: Any,
        mask_input: Any,
        multimask: bool,
        in_pixels: bool,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Logits (C,H,W), scores (C,) and low-resolution logits (C,256,256)."""
        # SAM2 reads labels only where there are points.
        xy, marks, corners = as_clicks(points, None if points is None else labels, image.shape, in_pixels)
        given = as_box(box, image.shape, in_pixels)
        prompts = SlicePrompts(xy, marks, corners if given is None else given, self._earlier(mask_input, image))
        choices = self._slices.candidates if multimask else self._slices.single_mask_choices(prompts)
        prediction, best = self._slices.predict(image, prompts, self._cache, choices=choices)
        choices = choices if multimask else (best,)
        chosen = prediction.logits[list(choices)]
        low_res = resample(chosen, prediction.viewport, whole_slice(image.shape), (LOW_RES_SIZE, LOW_RES_SIZE))
        self._answers[image.key] = (low_res.copy(), PlacedLogits(chosen, prediction.viewport))
        full = np.stack([prediction.full_logits(choice, image.shape) for choice in choices])
        full = self._cleaned(full, xy[marks == 1], xy[marks == 0])
        return full, prediction.iou[list(choices)].astype(np.float32), low_res

    def _nothing(self, image: SliceImage, multimask: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `_one_object` gives where nothing can be said."""
        count = len(self._slices.candidates) if multimask else 1
        sizes = (image.shape, (LOW_RES_SIZE, LOW_RES_SIZE))
        full, low_res = (np.full((count, *size), NO_OBJECT_LOGIT, np.float32) for size in sizes)
        return full, np.zeros(count, np.float32), low_res

    def _earlier(self, mask_input: Any, image: SliceImage) -> PlacedLogits | None:
        if mask_input is None:
            return None
        logits = to_numpy(mask_input)
        if logits.ndim == 4 and len(logits) == 1:
            logits = logits[0]
        if logits.ndim == 2:
            logits = logits[None]
        if logits.shape != (1, LOW_RES_SIZE, LOW_RES_SIZE):
            raise UserError(f"mask_input must be logits (1,256,256), as low_res_logits are; got shape {logits.shape}.")
        if not np.isfinite(logits).all():
            raise NotFiniteError("mask_input must be finite logits, not NaN or infinite.")
        given_out, known = self._answers.get(image.key, (logits[:0], None))
        for number, low_res in enumerate(given_out):
            if known is not None and np.array_equal(low_res, logits[0]):
                # The last answer itself: the viewport's logits say more than the whole image pressed into a square.
                return PlacedLogits(known.logits[number], known.rectangle)
        limit = -NO_OBJECT_LOGIT
        return PlacedLogits(logits[0].astype(np.float32).clip(-limit, limit), whole_slice(image.shape))

    def _cleaned(self, logits: np.ndarray, inside_xy: np.ndarray, outside_xy: np.ndarray) -> np.ndarray:
        """Logits (C,H,W) without the holes and specks that are not wanted, but for those that clicks ask for."""
        if self.max_hole_area > 0 or self.max_sprinkle_area > 0:
            masks = logits > self.mask_threshold
            areas = self.max_hole_area, self.max_sprinkle_area
            cleaned = np.stack([clean_mask(mask, *areas, inside_xy, outside_xy) for mask in masks])
            logits[cleaned & ~masks] = self.mask_threshold + CLEANING_LOGIT
            logits[masks & ~cleaned] = self.mask_threshold - CLEANING_LOGIT
        return logits

    def _finish(
        self, logits: np.ndarray, scores: np.ndarray, low_res: np.ndarray, return_logits: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (logits if return_logits else (logits > self.mask_threshold).astype(np.float32)), scores, low_res

    def get_image_embedding(self) -> Any:
        """Stride-16 embedding (B,C,h,w) float32 of the whole of each image set: a tensor where there is torch.

        Raises:
            RuntimeError: No image was set.
        """
        if not self._images:
            raise RuntimeError("An image must be set with .set_image(...) to generate an embedding.")
        return self._whole_images()[0]

    def _whole_images(self) -> list[Any]:
        """Embedding, stride-8 and stride-4 features of the whole of each image, float32."""
        seen = []
        for image in self._images:
            viewport = viewport_choice.viewport_of_slice(image.shape, image.spacing, self._slices.heuristics)
            seen.append(self._slices.encode(image, [viewport], self._cache)[0])
        arrays = self._slices.arrays
        return [arrays.as_tensor(arrays.join(parts)) for parts in zip(*seen) if parts[0] is not None]

    def reset_predictor(self) -> None:
        """Forget the images and their features."""
        self._images = []
        self._cache = FeatureCache(self._cache.budget_bytes)
        self._is_batch = False
        self._answers = {}

    @property
    def images(self) -> tuple[SliceImage, ...]:
        """The images set, with the window that was chosen for each."""
        return tuple(dataclasses.replace(image) for image in self._images)

    @property
    def original_size(self) -> tuple[int, int]:
        """Rows and columns of the image; of the last one of several. SAM's name.

        Raises:
            RuntimeError: No image was set.
        """
        if not self._images:
            raise RuntimeError("An image must be set with .set_image(...) before its size is asked for.")
        return self._images[-1].shape

    # SAM2's own attributes that scripts read; there is nothing behind them but what is said above.

    @property
    def _is_image_set(self) -> bool:
        return bool(self._images)

    @property
    def _orig_hw(self) -> list[tuple[int, int]] | None:
        return [image.shape for image in self._images] or None

    @property
    def _features(self) -> dict[str, Any] | None:
        if not self._images:
            return None
        embedding, stride8, stride4 = self._whole_images()
        return {"image_embed": embedding, "high_res_feats": [stride4, stride8]}
