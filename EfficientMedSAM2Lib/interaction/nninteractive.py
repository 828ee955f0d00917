"""nnInteractive's inference session, its names and calls, over `InteractiveSession`: a 3D answer after each prompt."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, bounding_box, box_slices, union
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.interaction.drawn import whole_drawing
from EfficientMedSAM2Lib.interaction.predictor import warm_up
from EfficientMedSAM2Lib.interaction.session import InteractiveSession
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.predictors.inputs import to_numpy
from EfficientMedSAM2Lib.predictors.pretrained import weights_of
from EfficientMedSAM2Lib.runtimes.weights_metadata import licence_of

logger = logging.getLogger(__name__)

_SEGMENT = "1"
_UNDO_STEPS = 400
"""Two for each interaction: the prompt, and what it led to on other slices."""


class nnInteractiveInferenceSession:
    """Runs scripts written for `nnInteractive.inference.inference_session.nnInteractiveInferenceSession`.

    Coordinates are indices into the image's axes, called x, y and z as there, whatever the file called them. Each call
    with `run_prediction` segments the prompted slice, propagates through the volume and writes what changed into the
    target buffer; `cancel`, from another thread, ends it early. One session segments one object at a time.

    Args:
        device: As for `build_efficient_medsam2_model`; a device that is not there is replaced by the CPU.
        use_torch_compile: Accepted for nnInteractive's sake; nothing is compiled.
        verbose: Log each interaction.
        torch_n_threads: Threads that the network computes with; None leaves it to the runtime.
        do_autozoom: Accepted for nnInteractive's sake; the network always looks where the object is.
        interactions_storage: Accepted for nnInteractive's sake; masks are kept as bits.
        enable_undo: Whether `undo` takes interactions back.
        predictor: A volume predictor to use instead of one on the shipped weights.
        **kwargs: Ignored, such as nnInteractive's earlier `use_pinned_memory`.

    Attributes:
        target_buffer: Where results are written, of the image's last three axes.
        license: Of the weights, once they are loaded; "!!MISSING!!" where they do not say.
        on_progress: Called after each propagated slice with how many are done and how many are planned.
        supported_interactions: What may be added.
        new_interaction_centers: Middles of the interactions that wait for a prediction, which answers all of them.
    """

    SUPPORTED_INTERACTION_KEYS = ("scribble", "lasso", "points", "bbox2d", "bbox3d")

    def __init__(
        self,
        device: Any = "auto",
        use_torch_compile: bool = False,
        verbose: bool = False,
        torch_n_threads: int | None = None,
        do_autozoom: bool = True,
        interactions_storage: str = "auto",
        enable_undo: bool = True,
        *,
        predictor: Any = None,
        **kwargs: Any,
    ) -> None:
        self.device = device
        self.use_torch_compile = use_torch_compile
        self.verbose = verbose
        self.torch_n_threads = torch_n_threads
        self.do_autozoom = do_autozoom
        self.interactions_storage = interactions_storage
        self.supports_undo = enable_undo
        self.supported_interactions = dict.fromkeys(self.SUPPORTED_INTERACTION_KEYS, True)
        self.supports_initial_label = self.supports_zero_shot_label_refinement = True
        self.preferred_scribble_thickness = [3, 3, 3]
        self.license: str | None = None
        self.original_image_shape: tuple[int, ...] | None = None
        self.target_buffer: Any = None
        self.on_progress: Callable[[int, int], None] | None = None
        self._predictor = predictor
        self._session: InteractiveSession | None = None
        self._forget()
        self._cancelled = threading.Event()

    def _forget(self) -> None:
        self._marks: list[int] = []
        self._unwritten: Box | None = None
        self.new_interaction_centers: list[list[int]] = []
        self.new_interaction_zoom_out_factors: list[float] = []

    def initialize_from_trained_model_folder(
        self,
        model_training_output_dir: str | os.PathLike[str],
        use_fold: Any = None,  # noqa: ARG002
        checkpoint_name: str = "checkpoint_final.pth",  # noqa: ARG002
    ) -> None:
        """Load the network.

        Args:
            model_training_output_dir: A weights file of this program or a folder with one, or an encoder's name. Of any
                other folder, such as nnInteractive's own model, nothing is used: the shipped weights are loaded, and
                the log says so.
            use_fold: Accepted for nnInteractive's sake.
            checkpoint_name: Accepted for nnInteractive's sake.

        Raises:
            UserError: The weights file cannot be used.
        """
        self._load(weights_of(model_training_output_dir))

    def _load(self, model_id: str | os.PathLike[str]) -> None:
        self._predictor = EfficientMedSAM2VolumePredictor.from_pretrained(model_id, device=self.device, runtime="auto")
        if self.torch_n_threads is not None:
            self._predictor.model.set_threads(max(min(self.torch_n_threads, os.cpu_count() or 1), 1))
        self.license = licence_of(model_id) or "!!MISSING!!"
        self.device = self._predictor.device
        self._session = None

    def warmup(self) -> None:
        """Load the network if need be, and let it segment a small volume, for a fast first prompt."""
        warm_up(self._loaded())

    def _loaded(self) -> Any:
        if self._predictor is None:
            self._load(weights_of("efficientnet"))
        return self._predictor

    def set_image(self, image: Any, image_properties: Mapping[str, Any] | None = None) -> None:
        """Start anew on an image. The target buffer has to be set again.

        Args:
            image: (1,x,y,z), any real type, intensities as they are; numpy or torch. A last axis of three is three
                slices, not colours.
            image_properties: "spacing": mm along the three axes; by default 1.

        Raises:
            UserError: Another shape, or spacing that makes no sense.
        """
        array = to_numpy(image)
        if array.ndim != 4 or array.shape[0] != 1:
            raise UserError(f"An image must have shape (1, x, y, z), not {array.shape}; give img[None] of a volume.")
        spacing = np.asarray((image_properties or {}).get("spacing", (1.0, 1.0, 1.0)), np.float64)
        if spacing.shape != (3,):
            raise UserError(f"image_properties['spacing'] must be three numbers in mm, not {spacing.tolist()}.")
        self._session = InteractiveSession(self._loaded(), max_undo_steps=_UNDO_STEPS)
        self._session.set_image(array[0], np.diag([*spacing[::-1], 1.0]))
        self.original_image_shape = array.shape
        self.target_buffer = None
        self._forget()

    def set_target_buffer(self, target_buffer: Any) -> None:
        """Choose the array or tensor (x,y,z) of any number type that results are written into, as 0 and 1.

        Raises:
            UserError: Not of the image's shape.
        """
        shape = self._image().shape_kji
        if tuple(target_buffer.shape) != shape:
            raise UserError(f"The target buffer must have the image's shape {shape}, not {tuple(target_buffer.shape)}.")
        self.target_buffer = target_buffer

    def set_do_autozoom(self, do_autozoom: bool, max_num_patches: int | None = None) -> None:  # noqa: ARG002
        """Accepted for nnInteractive's sake: the network always looks where the object is."""
        self.do_autozoom = do_autozoom

    def add_point_interaction(
        self,
        coordinates: Sequence[int],
        include_interaction: bool,
        run_prediction: bool = True,
        override_capability_checks: bool = False,  # noqa: ARG002
    ) -> Box | None:
        """Click on a voxel.

        Args:
            coordinates: (x, y, z).
            include_interaction: Whether it belongs to the object.
            run_prediction: Answer now; else with the next interaction that does.
            override_capability_checks: Accepted for nnInteractive's sake.

        Returns:
            Half-open box [[x1, x2], [y1, y2], [z1, z2]] of the voxels that changed in the target buffer, None when none
            did.

        Raises:
            UserError: Outside the image.
            RuntimeError: No image is set.
        """
        add, axis = self._image().add_point_interaction, self._axis()
        voxel = np.transpose([coordinates, coordinates])
        return self._interact(lambda: add(coordinates, include_interaction, _SEGMENT, axis), run_prediction, voxel)

    def add_bbox_interaction(
        self,
        bbox_coords: Sequence[Sequence[int]],
        include_interaction: bool,
        run_prediction: bool = True,
        override_capability_checks: bool = False,  # noqa: ARG002
    ) -> Box | None:
        """Draw a box, half-open [[x1, x2], [y1, y2], [z1, z2]]: on one slice where one axis has size 1, else in 3D,
        which propagation then keeps within. Otherwise as `add_point_interaction`."""
        add = self._image().add_bbox_interaction
        return self._interact(lambda: add(bbox_coords, include_interaction, _SEGMENT), run_prediction, bbox_coords)

    def add_scribble_interaction(
        self,
        scribble_image: Any,
        include_interaction: bool,
        run_prediction: bool = True,
        override_capability_checks: bool = False,  # noqa: ARG002
        interaction_bbox: Sequence[Sequence[int]] | None = None,
    ) -> Box | None:
        """Draw over voxels: an image (x,y,z) that is not zero there, or only its part in `interaction_bbox`; an empty
        one is left out. Otherwise as `add_point_interaction`."""
        add, drawn = self._image().add_scribble_interaction, self._drawn(scribble_image, interaction_bbox)
        return self._interact(lambda: add(drawn, include_interaction, _SEGMENT), run_prediction, bounding_box(drawn))

    def add_lasso_interaction(
        self,
        lasso_image: Any,
        include_interaction: bool,
        run_prediction: bool = True,
        override_capability_checks: bool = False,  # noqa: ARG002
        interaction_bbox: Sequence[Sequence[int]] | None = None,
    ) -> Box | None:
        """Draw a closed line, or all that it encloses, on a slice; given as `add_scribble_interaction`."""
        add, drawn = self._image().add_lasso_interaction, self._drawn(lasso_image, interaction_bbox)
        return self._interact(lambda: add(drawn, include_interaction, _SEGMENT), run_prediction, bounding_box(drawn))

    def add_initial_seg_interaction(
        self,
        initial_seg: Any,
        run_prediction: bool = False,
        override_capability_checks: bool = False,  # noqa: ARG002
    ) -> Box | None:
        """Start from a segmentation (x,y,z), which forgets earlier interactions; later ones refine it in 3D.

        It is written into the target buffer as it is, with `run_prediction` and without. An empty one is a new start.

        Returns:
            With `run_prediction`, what changed in the target buffer; else None.

        Raises:
            UserError: Not of the image's shape.
        """
        add, array = self._image().add_initial_seg_interaction, to_numpy(initial_seg)
        if array.shape == self._image().shape_kji and not array.any():
            self.reset_interactions()
            return None
        self._add(lambda: add(array, _SEGMENT, fixed=False))
        changed = self._write()
        return changed if run_prediction else None

    def undo(self) -> bool:
        """Take back the last interaction with all that it led to, the one before it with the next call; False: none."""
        session = self._session
        if session is None or not self.supports_undo or not self._marks:
            return False
        mark = self._marks.pop()
        while session.depth > mark and session.can_undo:
            self._unwritten = union(self._unwritten, session.undo())
        self._write()
        self.new_interaction_centers[-1:], self.new_interaction_zoom_out_factors[-1:] = [], []
        return True

    def reset_interactions(self) -> None:
        """Forget the object: its interactions, and what the target buffer shows."""
        if self._session is not None:
            self._session.reset_interactions()
        self._forget()
        if self.target_buffer is not None:
            self.target_buffer[...] = 0

    def cancel(self) -> None:
        """End the prediction that is running, from another thread; what was segmented until then stays."""
        self._cancelled.set()

    def _image(self) -> InteractiveSession:
        if self._session is None:
            raise RuntimeError("No image is set; call set_image first.")
        return self._session

    def _axis(self) -> int | None:
        """The axis that the object is propagated along, None before its first prompt."""
        session = self._image()
        return session.slicing_axis(_SEGMENT) if _SEGMENT in session.segments else None

    def _drawn(self, image: Any, bbox: Sequence[Sequence[int]] | None) -> np.ndarray:
        return whole_drawing(image, bbox, self._image().shape_kji)

    def _interact(self, add: Callable[[], Box | None], run_prediction: bool, place: Any) -> Box | None:
        """Do what `add` does in the box `place`, and answer it; None: nothing was drawn."""
        if place is None:
            logger.warning("Nothing is drawn there; the interaction is left out.")
        else:
            self._add(add)
            self.new_interaction_centers.append([round(float(low + high) / 2) for low, high in place])
            self.new_interaction_zoom_out_factors.append(1)
        return self._predict() if run_prediction and self.new_interaction_centers else None

    def _add(self, add: Callable[[], Box | None]) -> None:
        before = self._image().depth
        self._unwritten = union(self._unwritten, add())
        self._marks.append(before)

    def _predict(self) -> Box | None:
        """Propagate what was prompted, and write it into the target buffer. nnInteractive's name."""
        session = self._image()
        self._cancelled.clear()
        self.new_interaction_centers, self.new_interaction_zoom_out_factors = [], []
        try:
            if _SEGMENT in session.segments and session.conditioning_slices(_SEGMENT):
                propagation = session.propagate(_SEGMENT)
                try:
                    for _ in propagation:
                        if self.on_progress is not None:
                            self.on_progress(propagation.done, propagation.total)
                        if self._cancelled.is_set():
                            break
                finally:
                    propagation.close()
                    self._unwritten = union(self._unwritten, propagation.bbox)
        finally:
            changed = self._write()
        if self.verbose:
            logger.info("Changed %s. %s", changed, session.last_message)
        return changed

    def _write(self) -> Box | None:
        """Bring the target buffer up to date; returns the box that changed."""
        box, self._unwritten = self._unwritten, None
        if self.target_buffer is None:
            self.target_buffer = np.zeros(self._image().shape_kji, np.uint8)
        if box is None:
            return None
        mask = self._image().mask(_SEGMENT, box).astype(np.uint8)
        if hasattr(self.target_buffer, "new_tensor"):
            mask = self.target_buffer.new_tensor(mask, dtype=self.target_buffer.dtype)
        self.target_buffer[box_slices(box)] = mask
        return box


__all__ = ["nnInteractiveInferenceSession"]
