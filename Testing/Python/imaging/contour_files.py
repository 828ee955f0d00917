"""RTSTRUCT files as planning systems write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


def write_rtstruct(path: Path, structures: dict[str, Sequence[np.ndarray]], kind: str = "CLOSED_PLANAR") -> Path:
    """Save contours, (N,3) in RAS mm, of each structure; red, then green, then blue."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTSTRUCT, generate_uid()
    dataset = FileDataset(str(path), Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = (
        RTSTRUCT,
        meta.MediaStorageSOPInstanceUID,
        "RTSTRUCT",
    )
    names, contours = [], []
    for number, (name, lines) in enumerate(structures.items(), start=1):
        named, drawn = Dataset(), Dataset()
        named.ROINumber, named.ROIName = number, name
        drawn.ReferencedROINumber = number
        drawn.ROIDisplayColor = [255 * (number % 3 == n) for n in (1, 2, 0)]
        drawn.ContourSequence = Items([_contour(line, kind) for line in lines])
        names.append(named)
        contours.append(drawn)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = Items(names), Items(contours)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _contour(points_ras: np.ndarray, kind: str) -> Dataset:
    item = Dataset()
    item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points_ras)
    item.ContourData = [f"{value:.4f}" for value in (np.asarray(points_ras) * (-1, -1, 1)).ravel()]
    return item


def outlines(center: Sequence[float], radius: float, heights: Sequence[float], axes: np.ndarray | None = None) -> list:
    """Circles around an axis through a centre, at heights along the third of ``axes``, RAS mm."""
    axes = np.eye(3) if axes is None else axes
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    flat = np.stack([radius * np.cos(angles), radius * np.sin(angles), 0 * angles], axis=1)
    return [(flat + np.array([0, 0, height])) @ axes.T + center for height in heights]
