"""Every tuned number of predictors/ in one place. Stored with the weights, since other weights want other numbers."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Iterable
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class HeuristicsConfig:
    """What predictors/ add to the network: rules, each with a switch and its numbers. Stored as JSON with the weights.

    A rule's name is the name of its switch; numbers begin with the name of their rule. Numbers without a switch belong
    to how the network is asked, as training asked it. "dev" and "train" are the splits that a number was chosen on;
    docs/experiments/README.md leads to the comparisons. Logits for "no object" or "a bare mask" are conventions between
    predictors and training, not tuned, and stay where they are used.
    """

    zoom: bool = True
    """A box or a known mask is shown in a viewport fitted around it. Off: in the whole slice."""
    zoom_box: float = 2.0
    """Side of the viewport over the longest side of a box. Training saw 1.3 to 2.6, mostly 2.0; compared on dev."""
    zoom_mask: float = 2.0
    """Side of the viewport over the longest side of a known mask. As for boxes."""
    zoom_margin: float = 0.08
    """Share of the viewport's side that every prompt keeps from its border. Not compared."""
    zoom_smallest_px: int = 24
    """Least side of a viewport in slice pixels; below, there is nothing but interpolation to see. Not compared."""
    zoom_largest: float = 1.1
    """Largest side of a viewport over the longest side of the slice. Not compared."""

    viewport_grid: bool = True
    """Viewports lie on grids of sides and places, so that similar prompts share features (speed). Off: exact."""
    viewport_grid_side_ratio: float = 2 ** (1 / 4)
    """Ratio of one side of the grid to the next. Not compared."""
    viewport_grid_step: float = 1 / 16
    """Step between places, as a share of the viewport's side. Not compared."""

    keep_viewport: bool = True
    """The viewport of an earlier or a neighbouring mask stays while the mask sits well in it. Off: fitted anew."""
    keep_viewport_fill: tuple[float, float] = (0.3, 0.75)
    """Share of the viewport's side of a mask that sits well. After five clicks on dev as good as with any share."""
    keep_viewport_margin: float = 0.06
    """Share of the viewport's side between mask and border. Not compared."""

    narrow_viewports: bool = True
    """Clicks without box or mask are also segmented in viewports narrower than the slice. Off: in the whole slice."""
    narrow_viewports_shares: tuple[float, ...] = (0.35, 0.125)
    """Sides of these viewports over the longest side of the slice. Chosen on first clicks of dev."""

    sure_viewport: bool = True
    """A mask of the whole slice that is sure is taken without the narrower viewports (speed). Off: all are used."""
    sure_viewport_score: float = 0.75
    """Score 0 to 1 from which on it is sure. Chosen on first clicks of dev: 56 % are, none of their masks got worse."""

    candidate_score: bool = True
    """Of masks in several viewports those cut off by the border, or small, count less. Off: predicted scores alone."""
    candidate_score_cut_off: float = 0.97
    """Factor on the score of a mask that the viewport's border cuts off. No comparison is recorded."""
    candidate_score_fill: float = 0.12
    """Share of the viewport's side below which a mask's score shrinks with its size. No comparison is recorded."""
    missed_click: float = 0.1
    """Factor on the score of a mask that leaves out a click inside the object: it is of another one. Not compared."""

    refit_viewport: bool = True
    """The mask of clicks alone is segmented again in a viewport fitted around it. Off: the first answer stands."""

    second_pass: bool = True
    """The mask of a box, or of a slice without prompts, is segmented once more with itself as a prompt. Off: once.
    Better on every set of other; see docs/experiments/03-second-pass."""
    second_pass_score: float = 0.0
    """Score 0 to 1 of the first mask from which on: an unsure mask may go on to what looks alike. MobileNetV3 has 0.7,
    better on other and on dev; EfficientNet is better with 0."""
    second_pass_kept: float = 0.0
    """How much of the first mask, cut to +-4, is added to the logits of the second: for networks that believe an
    earlier mask little, as corrections want it. Without it their masks shrink from slice to slice; see
    docs/experiments/08-longer-training."""

    memoryless_pass: bool = True
    """The second pass of a propagated slice is done without memory, too, from the mask and the box of it; the mean
    counts. Off: its mask is what was propagated. Better on other; see docs/experiments/07-memoryless-pass."""
    memoryless_pass_overlap: float = 0.7
    """Intersection over union of the two from which on that is done. Of 0, 0.7 and 0.8 chosen on other and dev."""

    task_box: bool = True
    """With a task, the second pass of a propagated slice is asked without memory, by the box of the first mask alone:
    the task knows what is in it. Off: as without a task."""
    task_box_margin: float = 0.06
    """Added on each side of the box, over its own: without it masks shrink. Of 0, 0.03, 0.06 and 0.1 chosen on the
    heart of other; see docs/experiments/09-task-box."""

    task_view: bool = True
    """With a task, clicks alone are read in one viewport that suits its structure's size, and mean that structure. Off:
    in several, as of anything."""
    task_view_zoom: float = 1.5
    """Side of that viewport over the structure's longest side. Training of tasks sees the same."""

    rejection: bool = True
    """A click outside the object, deep in an earlier mask, makes the network forget that mask. Off: it is corrected."""
    rejection_clicks: int = 3
    """Most clicks with which this may happen. Chosen on train: with all, Dice after five fell from .892 to .872."""
    rejection_depth: float = 0.6
    """Depth of the deepest click outside over that of the deepest inside. Chosen on dev; 0.8 is as good, 1.0 is not."""

    roundness: bool = True
    """Masks of a box alone are drawn towards the ellipse in it, the more, the less sure they are. Off: left alone."""
    roundness_logit: float = 13.0
    """Logits added at the ellipse's centre for a mask that agrees with it and is nowhere sure. Of 0, 4, 8 and 13 as
    good as any on other, with the second pass; with less, elongated bones leak (docs/experiments/03-second-pass)."""
    roundness_unsure: float = 0.45
    """Share of the box's area that counts as unsure at most. Chosen on dev."""

    click_context: bool = True
    """Clicks on a slice without a mask are read in the light of the object's nearest mask. Off: on their own."""
    click_context_mm: float = 10.0
    """Distance of that mask in mm at most. Not compared."""

    neighbour_mask: bool = True
    """In propagation the neighbouring slice's mask is a prompt for the next. Off: memory alone tells of the object."""

    neighbour_distance: bool = True
    """... and counts as no nearer than a share of the object's size, or errors grow. Off: at its true distance."""
    neighbour_distance_radii: float = 0.5
    """That least distance in radii of the mask. Of 0.25, 0.5 and 1 chosen on other; see docs/experiments/02-rules."""
    neighbour_distance_mm: float = 25.0
    """... and in mm at most, what the network was trained for. Chosen on dev, where organs are large."""

    memory_range: bool = True
    """Memories of slices without prompts count up to a distance. Off: however far away."""
    memory_range_mm: float = 40.0
    """That distance in mm. Not compared."""
    memory_conditioning: int = 3
    """Slices with prompts that are remembered at once, the nearest. Not compared."""

    presence_threshold: bool = True
    """The further from prompts but for masks, the more it takes to believe that the object is there. Off: object logit
    above 0. Behind given masks it pays nowhere; see docs/experiments/05-given-masks."""
    presence_threshold_limit: float = 0.5
    """Most that the object logit has to exceed; less where fewer radii away. Of 0, 0.5 and 1.5 the best on other."""

    distance_uncertainty: bool = True
    """The further from prompts, the lower the score of a mask. Off: as the network predicts it."""
    distance_uncertainty_limit: float = 1.0
    """Most that is taken from the object logit for it, besides the threshold; less where fewer radii away. Together as
    much as the threshold alone once was."""

    orthogonal_prior: bool = True
    """Six orthogonal slices through the prompted mask say where the object ends on other slices. Off: none."""
    orthogonal_prior_places: tuple[float, ...] = (0.2, 0.5, 0.8)
    """Rows, and columns, that they lie along: so much of the mask's area lies before them. Chosen on dev."""
    orthogonal_prior_inside: tuple[float, ...] = (0.0, -0.6, 0.6)
    """Clicks inside, along the line known on them: places from its middle, in halves of its length. Not compared."""
    orthogonal_prior_outside: tuple[float, ...] = (-1.2, 1.2)
    """Clicks outside, in the same way. Not compared."""
    orthogonal_prior_zoom: float = 2.0
    """Side of their viewport over the longer of that line and the object's mean width. Chosen on dev; 2.6 as good."""
    orthogonal_prior_logit: float = 4.0
    """Logits added deep inside the outline, and taken away far outside, where they are sure. Chosen on dev."""
    orthogonal_prior_edge: float = 0.3
    """Distance from the outline, in radii of the object, from where on that is so. Not compared."""
    orthogonal_prior_scores: tuple[float, float] = (0.6, 0.8)
    """Their scores, 0 to 1, from which on they count a little, and wholly. Chosen on dev, train and the demo."""
    orthogonal_prior_growth: tuple[float, float] = (0.8, 1.6)
    """Least and most area of the mask over that of the outline through the ends on them. Not compared."""
    orthogonal_prior_spacing: float = 1.0
    """Distance of slices over the object's radius, above which they show nothing. Not compared."""

    context: bool = True
    """The 3D context network, if the weights have one, says where the object is. Off: the orthogonal prior."""
    context_width: float = 2.2
    """Side of its cube over the diameter of the known masks. Training saw 1.5 to 3.2, now and then up to 4.8."""
    context_length: float = 1.3
    """Side of its cube over the distance from the first known slice to the last, at least. Not compared."""
    context_growth: float = 1.45
    """Factor on the side where the object reaches the cube's first or last slice. Not compared."""
    context_growths: int = 2
    """How often the cube grows at most. Not compared."""
    context_voxels: int = 10
    """Voxels along the cube's side at least, as in training."""
    context_logit: float = 4.0
    """Its logits are cut here before they are added to those of a slice. Not compared."""

    context_presence: bool = True
    """... and whether it is there at all. Off: the presence threshold."""
    context_presence_logit: float = 4.0
    """Most that is added to, or taken from, the object logit. Not compared."""
    context_presence_area: float = 0.03
    """Part of the known masks' area that has to be found on a slice. Not compared."""

    context_prompt: bool = True
    """... and what it finds on a slice is the prompt there. Off: the neighbouring slice's mask, as without it."""

    @classmethod
    def rules(cls) -> tuple[str, ...]:
        """Names of the rules that can be switched off."""
        return tuple(field.name for field in dataclasses.fields(cls) if isinstance(field.default, bool))

    def without(self, names: Iterable[str]) -> HeuristicsConfig:
        """The same with some rules switched off; "all" names all of them.

        Raises:
            UserError: There is no such rule.
        """
        wanted = list(names)
        unknown = [name for name in wanted if name not in (*self.rules(), "all")]
        if unknown:
            raise UserError(f"There is no rule {unknown[0]!r}; there are {', '.join(self.rules())}, and all.")
        off: dict[str, Any] = dict.fromkeys(self.rules() if "all" in wanted else wanted, False)
        return dataclasses.replace(self, **off)

    def to_json(self) -> str:
        """All values as a JSON object."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> HeuristicsConfig:
        """Read what `to_json` wrote; what is missing has its default, None stands for all defaults.

        Values that this version does not know belong to rules that it no longer has, and are left out.

        Raises:
            UserError: Not a JSON object, or a value of the wrong kind.
        """
        try:
            stored = json.loads(text) if text else {}
        except json.JSONDecodeError as error:
            raise UserError(f"Not a configuration of heuristics: {error}") from error
        if not isinstance(stored, dict):
            raise UserError(f"Not a configuration of heuristics, which is a JSON object: {text}")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(stored) - set(fields))
        if unknown:
            logger.info("Not known to this version, and left out: %s.", ", ".join(unknown))
        return cls(**{name: _checked(fields[name], value) for name, value in stored.items() if name in fields})


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """A value read from JSON as the kind of its default: a switch, a whole number, a number, or several numbers."""
    default = field.default
    if isinstance(default, tuple):
        is_long_enough = isinstance(value, list) and (value if "..." in str(field.type) else len(value) == len(default))
        if is_long_enough and all(_is_number(number) for number in value):
            return tuple(float(number) for number in value)
    elif isinstance(default, bool):
        if isinstance(value, bool):
            return value
    elif _is_number(value) and (isinstance(default, float) or value == int(value)):
        return float(value) if isinstance(default, float) else int(value)
    raise UserError(f"The heuristics' {field.name} cannot be {value!r}; it is {default!r} by default.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
