"""One scan with its prompts to one result: what `segment`, a cohort case and the demo share; and what they report."""
