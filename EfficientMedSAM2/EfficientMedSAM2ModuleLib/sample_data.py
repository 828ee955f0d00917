"""Sample scans for the tutorial, in Slicer's Sample Data module."""

from __future__ import annotations

from pathlib import Path

CATEGORY = "EfficientMedSAM2"
_CT_SHA256 = "4507b664690840abb6cb9af2d919377ffc4ef75b167cb6fd0f747befdb12e38e"
_STORE = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"
#: Name under which ``SampleData.SampleDataLogic().downloadSample`` finds the chest CT.
CT_SAMPLE = "EfficientMedSAM2CTChest"


def register_sample_data(icons: Path) -> None:
    """Register the scans; nothing is downloaded before the user asks for it.

    Args:
        icons: Folder of the thumbnails.
    """
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=CT_SAMPLE,
        thumbnailFileName=str(icons / "CTChest.png"),
        uris=_STORE + _CT_SHA256,
        fileNames="CT-chest.nrrd",
        checksums=f"SHA256:{_CT_SHA256}",
        nodeNames="CTChest",
    )
