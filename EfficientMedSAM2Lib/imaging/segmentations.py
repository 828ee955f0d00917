"""Results as files: Slicer's ``.seg.nrrd`` with names, colours and terminology, or a plain labelmap.

``.seg.nrrd`` keeps overlapping segments apart (in layers, as Slicer does). A labelmap (``.nii``, ``.nii.gz``,
``.nrrd``, ``.mha``, MedSAM's ``.npz``) has one value a voxel: segments are numbered 1, 2, ... in their order, and where
two overlap the later wins. In an ``.npz``, segments whose names are numbers get those.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .files import check_complete, last_line, quiet_libraries, replacing
from .geometry import check_matrix, lps_to_ras, spacing_of
from .npz import NPZ_SUFFIX, read_npz_labels, write_npz
from .terminology import Color, segment_colors, terminology_entry
from .volumes import Volume, image_to_ras

if TYPE_CHECKING:
    import SimpleITK

SEGMENTATION_SUFFIX = ".seg.nrrd"
LABELMAP_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", NPZ_SUFFIX)
#: Masks compress so well that a higher level only takes longer.
COMPRESSION_LEVEL = 3
_NAME_FIELD = re.compile(rb"Segment(\d+)_Name:=(.*)")


@dataclass(frozen=True)
class Segment:
    """One structure.

    Attributes:
        name: What the user calls it.
        mask: (D,H,W) bool, on the volume's grid.
        color: Red, green, blue in 0 ... 1; None for the standard colour of what the name says.
        terminology: Slicer's terminology entry; None for the one the name says.
    """

    name: str
    mask: np.ndarray
    color: Color | None = None
    terminology: str | None = None


def write_segmentation(path: str | Path, segments: Sequence[Segment], volume: Volume) -> None:
    """Write segments on the volume's grid; the ending of ``path`` says how (see above).

    The file appears whole or not at all. Empty segments are kept: they still say that the structure was looked for.

    Raises:
        ValueError: no segments, a mask of another shape, an ending that is not known, a place that cannot be written.
    """
    if not segments:
        raise ValueError("There is no segment to write; add at least one.")
    for segment in segments:
        if segment.mask.shape != volume.shape_kji:
            raise ValueError(
                f"The mask of {segment.name!r} has shape {segment.mask.shape}, the volume {volume.shape_kji}."
            )
    name = Path(path).name.lower()
    if name.endswith(SEGMENTATION_SUFFIX):
        with replacing(path) as temporary:
            _write_seg_nrrd(temporary, segments, volume)
    elif name.endswith(NPZ_SUFFIX):
        write_npz(path, _labelmap(segments, volume, _stated_values(segments)), volume.axes)
    elif name.endswith(LABELMAP_SUFFIXES):
        with replacing(path) as temporary:
            _write_labelmap(temporary, segments, volume)
    else:
        endings = ", ".join((SEGMENTATION_SUFFIX, *LABELMAP_SUFFIXES))
        raise ValueError(f"Cannot tell the format of {Path(path).name!r}; end it in one of {endings}.")


def read_segmentation(path: str | Path, volume: Volume | None = None) -> list[Segment]:
    """Read the segments of a ``.seg.nrrd`` or of a labelmap (one segment a value, named ``Segment_<value>``).

    Args:
        path: The file.
        volume: Grid that the masks are wanted on (nearest neighbour; Slicer saves segments cropped). None for the
            file's own.

    Raises:
        ValueError: no such file, or it is not a segmentation.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no segmentation file {path}; check the name.")
    try:
        with quiet_libraries():
            if path.name.lower().endswith(NPZ_SUFFIX):
                return _read_npz(path, volume)
            segments, ijk_to_ras = _read_seg_nrrd(path) if path.name.lower().endswith(".nrrd") else _read_labelmap(path)
    except (OSError, RuntimeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a segmentation ({last_line(error)}).") from error
    if volume is None:
        return segments
    return [_on_grid(segment, ijk_to_ras, volume) for segment in segments]


def array_to_image(array: np.ndarray, ijk_to_ras: Any) -> SimpleITK.Image:
    """SimpleITK image (LPS) of a (D,H,W) array."""
    import SimpleITK as sitk

    affine = check_matrix(ijk_to_ras)
    lps, spacing = lps_to_ras(affine), spacing_of(affine)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def _write_seg_nrrd(path: Path, segments: Sequence[Segment], volume: Volume) -> None:
    from slicerio import segmentation as slicer_format

    layers = _layers(segments)
    count = max(layer for layer, _ in layers) + 1
    # last axis fastest in memory: written as it lies once it is transposed to (layer, i, j, k)
    voxels: np.ndarray = np.zeros((*volume.shape_kji, count), dtype=_label_type(max(label for _, label in layers)))
    colors = segment_colors([s.name for s in segments], [s.color for s in segments])
    depth, height, width = volume.shape_kji
    names = [" ".join(segment.name.split()) or f"Segment_{n}" for n, segment in enumerate(segments, start=1)]
    fields = []
    for number, (segment, color, (layer, label)) in enumerate(zip(segments, colors, layers), start=1):
        voxels[segment.mask.astype(bool, copy=False), layer] = label
        fields.append(
            {
                "id": f"Segment_{number}",
                "name": names[number - 1].encode("ascii", "replace").decode("ascii"),
                "color": [round(float(value), 6) for value in color],
                "nameAutoGenerated": False,
                "colorAutoGenerated": False,
                "labelValue": label,
                "layer": layer,
                # all of the grid: older Slicer versions crop a layer to the extent of its first segment
                "extent": [0, width - 1, 0, height - 1, 0, depth - 1],
                "status": "inprogress",
                "terminology": slicer_format.terminology_entry_from_string(
                    segment.terminology or terminology_entry(segment.name)
                ),
            }
        )
    segmentation = {
        "voxels": voxels[..., 0].T if count == 1 else voxels.T,
        "ijkToLPS": lps_to_ras(volume.ijk_to_ras),
        "containedRepresentationNames": ["Binary labelmap"],
        "segments": fields,
    }
    slicer_format.write_segmentation(str(path), segmentation, compression_level=COMPRESSION_LEVEL)
    _finish_header(path, names)


def _finish_header(path: Path, names: Sequence[str]) -> None:
    """Write names into the header in UTF-8, as Slicer has them, and take out the time of writing.

    The NRRD library knows ASCII only, and puts the time into a comment, by which equal segmentations would be different
    files.
    """
    header, separator, voxels = path.read_bytes().partition(b"\n\n")
    lines = [line for line in header.split(b"\n") if not line.startswith(b"# on ")]
    for n, line in enumerate(lines):
        found = _NAME_FIELD.match(line)
        if found:
            lines[n] = line[: found.start(2)] + names[int(found[1])].encode()
    path.write_bytes(b"\n".join(lines) + separator + voxels)


def _read_names(path: Path) -> dict[int, str]:
    """Segment number (from 0, as in the header) to name, in UTF-8."""
    names = {}
    with path.open("rb") as stream:
        for line in iter(lambda: stream.readline().rstrip(b"\r\n"), b""):
            found = _NAME_FIELD.match(line)
            if found:
                names[int(found[1])] = found[2].decode(errors="replace")
    return names


def _layers(segments: Sequence[Segment]) -> list[tuple[int, int]]:
    """Layer and label of each segment: the first layer where it meets no other segment."""
    used: list[np.ndarray] = []
    labels: list[int] = []
    places = []
    for segment in segments:
        mask = segment.mask.astype(bool, copy=False)
        layer = next((n for n, taken in enumerate(used) if not np.logical_and(taken, mask).any()), len(used))
        if layer == len(used):
            used.append(np.zeros(mask.shape, dtype=bool))
            labels.append(0)
        used[layer] |= mask
        labels[layer] += 1
        places.append((layer, labels[layer]))
    return places


def _write_labelmap(path: Path, segments: Sequence[Segment], volume: Volume) -> None:
    import SimpleITK as sitk

    labelmap = _labelmap(segments, volume, range(1, len(segments) + 1))
    with quiet_libraries():
        sitk.WriteImage(array_to_image(labelmap, volume.ijk_to_ras), str(path), useCompression=True)


def _labelmap(segments: Sequence[Segment], volume: Volume, values: Sequence[int]) -> np.ndarray:
    labelmap: np.ndarray = np.zeros(volume.shape_kji, dtype=_label_type(max(values)))
    for value, segment in zip(values, segments):
        labelmap[segment.mask.astype(bool, copy=False)] = value
    return labelmap


def _stated_values(segments: Sequence[Segment]) -> list[int]:
    """The numbers that segments are named after, where all are; else their order."""
    names = [segment.name for segment in segments]
    if len(set(names)) == len(names) and all(name.isdecimal() and 0 < int(name) < 2**16 for name in names):
        return [int(name) for name in names]
    return list(range(1, len(segments) + 1))


def _label_type(highest: int) -> type:
    return np.uint8 if highest <= 255 else np.uint16


def _read_seg_nrrd(path: Path) -> tuple[list[Segment], np.ndarray]:
    from slicerio import segmentation as slicer_format

    content = slicer_format.read_segmentation(str(path))
    if not content.get("segments"):
        return _read_labelmap(path)
    voxels = content["voxels"]
    layers = voxels if voxels.ndim == 4 else voxels[np.newaxis]
    # the library sorts by number, but drops the numbers
    names = [name for _, name in sorted(_read_names(path).items())]
    if len(names) != len(content["segments"]):
        names = [fields.get("name", fields["id"]) for fields in content["segments"]]
    segments = []
    for name, fields in zip(names, content["segments"]):
        mask = fields.get("labelValue", 1) == layers[fields.get("layer", 0)].T
        terminology = fields.get("terminology")
        red, green, blue = fields.get("color", (None, None, None))
        segments.append(
            Segment(
                name,
                np.ascontiguousarray(mask),
                None if red is None else (red, green, blue),
                slicer_format.terminology_entry_to_string(terminology) if terminology else None,
            )
        )
    return segments, lps_to_ras(content["ijkToLPS"])


def _read_labelmap(path: Path) -> tuple[list[Segment], np.ndarray]:
    import SimpleITK as sitk

    check_complete(path)
    image = sitk.ReadImage(str(path))
    labelmap = sitk.GetArrayFromImage(image)
    labelmap = labelmap[np.newaxis] if labelmap.ndim == 2 else labelmap
    if labelmap.ndim != 3:
        raise ValueError("it is neither 2D nor 3D")
    values = [value for value in np.unique(labelmap) if value != 0]
    if len(values) > 1000:
        raise ValueError("it has more than 1000 different values, so it is a scan rather than a labelmap")
    return [Segment(f"Segment_{value:g}", labelmap == value) for value in values], image_to_ras(image)


def _read_npz(path: Path, volume: Volume | None) -> list[Segment]:
    """The label map of an archive, which lies on the grid of its scan and says no other."""
    labelmap = read_npz_labels(path)
    if labelmap is None:
        raise ValueError("it has no label map: 'segs', 'gts' or 'label'")
    if volume is not None and labelmap.shape != volume.shape_kji:
        raise ValueError(f"its label map has shape {labelmap.shape}, the scan {volume.shape_kji}")
    return [Segment(str(value), labelmap == value) for value in np.unique(labelmap) if value]


def _on_grid(segment: Segment, ijk_to_ras: np.ndarray, volume: Volume) -> Segment:
    """The segment on the volume's grid."""
    import SimpleITK as sitk

    if segment.mask.shape == volume.shape_kji and np.allclose(ijk_to_ras, volume.ijk_to_ras, atol=1e-4):
        return segment
    image = array_to_image(segment.mask.astype(np.uint8), ijk_to_ras)
    grid = sitk.Image(list(volume.shape_kji[::-1]), sitk.sitkUInt8)
    grid.CopyInformation(array_to_image(np.zeros(volume.shape_kji, dtype=np.uint8), volume.ijk_to_ras))
    moved = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
    return Segment(segment.name, moved.astype(bool), segment.color, segment.terminology)
