"""Reports of an evaluation: averages, tables, files and pictures."""
