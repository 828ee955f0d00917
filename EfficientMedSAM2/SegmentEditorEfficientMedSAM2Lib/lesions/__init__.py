"""The part of the panel for many segments: their table, its files, and the search for others."""
