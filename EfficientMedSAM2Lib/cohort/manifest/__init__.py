"""Which cases a cohort has: a CSV or JSON file, or a BIDS folder, checked as a whole before anything is computed."""
