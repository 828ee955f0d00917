"""Many objects of one kind, as lesions are: each prompt a numbered segment of its own, all propagated in one go."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing

from EfficientMedSAM2Lib.core.boxes import Box
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.interaction.prompts import Prompt, prompted_slices
from EfficientMedSAM2Lib.interaction.propagation import Propagation, SliceUpdate, StopRule

#: What objects are called unless somebody says otherwise.
LESION = "Lesion"
_NUMBERED = re.compile(r"(.*\S)\s+\d+")


def numbered_name(base: str, taken: Iterable[str]) -> str:
    """ "Lesion 1", or with the first number that is free; ``base`` may be a numbered name itself, as "Lesion 3" is."""
    found = _NUMBERED.fullmatch(base.strip())
    base, known = found[1] if found else base.strip() or LESION, set(taken)
    return next(name for name in (f"{base} {n}" for n in range(1, len(known) + 2)) if name not in known)


class ManyObjects(ABC):
    """The calls of a session for many objects at once."""

    last_message: str

    @property
    @abstractmethod
    def segments(self) -> tuple[str, ...]:
        """Names of the segments in order of first use."""

    @abstractmethod
    def add_prompt(self, prompt: Prompt, segment: str = "1") -> Box | None:
        """Add a prompt record. Returns the changed box."""

    @abstractmethod
    def propagate(
        self,
        segment: str = "1",
        direction: str = "both",
        limits: tuple[int, int] | None = None,
        stop_when_lost: bool | StopRule = True,
        axis: int | None = None,
    ) -> Propagation:
        """Carry a segment from its prompted slices to the others."""

    def add_each_interaction(self, prompts: Sequence[Prompt], name: str = LESION) -> list[str]:
        """Give each prompt a new segment of its own, which is one undo step each.

        Prompts of one slice are answered one after the other, so that what the network sees of the whole slice is
        encoded once.

        Args:
            prompts: Prompts that include, such as the points of a list.
            name: What the segments are called, followed by a number.

        Returns:
            Names of the new segments, in the order of the prompts.

        Raises:
            UserError: There are none, or one of them excludes, which says nothing of any one object.
        """
        check_each(prompts, name)
        names: list[str] = []
        for _prompt in prompts:
            names.append(numbered_name(name, [*self.segments, *names]))
        for n in sorted(range(len(prompts)), key=lambda n: _place(prompts[n])):
            self.add_prompt(prompts[n], names[n])
        return names

    def propagate_each(
        self,
        segments: Sequence[str] | None = None,
        direction: str = "both",
        limits: tuple[int, int] | None = None,
        stop_when_lost: bool | StopRule = True,
    ) -> Generator[SliceUpdate, None, None]:
        """Propagate several segments, one after the other, each one undo step; closing it cancels, as for one.

        Args:
            segments: Their names; None for all.
            direction: As for `propagate`.
            limits: As for `propagate`.
            stop_when_lost: As for `propagate`.
        """
        for name in self.segments if segments is None else segments:
            with closing(self.propagate(name, direction, limits, stop_when_lost)) as updates:
                yield from updates


def check_each(prompts: Sequence[Prompt], name: str) -> None:
    """Whether each of some prompts can stand for an object; UserError where one cannot."""
    if not prompts:
        raise UserError(f"There is no prompt to make a segment of; place a point on each {name.lower()}.")
    excluding = sum(not getattr(prompt, "positive", True) for prompt in prompts)
    if excluding:
        raise UserError(
            f"{excluding} of {len(prompts)} prompts exclude, and none of several segments in particular; leave them "
            "out, and correct the segments one by one."
        )


def _place(prompt: Prompt) -> tuple[int, int]:
    """Axis and first slice that a prompt was given on."""
    slices = prompted_slices(prompt, prompt.axis)
    return prompt.axis, slices.start


__all__ = ["LESION", "ManyObjects", "check_each", "numbered_name"]
