"""An exported network: a ZIP archive of ONNX graphs, a description and heuristics. Any unzip shows it."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.models.config import ModelConfig
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig

SUFFIX = ".onnx.zip"
GRAPHS = ("encode", "prompt", "attend", "decode", "memorise", "context")
"""The last one only of networks with a context part."""
FORMAT = 2
"""Number of the form of these files, one more whenever an older program could not read them."""
_DESCRIPTION = "network.json"
_HEURISTICS = "heuristics.json"
"""A member of its own, which older programs do not read, and which is missing in what they wrote."""


@dataclasses.dataclass(frozen=True)
class Description:
    """What an exported network says of itself.

    Attributes:
        config: Sizes.
        precision: "fp32" or "int8".
        weights_sha256: Of the weights file it was made from, empty when there was none.
        parameters: Their number.
        licence: Of the weights.
        no_memory: (embed_dim,) what is added to the features of a slice that stands alone.
        no_object_pointer: (embed_dim,) pointer of a slice without the object.
        notes: More to say, such as versions.
        heuristics: Rules and numbers of predictors that come with the weights.
    """

    config: ModelConfig
    precision: str
    weights_sha256: str
    parameters: int
    licence: str
    no_memory: tuple[float, ...]
    no_object_pointer: tuple[float, ...]
    notes: dict[str, str] = dataclasses.field(default_factory=dict)
    heuristics: HeuristicsConfig = dataclasses.field(default_factory=HeuristicsConfig)


def graphs_of(config: ModelConfig) -> tuple[str, ...]:
    """Names of the graphs of a network."""
    return GRAPHS if config.context is not None else GRAPHS[:-1]


def is_exported(path: str | os.PathLike[str] | None) -> bool:
    """Whether a path names an exported network, by its ending."""
    return path is not None and str(path).lower().endswith(SUFFIX)


def write_exported(path: Path, description: Description, graphs: Mapping[str, bytes]) -> None:
    """Write an exported network under a temporary name first. The same network gives the same bytes.

    Args:
        path: The file.
        description: See `Description`.
        graphs: Serialised ONNX models, by names of `GRAPHS`.
    """
    known: dict[str, Any] = dataclasses.asdict(description)
    known.pop("heuristics")
    text = json.dumps({"format": FORMAT, **known, "config": json.loads(description.config.to_json())}, indent=1)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        # ZipInfo's own date, 1980, instead of today's
        archive.writestr(zipfile.ZipInfo(_DESCRIPTION), text, zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(_HEURISTICS), description.heuristics.to_json(), zipfile.ZIP_DEFLATED)
        for name in graphs:
            archive.writestr(zipfile.ZipInfo(f"{name}.onnx"), graphs[name], zipfile.ZIP_DEFLATED)


def read_description(path: str | os.PathLike[str]) -> Description:
    """What an exported network says of itself.

    Raises:
        UserError: The file is missing or is not an exported network of this version.
    """
    try:
        known = json.loads(_member(path, _DESCRIPTION))
        if known.pop("format") != FORMAT:
            raise UserError(f"{path} was exported by another version; export it again with `efficient-medsam2 export`.")
        known["config"] = ModelConfig.from_json(json.dumps(known["config"]))
        known["no_memory"], known["no_object_pointer"] = tuple(known["no_memory"]), tuple(known["no_object_pointer"])
        heuristics = HeuristicsConfig.from_json(_member(path, _HEURISTICS, optional=True).decode())
        return Description(**known, heuristics=heuristics)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not a network exported by `efficient-medsam2 export`: {error}") from error


def read_graph(path: str | os.PathLike[str], name: str) -> bytes:
    """One of the graphs, serialised.

    Raises:
        UserError: As `read_description`.
    """
    return _member(path, f"{name}.onnx")


def _member(path: str | os.PathLike[str], name: str, optional: bool = False) -> bytes:
    """The bytes of a member; none where one that is optional is missing."""
    if not Path(path).is_file():
        raise UserError(f"Exported network {path} does not exist; give the path of a {SUFFIX} file.")
    try:
        with zipfile.ZipFile(path) as archive:
            return b"" if optional and name not in archive.namelist() else archive.read(name)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise UserError(f"{path} is not a network exported by `efficient-medsam2 export`: {error}") from error
