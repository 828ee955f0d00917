"""Manifests: which images and labels there are, and which patient belongs to which split."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Optional  # pydantic evaluates annotations, and Python 3.9 knows no `str | None`

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.formats.npz import NPZ_SUFFIX, npz_holds, npz_modality

Split = Literal["train", "dev", "unlabelled"]

IMAGE_SUFFIXES = (
    ".nii.gz",
    ".nii",
    ".nrrd",
    ".mha",
    ".mhd",
    ".npz",
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".bmp",
)
_FLAT_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_LABEL_ENDING = re.compile(r"[_-](labels?|masks?|seg|segmentation|gt)$", re.IGNORECASE)
_CHANNEL_ENDING = re.compile(r"_0000$")  # nnU-Net's name for the first channel of an image


class ManifestEntry(BaseModel):
    """One image and, when there is one, its label map of the same geometry."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    image: str
    label: Optional[str] = None  # noqa: UP045
    modality: str = ""
    anatomy: str = ""
    source: str = ""
    licence: str = ""
    label_names: dict[str, str] = Field(default_factory=dict)
    dim: Literal[2, 3] = 3
    size: Optional[list[int]] = None  # noqa: UP045
    spacing: Optional[list[float]] = None  # noqa: UP045
    spacing_known: bool = True
    group: str = ""
    split: Split = "train"

    @property
    def patient(self) -> str:
        """The group that must not be divided between splits; an image without one is its own group."""
        return self.group or self.image

    @property
    def dataset(self) -> str:
        """The folder the image lies in: the unit that sampling balances and evaluation averages over."""
        return dataset_of(self.image)

    @property
    def is_instance_map(self) -> bool:
        """Whether every label value is one object of the same kind (nuclei, cells)."""
        return "instances" in self.label_names

    @property
    def names_of_values(self) -> dict[int, str]:
        """Label value -> name, without entries that are not values."""
        return {int(value): name for value, name in self.label_names.items() if value.lstrip("-").isdigit()}


class Manifest(BaseModel):
    """Entries with the folder their paths are relative to."""

    model_config = ConfigDict(frozen=True)

    root: Path
    entries: list[ManifestEntry]

    def select(self, split: Split | None = None, labelled: bool | None = None) -> list[ManifestEntry]:
        """Entries of one split, with or without a label map; None means both."""
        return [
            entry
            for entry in self.entries
            if (split is None or entry.split == split) and (labelled is None or (entry.label is not None) == labelled)
        ]

    def only(self, datasets: Iterable[str]) -> Manifest:
        """The same without all other data sets.

        Raises:
            UserError: There is no such data set.
        """
        wanted = self._known(datasets)
        return self._of(entry for entry in self.entries if entry.dataset in wanted)

    def leaving_out(self, datasets: Iterable[str]) -> Manifest:
        """The same without some data sets.

        Raises:
            UserError: There is no such data set.
        """
        unwanted = self._known(datasets)
        return self._of(entry for entry in self.entries if entry.dataset not in unwanted)

    def _of(self, entries: Iterable[ManifestEntry]) -> Manifest:
        return Manifest(root=self.root, entries=list(entries))

    def _known(self, datasets: Iterable[str]) -> set[str]:
        wanted, known = set(datasets), {entry.dataset for entry in self.entries}
        if not wanted <= known:
            raise UserError(
                f"There is no data set {min(wanted - known)!r} in {self.root}; there are {', '.join(sorted(known))}."
            )
        return wanted

    def image_path(self, entry: ManifestEntry) -> Path:
        """Full path of the image."""
        return self.root / entry.image

    def label_path(self, entry: ManifestEntry) -> Path:
        """Full path of the label map."""
        if entry.label is None:
            raise UserError(f"'{entry.image}' has no label map: select labelled entries only.")
        return self.root / entry.label


def dataset_of(image: str) -> str:
    """Name of the data set of an image, given its path in the manifest."""
    parts = Path(image).parts
    return parts[0] if len(parts) > 1 else "images"


def read_manifest(path: str | Path) -> Manifest:
    """Read `index.json`, or make a manifest of a folder of image/label pairs.

    Args:
        path: the JSON file, a folder holding `index.json`, a folder of pairs, or an `.npz` that is a pair.

    Returns:
        The manifest; no patient is in both train and dev.

    Raises:
        UserError: there is nothing usable at the path, or a patient is divided between splits.
    """
    path = Path(path)
    if path.is_dir():
        index = path / "index.json"
        return read_manifest(index) if index.is_file() else manifest_from_folder(path)
    if path.is_file() and path.suffix.lower() == NPZ_SUFFIX:
        return _manifest_of_files(path.parent, [path], dev_fraction=0.0, seed=0)
    if not path.is_file():
        raise UserError(f"'{path}' does not exist: give an index.json or a folder of image/label pairs.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["entries"] if isinstance(content, dict) else content
        manifest = Manifest(root=path.parent, entries=rows)
    except (json.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"'{path}' is no manifest ({reason}): a list of entries with 'image' is needed.") from error
    check_patients(manifest.entries)
    return manifest


def check_patients(entries: Iterable[ManifestEntry]) -> None:
    """Raise UserError when one patient is both in train and in dev."""
    splits: dict[str, str] = {}
    for entry in entries:
        if entry.split == "unlabelled":
            continue
        known = splits.setdefault(entry.patient, entry.split)
        if known != entry.split:
            raise UserError(f"Patient '{entry.patient}' is in '{known}' and '{entry.split}': put all images in one.")


def manifest_from_folder(folder: str | Path, dev_fraction: float = 0.1, seed: int = 0) -> Manifest:
    """Pair the images of a folder with their labels and split them by patient.

    A label has the image's name with an ending such as `_label`, `_mask` or `_seg`, or the same name in a sister
    folder (`images`/`labels`, `imagesTr`/`labelsTr`). An `.npz` holds its label, or is that of the image with its
    name. Images without a label become `unlabelled`. The patient is the file name up to its first part with a digit
    (`patient26` of `patient26_FLAIR`, `case_001` of `case_001`).

    Args:
        folder: where the files are, searched recursively.
        dev_fraction: share of the patients that go to dev, 0..1.
        seed: another number gives another split; the same number always the same.

    Returns:
        A manifest with paths relative to the folder.

    Raises:
        UserError: the folder holds no image.
    """
    root = Path(folder)
    files = sorted(path for path in root.rglob("*") if path.is_file() and _suffix(path))
    return _manifest_of_files(root, files, dev_fraction, seed)


def is_listed(path: str | Path) -> bool:
    """Whether a manifest comes from an index, which says what was trained on, rather than from a folder."""
    path = Path(path)
    return (path / "index.json").is_file() if path.is_dir() else path.suffix.lower() != NPZ_SUFFIX


def _manifest_of_files(root: Path, files: list[Path], dev_fraction: float, seed: int) -> Manifest:
    labels: dict[str, Path] = {}
    images: list[Path] = []
    held: dict[Path, tuple[bool, bool]] = {path: npz_holds(path) for path in files if _suffix(path) == NPZ_SUFFIX}
    for path in files:
        has_scan, has_label = held.get(path, (True, False))
        if path not in held and _is_label(path.relative_to(root)):
            labels[_stem(path)] = path
        elif has_scan:
            images.append(path)
        elif has_label:
            labels[_stem(path)] = path
    if not images:
        raise UserError(f"'{root}' holds no image: put images there as one of {', '.join(IMAGE_SUFFIXES)}.")
    entries = []
    for path in images:
        label = path if held.get(path, (True, False))[1] else labels.get(_stem(path))
        patient = _patient_of(_stem(path))
        split: Split = "unlabelled" if label is None else _split_of(patient, dev_fraction, seed)
        entries.append(
            ManifestEntry(
                image=path.relative_to(root).as_posix(),
                label=None if label is None else label.relative_to(root).as_posix(),
                modality=(npz_modality(path) or "") if path in held else "",
                dim=2 if _suffix(path) in _FLAT_SUFFIXES else 3,
                group=patient,
                split=split,
            )
        )
    return Manifest(root=root, entries=entries)


def _suffix(path: Path) -> str | None:
    name = path.name.lower()
    return next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), None)


def _is_label(relative: Path) -> bool:
    bare = relative.name[: -len(_suffix(relative) or "")]
    in_label_folder = any(part.lower().startswith(("label", "mask")) for part in relative.parts[:-1])
    return in_label_folder or bool(_LABEL_ENDING.search(bare))


def _stem(path: Path) -> str:
    bare = path.name[: -len(_suffix(path) or "")]
    return _CHANNEL_ENDING.sub("", _LABEL_ENDING.sub("", bare))


def _patient_of(stem: str) -> str:
    match = re.match(r"(?:[^\d_-]+[_-])*[^_-]*\d[^_-]*", stem)
    return match.group(0) if match else stem


def _split_of(patient: str, dev_fraction: float, seed: int) -> Split:
    # A hash keeps a patient in its split when files are added later, which a shuffled list would not.
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    return "dev" if int.from_bytes(digest[:8], "big") / 2**64 < dev_fraction else "train"
