"""Running a cohort: a cluster of workers, the loop that feeds them, and its progress."""
