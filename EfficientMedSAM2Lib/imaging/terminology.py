"""What a segment is, by its name: 3D Slicer's terminology entry (SNOMED CT) and the colour Slicer shows it in.

Only names that are understood word for word get a code; anything else is plain "Tissue", which the user can refine in
Slicer. A wrong code in a clinical file is worse than a general one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

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


_DEFAULT = _Term(_TISSUE, "85756007", "Tissue", (128, 174, 128))
_TERMS = {
    "adrenal gland": _Term(_ANATOMY, "23451007", "Adrenal gland", (249, 186, 150), True),
    "aorta": _Term(_ANATOMY, "15825003", "Aorta", (224, 97, 76)),
    "bladder": _Term(_ANATOMY, "89837001", "Bladder", (222, 154, 132)),
    "brain": _Term(_ANATOMY, "12738006", "Brain", (250, 250, 225)),
    "cervical spine": _Term(_ANATOMY, "122494005", "Cervical spine", (255, 255, 207)),
    "colon": _Term(_ANATOMY, "71854001", "Colon", (204, 168, 143)),
    "duodenum": _Term(_ANATOMY, "38848004", "Duodenum", (255, 253, 229)),
    "esophagus": _Term(_ANATOMY, "32849002", "Esophagus", (211, 171, 143)),
    "gallbladder": _Term(_ANATOMY, "28231008", "Gallbladder", (139, 150, 98)),
    "heart": _Term(_ANATOMY, "80891009", "Heart", (206, 110, 84)),
    "kidney": _Term(_ANATOMY, "64033007", "Kidney", (185, 102, 83), True),
    "liver": _Term(_ANATOMY, "10200004", "Liver", (221, 130, 101)),
    "lumbar spine": _Term(_ANATOMY, "122496007", "Lumbar spine", (212, 188, 102)),
    "lung": _Term(_ANATOMY, "39607008", "Lung", (197, 165, 145), True),
    "mandible": _Term(_ANATOMY, "91609006", "Mandible", (222, 198, 101)),
    "pancreas": _Term(_ANATOMY, "15776009", "Pancreas", (249, 180, 111)),
    "prostate": _Term(_ANATOMY, "41216001", "Prostate", (230, 158, 140)),
    "rib": _Term(_ANATOMY, "113197003", "Rib", (253, 232, 158)),
    "small intestine": _Term(_ANATOMY, "30315005", "Small Intestine", (205, 167, 142)),
    "spinal cord": _Term(_ANATOMY, "2748008", "Spinal cord", (244, 214, 49)),
    "spleen": _Term(_ANATOMY, "78961009", "Spleen", (157, 108, 162)),
    "sternum": _Term(_ANATOMY, "56873002", "Sternum", (244, 217, 154)),
    "stomach": _Term(_ANATOMY, "69695003", "Stomach", (216, 132, 105)),
    "thoracic spine": _Term(_ANATOMY, "122495006", "Thoracic spine", (226, 202, 134)),
    "thyroid": _Term(_ANATOMY, "69748006", "Thyroid", (62, 162, 114)),
    "trachea": _Term(_ANATOMY, "44567001", "Trachea", (182, 228, 255)),
    "uterus": _Term(_ANATOMY, "35039007", "Uterus", (255, 181, 158)),
    "artery": _Term(_TISSUE, "51114001", "Artery", (216, 101, 79)),
    "bone": _Term(_TISSUE, "272673000", "Bone", (241, 214, 145)),
    "fat": _Term(_TISSUE, "248300009", "Body fat", (230, 220, 70)),
    "lymph node": _Term(_TISSUE, "59441001", "Lymph node", (68, 172, 100)),
    "muscle": _Term(_TISSUE, "71616004", "Muscle", (192, 104, 88)),
    "tissue": _DEFAULT,
    "vein": _Term(_TISSUE, "29092000", "Vein", (0, 151, 206)),
    "cyst": _Term(_ALTERED, "367643001", "Cyst", (205, 205, 100)),
    "edema": _Term(_ALTERED, "79654002", "Edema", (140, 224, 228)),
    "hemorrhage": _Term(_ALTERED, "50960005", "Hemorrhage", (188, 65, 28)),
    "mass": _Term(_ALTERED, "4147007", "Mass", (144, 238, 144)),
    "necrosis": _Term(_ALTERED, "6574001", "Necrosis", (216, 191, 216)),
}
_ALIASES = {
    "adrenal": "adrenal gland",
    "bleeding": "hemorrhage",
    "bowel": "small intestine",
    "cervical vertebral column": "cervical spine",
    "haemorrhage": "hemorrhage",
    "lesion": "mass",
    "lumbar vertebral column": "lumbar spine",
    "nodule": "mass",
    "oedema": "edema",
    "oesophagus": "esophagus",
    "small bowel": "small intestine",
    "thoracic vertebral column": "thoracic spine",
    "thyroid gland": "thyroid",
    "tumor": "mass",
    "tumour": "mass",
    "urinary bladder": "bladder",
}
#: For segments without a standard colour of their own: bright on grey, and told apart by colour-blind readers
#: (after Okabe and Ito).
PALETTE: tuple[Color, ...] = (
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.00, 0.62, 0.45),
    (0.94, 0.89, 0.26),
    (0.80, 0.47, 0.65),
    (0.84, 0.37, 0.00),
    (0.20, 0.55, 0.90),
)
#: Colours closer than this (in RGB, 0 ... 1) look the same as thin contours.
_CLOSE = 0.15


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
            color = free[0] if free else choices[len(result) % len(choices)]
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
