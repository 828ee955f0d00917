"""The cohort panel: the least certain cases of a cohort, opened and corrected. Needs nothing that Slicer lacks."""
