"""Learning one structure from a handful of finished cases, on a CPU: the image encoder stays, small additions learn."""
