"""The cohort panel: doubtful cases of a `cohort run`, opened, corrected and kept. Needs nothing that Slicer lacks."""
