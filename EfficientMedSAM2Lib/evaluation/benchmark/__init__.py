"""Measurements of time and memory, each a module to run with `python -m`."""
