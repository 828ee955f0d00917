"""Whole scans: one with its prompts, and many of them."""
