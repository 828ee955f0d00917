"""The page: its state, its commands, and the loop that keeps both up to date."""
