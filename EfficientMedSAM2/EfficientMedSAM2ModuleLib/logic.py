"""What the module does without its panel: settings, set-up, check of the network, sample data."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor, wait

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

logger = logging.getLogger("EfficientMedSAM2")


class EfficientMedSAM2Logic(ScriptedLoadableModuleLogic):
    """What the panel does, for scripts and tests."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self.restart_needed = False
        self.report = None

    def settings(self):
        """EngineSettings: what the user has chosen."""
        from EfficientMedSAM2ModuleLib.settings import EngineSettings

        return EngineSettings.load()

    def change_settings(self, settings):
        """Keep other EngineSettings; a check of the old ones does not count any more."""
        if settings != self.settings():
            settings.save()
            self.report = None

    def state(self):
        """SetupState: what is installed and what is missing."""
        from EfficientMedSAM2ModuleLib.setup_state import setup_state

        return setup_state(self.settings(), self.requirements(), self.restart_needed)

    def requirements(self):
        """Python packages that PyTorch needs besides."""
        from EfficientMedSAM2Lib.core.resources import resource_path
        from EfficientMedSAM2ModuleLib.setup_state import read_requirements

        return read_requirements(resource_path("requirements.txt"))

    def set_up(self, with_torch=False):
        """Install what is missing, with PyTorch even where it is not needed; returns False when the user declined."""
        from EfficientMedSAM2ModuleLib.installer import SetupDeclinedError, install_missing

        try:
            self.restart_needed = install_missing(self.state(), with_torch)
        except SetupDeclinedError:
            return False
        return True

    def window_presets(self):
        """Name, lower and upper bound in HU of each preset."""
        from EfficientMedSAM2Lib.core.windows import PRESETS

        return [(name, preset.low, preset.high) for name, preset in PRESETS.items()]

    def start_check(self):
        """Load the network and try it, in a thread; a Future of a CheckReport.

        Python joins the thread at the application's end: Slicer would abort if it was inside of torch then.
        """
        from EfficientMedSAM2ModuleLib.self_check import check_network

        settings, pool = self.settings(), ThreadPoolExecutor(1, "EfficientMedSAM2 check")
        check = pool.submit(lambda: check_network(settings.build_arguments()))
        pool.shutdown(wait=False)
        return check

    @staticmethod
    def is_finished(check, seconds):
        """Sleep until the end, at most so long; returns whether the check has ended.

        To be called from a timer: Slicer's event loop keeps Python's lock while it is in C++, so that a thread gets
        nowhere unless the main thread sleeps in Python now and then.
        """
        return bool(wait([check], seconds).done)

    def finish_check(self, check):
        """What a finished check found, as text."""
        error = check.exception()
        if error is not None:
            logger.error("The check failed: %s", error)
            return str(error)
        self.report = report = check.result()
        text = _(
            "Device: {device}, because {device_reason}.<br>Precision: {precision}, because {precision_reason}.<br>"
            "Speed: {milliseconds:.0f} ms from a click on a new slice to its mask."
        ).format(**vars(report))
        logger.info(text.replace("<br>", " "))
        return text

    def load_sample(self):
        """Load the tutorial's chest CT; returns its volume node.

        It is downloaded once. Without a network, the coarser copy that comes with the slicerio package is taken.

        Raises:
            UserError: neither is there.
        """
        import SampleData
        import slicer

        from EfficientMedSAM2Lib.core.errors import UserError
        from EfficientMedSAM2Lib.runtimes.choice import installed
        from EfficientMedSAM2ModuleLib.sample_data import CT_SAMPLE

        try:
            node = SampleData.SampleDataLogic().downloadSample(CT_SAMPLE)
        except Exception:  # Slicer raises whatever comes of it: an IndexError where nothing was downloaded
            logger.info("The sample could not be downloaded.", exc_info=True)
            node = None
        if node is None and installed("slicerio"):
            from EfficientMedSAM2Lib.imaging.sample import sample_scan

            node = slicer.util.loadVolume(str(sample_scan()))
        if node is None:
            raise UserError("The sample cannot be downloaded; check the network, or open a scan of your own.")
        return node
