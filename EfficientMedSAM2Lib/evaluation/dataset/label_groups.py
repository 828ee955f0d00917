"""Unions of labels that are objects too: anterior + posterior = hippocampus, nucleus + cytoplasm = cell."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Object -> pattern of the label names that make it up. A user of the effect outlines what he has in mind, which is as
# often the whole organ as the part somebody labelled, so both must be among the targets.
UNION_PATTERNS: dict[str, str] = {
    "hippocampus": r"hippocampus (anterior|posterior)",
    "cell": r"nucleus|cytoplasm",
    "spinal cord": r"cord (white|grey) matter",
    "lung left": r"lung_.*_left",
    "lung right": r"lung_.*_right",
    "spine": r"vertebrae.*|sacrum|intervertebral_discs",
    "aorta": r"aorta|aorta_(true|false)_lumen",
    "heart": r"heart_.*",
    "heart ventricles": r"heart_ventricle_.*|heart_myocardium",
    "adrenal and kidney right": r"(adrenal_gland|kidney)_right",
    "adrenal and kidney left": r"(adrenal_gland|kidney)_left",
    "pancreas and duodenum": r"pancreas|duodenum",
    "back muscles": r"autochthon_(left|right)",
    "cerebrum": r"cerebral white matter [LR]|cortex [LR]",
    "hemisphere L": r"(cerebral white matter|cortex) L",
    "hemisphere R": r"(cerebral white matter|cortex) R",
    "cerebellum": r"cerebellar (cortex|white matter) [LR]",
    "cerebellum L": r"cerebellar (cortex|white matter) L",
    "cerebellum R": r"cerebellar (cortex|white matter) R",
    "lateral ventricles": r"lateral ventricle [LR]",
    "striatum L": r"(caudate|putamen|accumbens) L",
    "striatum R": r"(caudate|putamen|accumbens) R",
    "lentiform nucleus L": r"(putamen|pallidum) L",
    "lentiform nucleus R": r"(putamen|pallidum) R",
    "thalami": r"thalamus [LR]",
    "hippocampus and amygdala L": r"(hippocampus|amygdala) (L|A)",
    "hippocampus and amygdala R": r"(hippocampus|amygdala) (R|B)",
    "brain tissue": r"grey matter|white matter",
}


def unions_of(label_names: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """Name of every union whose parts occur, with the label values it consists of.

    Args:
        label_names: label value -> name.

    Returns:
        Union name -> two or more label values, without unions that equal an earlier one.
    """
    unions: dict[str, tuple[int, ...]] = {}
    for name, pattern in UNION_PATTERNS.items():
        values = tuple(sorted(value for value, label in label_names.items() if re.fullmatch(pattern, label)))
        if len(values) >= 2 and values not in unions.values():
            unions[name] = values
    return unions
