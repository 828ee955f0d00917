"""What a segment is, by its name: 3D Slicer's terminology entry (SNOMED CT) and the colour Slicer shows it in.

Only names that are understood word for word get a code; anything else is plain "Tissue", which the user can refine in
Slicer. A wrong code in a clinical file is worse than a general one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from colorsys import hsv_to_rgb
from typing import NamedTuple

from EfficientMedSAM2Lib.core.resources import resource_path

Color = tuple[float, float, float]

CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
REGION_CONTEXT = "Anatomic codes - DICOM master list"
_ANATOMY = "SCT^123037004^Anatomical Structure"
_ALTERED = "SCT^49755003^Morphologically Altered Structure"
_TISSUE = "SCT^85756007^Tissue"
_LATERALITY = {"right": "SCT^24028007^Right", "left": "SCT^7771000^Left"}
_SIDE_WORDS = {"right": "right", "r": "right", "rt": "right", "left": "left", "l": "left", "lt": "left"}
_IGNORED_WORDS = {"the", "of", "in"}


class _Term(NamedTuple):
    category: str
    code: str
    meaning: str
    rgb: tuple[int, int, int]
    sided: bool = False


def _read_terms() -> tuple[dict[str, _Term], dict[str, str]]:
    """Terms by name, and other names of them: Slicer's own codes and colours, in ``Resources/terminology.json``."""
    table = json.loads(resource_path("terminology.json").read_text(encoding="utf-8"))
    categories = {"anatomy": _ANATOMY, "altered": _ALTERED, "tissue": _TISSUE}
    terms = {
        name: _Term(**{**entry, "category": categories[entry["category"]], "rgb": tuple(entry["rgb"])})
        for name, entry in table["terms"].items()
    }
    return terms, table["aliases"]


_TERMS, _ALIASES = _read_terms()
_DEFAULT = _TERMS["tissue"]
#: For segments without a standard colour of their own: bright on grey, and told apart by colour-blind readers
#: (after Okabe and Ito).
PALETTE: tuple[Color, ...] = (
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.00, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.80, 0.47, 0.65),
    (0.84, 0.37, 0.00),
    (0.60, 0.50, 1.00),
)
#: Where the palette has been used up: bright colours of any hue, of which the one farthest from all others is taken.
_MORE = [
    hsv_to_rgb(hue / 18, saturation, value)
    for saturation, value in ((1.0, 1.0), (0.55, 1.0), (1.0, 0.72))
    for hue in range(18)
]
#: Colours closer than this (in RGB, 0 ... 1) look the same as thin contours.
_CLOSE = 0.2


def terminology_entry(name: str) -> str:
    """Slicer's terminology entry of a segment name, as it stands in the segment's tag."""
    term, side = _understand(name)
    modifier = _LATERALITY[side] if side and term.sided else "^^"
    return f"{CONTEXT}~{term.category}~SCT^{term.code}^{term.meaning}~{modifier}~{REGION_CONTEXT}~^^~^^"


def segment_colors(names: Sequence[str], colors: Sequence[Color | None]) -> list[Color]:
    """A colour for every segment: its own, else Slicer's for what it is, else the next of the palette.

    Slicer has one colour for both lungs or both kidneys; here the second one gets another, since left and right are
    read off thin contours.
    """
    taken: list[Color] = [color for color in colors if color is not None]
    result: list[Color] = []
    for name, own in zip(names, colors):
        color = own
        if color is None:
            term, _ = _understand(name)
            red, green, blue = (value / 255 for value in term.rgb)
            wanted = [] if term is _DEFAULT else [(red, green, blue)]
            choices = [*wanted, *PALETTE]
            free = [choice for choice in choices if all(_distance(choice, other) > _CLOSE for other in taken)]
            color = free[0] if free else max(_MORE, key=lambda new: min(_distance(new, other) for other in taken))
            taken.append(color)
        result.append(color)
    return result


def _understand(name: str) -> tuple[_Term, str | None]:
    """Term and side of a name; the default term unless every word of the name is accounted for.

    Of several terms the last counts, as in "liver tumor"; a finding counts before an organ, as in "tumor of the liver".
    """
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word and word not in _IGNORED_WORDS]
    found = {_SIDE_WORDS[word] for word in words if word in _SIDE_WORDS}
    words = [word for word in words if word not in _SIDE_WORDS]
    terms: list[_Term] = []
    while words:
        length = next((n for n in range(len(words), 0, -1) if _term(" ".join(words[:n]))), 0)
        term = _term(" ".join(words[:length]))
        if term is None:
            return _DEFAULT, None
        terms.append(term)
        words = words[length:]
    if not terms:
        return _DEFAULT, None
    findings = [term for term in terms if term.category == _ALTERED]
    return (findings or terms)[-1], found.pop() if len(found) == 1 else None


def _term(phrase: str) -> _Term | None:
    for candidate in (phrase, phrase.removesuffix("s")):
        term = _TERMS.get(_ALIASES.get(candidate, candidate))
        if term is not None:
            return term
    return None


def _distance(first: Color, second: Color) -> float:
    return float(sum((a - b) ** 2 for a, b in zip(first, second)) ** 0.5)
