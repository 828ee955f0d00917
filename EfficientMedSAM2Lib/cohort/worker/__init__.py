"""What a worker does with one case: files in, a finished folder out."""
