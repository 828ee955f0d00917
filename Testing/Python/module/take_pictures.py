"""Pictures of the module's panel and its cohort section: `python Testing/Python/module/take_pictures.py`.

With `--no-check` the network is not timed, for a machine that is busy, and the cohort section is left as it is.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "Testing" / "Python"))

import slicerio  # noqa: E402
from host.slicer_host import MODULE_FOLDER, SlicerHost  # noqa: E402

from EfficientMedSAM2Lib.cohort.manifest.read import read_manifest  # noqa: E402
from EfficientMedSAM2Lib.cohort.records.settings import RunSettings  # noqa: E402
from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions  # noqa: E402
from EfficientMedSAM2Lib.cohort.run.cohort import run_cohort  # noqa: E402

SCREENSHOTS = REPOSITORY / "Screenshots"
WIDTH = 440
#: Case, and the structures of the demo that it has.
CASES = {"p001": ("right lung", "left lung"), "p002": ("lumbar vertebral column",), "p003": ("left lung",),
         "p004": ("right lung",)}  # fmt: skip


def main() -> None:
    """Render the panel, after a check of the network; and its cohort section with a case open and one done."""
    with SlicerHost() as host, tempfile.TemporaryDirectory() as folder:
        module = host.load_module(MODULE_FOLDER / "EfficientMedSAM2.py")
        from EfficientMedSAM2ModuleLib.effect_registration import register_effect, segment_editor

        register_effect(MODULE_FOLDER)
        representation = module.widgetRepresentation()
        panel = representation.self()
        if "--no-check" not in sys.argv:
            panel.ui.checkButton.click()
            assert host.process_events(120_000, until=lambda: panel.logic.report is not None)
        panel.ui.setupSection.collapsed = False
        host.grab(representation, SCREENSHOTS / "module-panel.png", WIDTH)
        if "--no-check" in sys.argv:
            return
        section, cohort = panel._kept[:2]
        output = Path(folder) / "lung study" / "results"
        make_cohort(Path(folder), output)
        cohort.folderEdit.currentPath = str(output)
        cohort.readButton.click()
        cohort.nextButton.click()
        cohort.saveNextButton.click()
        section.collapsed = False
        host.grab(section, SCREENSHOTS / "cohort-panel.png", WIDTH)
        print([[case.name, case.standing, case.text] for case in cohort.cases])
        controller = segment_editor().activeEffect().self().controller
        host.process_events(120_000, until=lambda: not controller.is_busy)  # it is loading the network
        cohort.review.close()


def make_cohort(folder: Path, output: Path) -> None:
    """Four cases of the sample CT, computed with the shipped weights."""
    image = Path(slicerio.__file__).parent / "data" / "CTChest4.nrrd"
    output.parent.mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "image", "prompts", "segment"])
        for case, names in CASES.items():
            for name in names:
                writer.writerow([case, image, REPOSITORY / "Resources" / "Demo" / f"{name}.mrk.json", name])
    run_cohort(read_manifest(folder / "manifest.csv"), output, RunSettings(), ClusterOptions(in_process=True))


if __name__ == "__main__":
    main()
