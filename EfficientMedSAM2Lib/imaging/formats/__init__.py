"""File formats of volumes, and the rules for opening files that strangers made."""
