"""Labelled images: manifests, reading, and the sample that comes with slicerio."""
