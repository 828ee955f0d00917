"""Label maps (``.nii``, ``.nii.gz``, ``.nrrd``, ``.mha``): one number a voxel, 1, 2, ... in the order of the segments.

They hold no names, and of segments that overlap one: the smaller, since a lesion in an organ is the one that would be
lost for good. How many voxels another segment loses by that is said. What was done to the scan on reading stands in a
comment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import last_line, replacing
from EfficientMedSAM2Lib.core.geometry import check_matrix, grid_offset, lps_to_ras, spacing_of
from EfficientMedSAM2Lib.imaging.formats.files import quiet_libraries
from EfficientMedSAM2Lib.imaging.formats.nifti import NiftiForms
from EfficientMedSAM2Lib.imaging.segment import GRID_TOLERANCE, NOTES_KEY, Segment, Written, check_geometry
from EfficientMedSAM2Lib.imaging.terminology import segment_colors
from EfficientMedSAM2Lib.imaging.volumes import Volume, image_to_ras

if TYPE_CHECKING:
    import nibabel
    import SimpleITK

NIFTI_SUFFIXES = (".nii.gz", ".nii")
LABELMAP_SUFFIXES = (*NIFTI_SUFFIXES, ".nrrd", ".mha")
#: Labels are numbers of 16 bits at most, which every program reads.
MAX_LABELS = 65535
_NIFTI_MAX_SIZE = 32767
_SCANNER = 1  # NIfTI's code for positions in the scanner's own space


def flattened(segments: Sequence[Segment]) -> Written:
    """Segments as a label map holds them: of two that overlap, the voxels are the smaller one's."""
    sizes = [int(np.count_nonzero(segment.mask)) for segment in segments]
    masks = [segment.mask.astype(bool, copy=False) for segment in segments]
    notes = []
    taken = np.zeros(masks[0].shape, dtype=bool)
    # From the smallest: what it has, the others lose. Of equals, the later keeps.
    order = sorted(range(len(segments)), key=lambda n: (sizes[n], -n))
    for at, number in enumerate(order):
        overlap = masks[number] & taken
        if overlap.any():
            keepers = [other for other in order[:at] if (masks[other] & overlap).any()]
            names = " and ".join(repr(segments[keeper].name) for keeper in sorted(keepers))
            shared = int(np.count_nonzero(overlap))
            notes.append(
                f"{segments[number].name!r} overlaps {names} in {shared} of its {sizes[number]} voxels; "
                "a label map holds each voxel once, for the smaller segment. Write .seg.nrrd to keep both."
            )
            masks[number] = masks[number] & ~taken
        taken |= masks[number]
    return Written(tuple(replace(segment, mask=mask) for segment, mask in zip(segments, masks)), tuple(notes))


def label_type(highest: int) -> type:
    """Number type of a map with labels up to this one.

    Raises:
        UserError: there are more than any format's 16 bits count.
    """
    if highest > MAX_LABELS:
        raise UserError(f"{highest} segments are more than the {MAX_LABELS} that a file can number; write fewer.")
    return np.uint8 if highest <= 255 else np.uint16


def write_labelmap(path: Path, segments: Sequence[Segment], volume: Volume) -> None:
    """Write segments that do not overlap, and read the file back before it gets its name.

    Raises:
        UserError: the format cannot hold the grid, or the file cannot be written.
    """
    labels: np.ndarray = np.zeros(volume.shape_kji, dtype=label_type(len(segments)))
    for label, segment in enumerate(segments, start=1):
        labels[segment.mask] = label
    ending = next(suffix for suffix in LABELMAP_SUFFIXES if path.name.lower().endswith(suffix))
    nifti = ending in NIFTI_SUFFIXES
    if nifti and max(volume.shape_kji) > _NIFTI_MAX_SIZE:
        raise UserError(
            f"A NIfTI file holds at most {_NIFTI_MAX_SIZE} voxels along an axis; this scan has "
            f"{max(volume.shape_kji)}; use .nrrd."
        )

    def check(file: Path) -> None:
        found, ijk_to_ras = _read_by_nibabel(file) if nifti else _read_by_itk(file)
        check_geometry(ijk_to_ras, volume, ending)
        if not np.array_equal(found, labels):
            raise UserError(f"Cannot write {path}: it reads back as another label map than was written.")

    with replacing(path, check) as temporary:
        if nifti:
            import nibabel

            label_image = nifti_image(labels, volume.ijk_to_ras, volume.nifti_forms)
            if volume.notes:
                comment = nibabel.nifti1.Nifti1Extension("comment", " ".join(volume.notes).encode())
                label_image.header.extensions.append(comment)
            nibabel.save(label_image, temporary)
        else:
            import SimpleITK as sitk

            image = array_to_image(labels, volume.ijk_to_ras)
            if volume.notes:
                image.SetMetaData(NOTES_KEY, " ".join(volume.notes))
            with quiet_libraries():
                sitk.WriteImage(image, str(temporary), useCompression=True)


def nifti_image(array: np.ndarray, ijk_to_ras: Any, forms: NiftiForms | None = None) -> nibabel.Nifti1Image:
    """nibabel's image of a (D,H,W) array: its sform is the matrix; the qform too, where it can be that.

    A qform has no room for shear. Where the matrix has some the qform is off, so that every reader takes the sform.
    With the forms of the scan, the image has both as they were, so that it lies on the scan in whatever program.
    """
    import nibabel

    affine = check_matrix(ijk_to_ras)
    image = nibabel.Nifti1Image(array.T, affine)
    image.header.set_xyzt_units("mm")
    if forms is not None:
        image.set_qform(forms.qform, forms.qform_code)
        image.set_sform(forms.sform, forms.sform_code)
        if np.allclose(image.affine, affine, atol=1e-4):
            return image
    image.set_sform(affine, _SCANNER)
    image.set_qform(affine, _SCANNER, strip_shears=True)
    if grid_offset(affine, image.get_qform(), array.shape) > GRID_TOLERANCE:
        image.set_qform(None, 0)
    return image


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


def _read_by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (D,H,W) and matrix (ijk_to_ras) of a file, by its sform where that is on: ITK reads none that is sheared.

    Raises:
        UserError: The file is none, or is cut off.
    """
    import nibabel

    try:
        image: Any = nibabel.load(path)
        return np.asarray(image.dataobj).T, np.asarray(image.affine)
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise UserError(f"{path} is no whole NIfTI file ({last_line(error)}).") from error


def _read_by_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import SimpleITK as sitk

    with quiet_libraries():
        image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), image_to_ras(image)


def write_label_names(path: Path, segments: Sequence[Segment]) -> None:
    """Write what the numbers of a label map mean, as BIDS has it: a TSV of index, name and colour.

    Args:
        path: The ``.tsv`` file.
        segments: As they were given to the writer of the label map: 1, 2, ... in their order.
    """
    colors = segment_colors([s.name for s in segments], [s.color for s in segments])
    lines = ["index\tname\tcolor"]
    for number, (segment, color) in enumerate(zip(segments, colors), start=1):
        shown = "#" + "".join(f"{round(255 * value):02x}" for value in color)
        lines.append(f"{number}\t{' '.join(segment.name.split())}\t{shown}")
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def same_voxels(ijk_to_ras: np.ndarray, shape_kji: Sequence[int], volume: Volume) -> bool:
    """Whether each voxel of a grid is one of the volume's, or would be, if that were larger."""
    step = np.linalg.inv(volume.ijk_to_ras) @ ijk_to_ras
    whole = np.round(step)
    if abs(abs(np.linalg.det(whole)) - 1) > 0.5:
        return False
    return grid_offset(volume.ijk_to_ras, volume.ijk_to_ras @ np.linalg.inv(whole) @ step, shape_kji) < GRID_TOLERANCE


def on_volume_grid(segment: Segment, ijk_to_ras: np.ndarray, volume: Volume) -> Segment:
    """The segment on the volume's grid."""
    import SimpleITK as sitk

    if segment.mask.shape == volume.shape_kji and np.allclose(ijk_to_ras, volume.ijk_to_ras, atol=1e-4):
        return segment
    image = array_to_image(segment.mask.astype(np.uint8), ijk_to_ras)
    grid = sitk.Image(list(volume.shape_kji[::-1]), sitk.sitkUInt8)
    grid.CopyInformation(array_to_image(np.zeros(volume.shape_kji, dtype=np.uint8), volume.ijk_to_ras))
    moved = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
    return replace(segment, mask=moved.astype(bool))
