"""Cubes around objects of volumes, for the 3D context network."""
