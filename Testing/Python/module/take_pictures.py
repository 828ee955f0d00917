"""Picture of the module's panel for README and catalogue: `python Testing/Python/module/take_pictures.py`."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "Testing" / "Python"))

from host.slicer_host import MODULE_FOLDER, SlicerHost  # noqa: E402


def main() -> None:
    """Render the panel; where weights are there, after a check of the network."""
    with SlicerHost() as host:
        module = host.load_module(MODULE_FOLDER / "EfficientMedSAM2.py")
        representation = module.widgetRepresentation()
        panel = representation.self()
        if panel.logic.state().ready:
            panel.ui.checkButton.click()
            host.process_events(120_000, until=lambda: panel.logic.report is not None)
            panel.ui.setupSection.collapsed = False
        host.grab(representation, REPOSITORY / "Screenshots" / "module-panel.png", 440)


if __name__ == "__main__":
    main()
