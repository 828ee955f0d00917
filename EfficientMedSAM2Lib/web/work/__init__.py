"""A session's work on disk: saved while it is made, found again after a crash or restart."""
