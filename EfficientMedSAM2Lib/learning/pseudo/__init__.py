"""Pseudo labels: slices of unlabelled images, box proposals and the filters that decide which masks to trust."""
