"""Slice and 3D views of the page, and what the mouse and the keyboard do in them."""
