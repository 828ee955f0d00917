"""Evaluation: protocols, metrics, networks under test and baselines, reports. Command: `efficient-medsam2 evaluate`."""
