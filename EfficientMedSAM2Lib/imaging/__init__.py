"""Geometry, intensity windows and file I/O: one subject a module, numpy arrays in and out.

Array index order is k, j, i (slice, row, column) throughout; points are in i, j, k or RAS order, as their name says.
"""
