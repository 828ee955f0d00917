"""A 3D Slicer scene of a case: scan, segmentation and prompts, to be opened with a double click and corrected.

The ``.mrml`` refers to the files where they lie, by relative paths; nothing is copied. It is XML with the few
attributes that Slicer needs, so that a cohort can be made ready on a machine without Slicer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from EfficientMedSAM2Lib.cohort.records.folders import PROMPT_OF_SCENE, PROMPTS, SCENE, SEGMENTATION, case_path
from EfficientMedSAM2Lib.cohort.records.outcome import CaseOutcome
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.imaging.dicom.reader import dicom_files
from EfficientMedSAM2Lib.imaging.markups import read_markups, slicer_type

_VOLUME = "vtkMRMLScalarVolumeNode1"
#: Slicer's own node of this ID is in every scene; a volume without colours is drawn black.
_GREY = "vtkMRMLColorTableNodeGrey"


def write_scene(output: Path, outcome: CaseOutcome) -> Path:
    """Write the scene of a finished case into its folder.

    Args:
        output: Output folder of the cohort.
        outcome: A finished case.

    Returns:
        The ``.mrml`` file.

    Raises:
        UserError: The scan is not where it was, or the file cannot be written.
    """
    folder = case_path(output, outcome.name)
    image = Path(outcome.record["image"])
    if not image.exists():
        raise UserError(f"The scan {image} of case {outcome.name!r} is gone; put it back to review the case.")
    requested = outcome.record.get("requested", {})
    sources = [image]
    if image.is_dir():
        files = dicom_files(image, requested.get("time_point"), requested.get("series"))
        sources = [Path(file) for file in files]
    root = ET.Element("MRML", version="Slicer5.6.0", userTags="")
    _volume(root, [_relative(source, folder) for source in sources], outcome)
    if (folder / SEGMENTATION).is_file():
        _segmentation(root)
    if (folder / PROMPTS).is_file():
        _prompts(root, folder)
    path = folder / SCENE
    with replacing(path) as temporary:
        ET.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)
    return path


def _volume(root: ET.Element, sources: Sequence[str], outcome: CaseOutcome) -> None:
    window, colour = outcome.record["window"], bool(outcome.record.get("colour"))
    storage, display = "vtkMRMLVolumeArchetypeStorageNode1", "vtkMRMLVolumeDisplayNode1"
    # asked for a series, Slicer would also stack other files that are numbered like this one
    single = "1" if len(sources) == 1 else "0"
    files = {f"fileListMember{number}": source for number, source in enumerate(sources)} if len(sources) > 1 else {}
    files.update(fileName=sources[0], UseOrientationFromFile="1", singleFile=single)
    _node(root, "VolumeArchetypeStorage", storage, **files)
    shown = {"window": str(window["high"] - window["low"]), "level": str((window["high"] + window["low"]) / 2)}
    kind = "VectorVolume" if colour else "Volume"
    _node(root, f"{kind}Display", display, autoWindowLevel="0", colorNodeID=_GREY, **({} if colour else shown))
    references = f"display:{display};storage:{storage};"
    _node(root, kind, _VOLUME, name=outcome.name, references=references)


def _segmentation(root: ET.Element) -> None:
    _node(root, "SegmentationStorage", "vtkMRMLSegmentationStorageNode1", fileName=SEGMENTATION)
    _node(root, "SegmentationDisplay", "vtkMRMLSegmentationDisplayNode1")
    references = (
        "display:vtkMRMLSegmentationDisplayNode1;storage:vtkMRMLSegmentationStorageNode1;"
        f"referenceImageGeometryRef:{_VOLUME};"
    )
    _node(root, "Segmentation", "vtkMRMLSegmentationNode1", name="Segmentation", references=references)


def _prompts(root: ET.Element, folder: Path) -> None:
    """One node for each markup; Slicer reads one from a file, so each gets a file of its own."""
    from EfficientMedSAM2Lib.imaging.markups import write_markups

    for number, markup in enumerate(read_markups(folder / PROMPTS), start=1):
        file = PROMPT_OF_SCENE.format(number)
        write_markups(folder / file, [markup])
        kind = slicer_type(markup.kind)
        # lines and curves have the general kind of display
        shown = "MarkupsDisplay" if markup.kind == "line" or markup.is_curve else f"Markups{kind}Display"
        storage, display = f"vtkMRMLMarkupsJsonStorageNode{number}", f"vtkMRML{shown}Node{number}"
        _node(root, "MarkupsJsonStorage", storage, fileName=file)
        style = {"fillVisibility": "false", "propertiesLabelVisibility": "false"} if markup.kind == "box" else {}
        _node(root, shown, display, visibility="true", glyphScale="2", **style)  # nothing hides the mask
        references = f"display:{display};storage:{storage};"
        _node(root, f"Markups{kind}", f"vtkMRMLMarkups{kind}Node{number}", name=markup.name, references=references)


def _node(root: ET.Element, tag: str, identifier: str, **attributes: str) -> None:
    name = attributes.pop("name", identifier)
    ET.SubElement(root, tag, {"id": identifier, "name": name, **attributes})


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()
