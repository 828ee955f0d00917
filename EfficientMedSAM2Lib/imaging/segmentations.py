"""Results as files: Slicer's ``.seg.nrrd`` with names, colours and terminology, or a plain labelmap.

``.seg.nrrd`` keeps overlapping segments apart (in layers, as Slicer does). A labelmap holds less, see `labelmaps`. In
MedSAM's ``.npz``, segments whose names are numbers get those as labels. Every file is read back before it gets its
name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import last_line, normal_name, readable_name, replacing
from EfficientMedSAM2Lib.core.geometry import lps_to_ras
from EfficientMedSAM2Lib.imaging.dicom.reader import is_dicom
from EfficientMedSAM2Lib.imaging.formats.contained import check_contained, image_reader
from EfficientMedSAM2Lib.imaging.formats.files import check_name, one_line, quiet_libraries
from EfficientMedSAM2Lib.imaging.formats.npz import NPZ_SUFFIX, read_npz_labels, write_npz
from EfficientMedSAM2Lib.imaging.labelmaps import (
    LABELMAP_SUFFIXES,
    flattened,
    label_type,
    on_volume_grid,
    same_voxels,
    write_labelmap,
)
from EfficientMedSAM2Lib.imaging.segment import (
    NOTES_KEY,
    SEGMENT_ID,
    Segment,
    Written,
    check_geometry,
    check_masks,
    ids_of,
    layers_of,
)
from EfficientMedSAM2Lib.imaging.terminology import segment_colors, terminology_entry
from EfficientMedSAM2Lib.imaging.volumes import Volume, read_volume

SEGMENTATION_SUFFIX = ".seg.nrrd"
#: Masks compress so well that a higher level only takes longer.
COMPRESSION_LEVEL = 3
#: How NRRD writes a backslash and a new line in a value.
_ESCAPED = re.compile(r"\\\\|\\n")
_NAME_FIELD = re.compile(rb"Segment(\d+)_Name:=(.*)")


def write_segmentation(path: str | Path, segments: Sequence[Segment], volume: Volume) -> Written:
    """Write segments on the volume's grid; the ending of ``path`` says how (see above).

    The file appears whole or not at all. Empty segments are kept: they still say that the structure was looked for.

    Returns:
        The segments as they are in the file, and what was lost on the way into it.

    Raises:
        UserError: no segments, a mask of another shape, an ending that is not known, a place that cannot be written,
            or a grid, names or a number of segments that the format cannot hold.
    """
    if not segments:
        raise UserError("There is no segment to write; add at least one.")
    check_masks(segments, volume)
    for segment in segments:
        if readable_name(segment.name) != segment.name:
            raise UserError(
                f"The segment name {readable_name(segment.name)!r} is not UTF-8 text, which files hold names in; "
                "give it another name."
            )
    name = Path(path).name.lower()
    if name.endswith(SEGMENTATION_SUFFIX):
        _write_seg_nrrd(Path(path), segments, volume)
        return Written(tuple(segments))
    if name.endswith((*LABELMAP_SUFFIXES, NPZ_SUFFIX)):
        written = flattened(segments)
        if name.endswith(NPZ_SUFFIX):
            _write_npz(Path(path), written.segments, volume)
        else:
            write_labelmap(Path(path), written.segments, volume)
        return written
    endings = ", ".join((SEGMENTATION_SUFFIX, *LABELMAP_SUFFIXES, NPZ_SUFFIX))
    raise UserError(f"Cannot tell the format of {Path(path).name!r}; end it in one of {endings}.")


def read_segmentation(path: str | Path, volume: Volume | None = None) -> list[Segment]:
    """Read the segments of a ``.seg.nrrd``, DICOM SEG, RTSTRUCT or labelmap (one a value, ``Segment_<value>``).

    Args:
        path: The file.
        volume: Grid that the masks are wanted on (nearest neighbour; Slicer saves segments cropped). None for the
            file's own.

    Raises:
        UserError: no such file, or it is not a segmentation.
    """
    segments, ijk_to_ras = _read(Path(path), volume)
    if volume is None or ijk_to_ras is None:
        return segments
    return [on_volume_grid(segment, ijk_to_ras, volume) for segment in segments]


def read_segment(path: str | Path, volume: Volume, name: str | None, only: bool = False) -> tuple[Segment, str]:
    """Read one segment of a file onto a volume's grid.

    Args:
        path: The file, as for `read_segmentation`.
        volume: The grid.
        name: Name of the segment, or the value in a labelmap; None for the only one.
        only: Take the only segment there is, whatever its name.

    Returns:
        The segment, and what the user should know of its way onto the grid, often nothing.

    Raises:
        UserError: no such file, it is not a segmentation, it has no such segment, or nothing of that is on the volume.
    """
    segments, ijk_to_ras = _read(Path(path), volume)
    wanted = {normal_name(name), f"Segment_{name}"} if name is not None else set()
    found = [segment for segment in segments if normal_name(segment.name) in wanted]
    if not found and (only or name is None) and len(segments) == 1:
        found = segments
    if not found:
        names = ", ".join(segment.name for segment in segments) or "none"
        if name is None:
            raise UserError(f"{path} has several segments, {names}; say which one is meant.")
        raise UserError(f"{path} has no segment {name!r}; it has {names}.")
    segment, note = found[0], ""
    if ijk_to_ras is not None:
        if not same_voxels(ijk_to_ras, segment.mask.shape, volume):
            note = f"{Path(path).name} lies on another grid; it was brought onto that of the scan by nearest neighbour."
        segment = on_volume_grid(segment, ijk_to_ras, volume)
    if not segment.mask.any():
        raise UserError(f"The segment {segment.name!r} of {path} is empty on this scan; start from another prompt.")
    return segment, note


def _read(path: Path, volume: Volume | None) -> tuple[list[Segment], np.ndarray | None]:
    """Segments on the file's own grid, and its matrix; None where the grid is that of the volume."""
    if not path.is_file():
        raise UserError(f"There is no segmentation file {path}; check the name.")
    check_name(path)
    try:
        with quiet_libraries():
            if path.name.lower().endswith(NPZ_SUFFIX):
                return _read_npz(path, volume), None
            check_contained(path)
            return _reader(path, volume)(path)
    except (OSError, RuntimeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a segmentation ({last_line(error)}).") from error


def _write_seg_nrrd(path: Path, segments: Sequence[Segment], volume: Volume) -> None:
    from slicerio import segmentation as slicer_format

    layers = layers_of(segments)
    count = max(layer for layer, _ in layers) + 1
    # last axis fastest in memory: written as it lies once it is transposed to (layer, i, j, k)
    voxels: np.ndarray = np.zeros((*volume.shape_kji, count), dtype=label_type(max(label for _, label in layers)))
    colors = segment_colors([s.name for s in segments], [s.color for s in segments])
    depth, height, width = volume.shape_kji
    names = [one_line(segment.name) or f"Segment_{n}" for n, segment in enumerate(segments, start=1)]
    ids = ids_of(segments)
    fields = []
    for number, (segment, color, (layer, label)) in enumerate(zip(segments, colors, layers), start=1):
        voxels[segment.mask.astype(bool, copy=False), layer] = label
        fields.append(
            {
                "id": ids[number - 1],
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
    expected = voxels[..., 0].T if count == 1 else voxels.T
    segmentation = {
        "voxels": expected,
        "ijkToLPS": lps_to_ras(volume.ijk_to_ras),
        "containedRepresentationNames": ["Binary labelmap"],
        "segments": fields,
    }
    with replacing(path, lambda file: _check_seg_nrrd(file, expected, names, volume)) as temporary:
        slicer_format.write_segmentation(str(temporary), segmentation, compression_level=COMPRESSION_LEVEL)
        _finish_header(temporary, names, volume.notes)


def _check_seg_nrrd(path: Path, expected: np.ndarray, names: Sequence[str], volume: Volume) -> None:
    """Voxels, names and place of a file that was just written are what was meant; UserError where they are not."""
    from slicerio import segmentation as slicer_format

    content = slicer_format.read_segmentation(str(path))
    check_geometry(lps_to_ras(content["ijkToLPS"]), volume, SEGMENTATION_SUFFIX)
    read_names = [name for _, name in sorted(_read_names(path).items())]
    if read_names != list(names) or not np.array_equal(content["voxels"], expected):
        raise UserError("The segmentation reads back as another than was written; the disk may be full or damaged.")


def _finish_header(path: Path, names: Sequence[str], notes: Sequence[str]) -> None:
    """Write names into the header in UTF-8, as Slicer has them, and notes; take out the time of writing.

    The NRRD library knows ASCII only, and puts the time into a comment, by which equal segmentations would be different
    files.
    """
    header, separator, voxels = path.read_bytes().partition(b"\n\n")
    lines = [line for line in header.split(b"\n") if not line.startswith(b"# on ")]
    for n, line in enumerate(lines):
        found = _NAME_FIELD.match(line)
        if found:
            lines[n] = line[: found.start(2)] + names[int(found[1])].replace("\\", r"\\").encode()
    if notes:
        lines.append(f"{NOTES_KEY}:={' '.join(notes)}".replace("\\", r"\\").encode())
    path.write_bytes(b"\n".join(lines) + separator + voxels)


def _read_names(path: Path) -> dict[int, str]:
    """Segment number (from 0, as in the header) to name, in UTF-8."""
    names = {}
    with path.open("rb") as stream:
        for line in iter(lambda: stream.readline().rstrip(b"\r\n"), b""):
            found = _NAME_FIELD.match(line)
            if found:
                text = found[2].decode(errors="replace")
                names[int(found[1])] = _ESCAPED.sub(lambda escape: " " if escape[0] == r"\n" else "\\", text)
    return names


def _write_npz(path: Path, segments: Sequence[Segment], volume: Volume) -> None:
    values = _stated_values(segments)
    labelmap: np.ndarray = np.zeros(volume.shape_kji, dtype=label_type(max(values)))
    for value, segment in zip(values, segments):
        labelmap[segment.mask.astype(bool, copy=False)] = value
    write_npz(path, labelmap, volume.axes)


def _stated_values(segments: Sequence[Segment]) -> list[int]:
    """The numbers that segments are named after, where all are; else their order."""
    names = [segment.name for segment in segments]
    if len(set(names)) == len(names) and all(name.isdecimal() and 0 < int(name) < 2**16 for name in names):
        return [int(name) for name in names]
    return list(range(1, len(segments) + 1))


def _read_seg_nrrd(path: Path) -> tuple[list[Segment], np.ndarray]:
    import SimpleITK as sitk
    from slicerio import segmentation as slicer_format

    content = slicer_format.read_segmentation(str(path), skip_voxels=True)
    if not content.get("segments"):
        return _read_labelmap(path)
    # the NRRD library unpacks whatever there is, ITK no more than the header announces; layers are its components
    voxels = sitk.GetArrayFromImage(image_reader(path).Execute())
    layers = np.moveaxis(voxels, 3, 0) if voxels.ndim == 4 else voxels[np.newaxis]
    if layers.ndim != 4:
        raise UserError("it is not 3D")
    # the library sorts by number, but drops the numbers
    names = [name for _, name in sorted(_read_names(path).items())]
    if len(names) != len(content["segments"]):
        names = [fields.get("name", fields["id"]) for fields in content["segments"]]
    segments = []
    # Slicer 4.10 and older wrote neither labels nor layers: one layer for each segment, in their order
    has_layers = len(layers) == 1 or any("layer" in fields for fields in content["segments"])
    for number, (name, fields) in enumerate(zip(names, content["segments"])):
        mask = fields.get("labelValue", 1) == layers[fields.get("layer", 0 if has_layers else number)]
        terminology, segment_id = fields.get("terminology"), str(fields.get("id", ""))
        red, green, blue = fields.get("color", (None, None, None))
        segments.append(
            Segment(
                name,
                np.ascontiguousarray(mask),
                None if red is None else (red, green, blue),
                slicer_format.terminology_entry_to_string(terminology) if terminology else None,
                segment_id if SEGMENT_ID.fullmatch(segment_id) else "",
            )
        )
    return segments, lps_to_ras(content["ijkToLPS"])


def _reader(path: Path, volume: Volume | None) -> Callable[[Path], tuple[list[Segment], np.ndarray | None]]:
    if path.name.lower().endswith(".nrrd"):
        return _read_seg_nrrd
    return (lambda path: _read_dicom(path, volume)) if is_dicom(path) else _read_labelmap


def _read_dicom(path: Path, volume: Volume | None) -> tuple[list[Segment], np.ndarray | None]:
    """A DICOM SEG, or the structures of an RTSTRUCT, which has no grid of its own, on that of its scan."""
    from EfficientMedSAM2Lib.imaging.dicom.contours import is_rtstruct, read_contours
    from EfficientMedSAM2Lib.imaging.dicom.segmentations import read_dicom_seg

    if is_rtstruct(path):
        if volume is None:
            raise UserError("it holds contours, which need the grid of their scan")
        return [Segment(*found) for found in read_contours(path, volume.shape_kji, volume.ijk_to_ras)], None
    masks, ijk_to_ras = read_dicom_seg(path)
    return [Segment(name, mask) for name, mask in masks], ijk_to_ras


def _read_labelmap(path: Path) -> tuple[list[Segment], np.ndarray]:
    volume = read_volume(path)
    if volume.array.ndim != 3:
        raise UserError("it has colours, so it is a picture rather than a labelmap")
    values = [value for value in np.unique(volume.array) if value != 0]
    if len(values) > 1000:
        raise UserError("it has more than 1000 different values, so it is a scan rather than a labelmap")
    return [Segment(f"Segment_{value:g}", volume.array == value) for value in values], volume.ijk_to_ras


def _read_npz(path: Path, volume: Volume | None) -> list[Segment]:
    """The label map of an archive, which lies on the grid of its scan and says no other."""
    labelmap = read_npz_labels(path)
    if labelmap is None:
        raise UserError("it has no label map: 'segs', 'gts' or 'label'")
    if volume is not None and labelmap.shape != volume.shape_kji:
        raise UserError(f"its label map has shape {labelmap.shape}, the scan {volume.shape_kji}")
    return [Segment(str(value), labelmap == value) for value in np.unique(labelmap) if value]
