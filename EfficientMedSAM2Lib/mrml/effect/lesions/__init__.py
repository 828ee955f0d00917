"""Many objects of one segmentation: each read for a table, and others like them looked for."""
