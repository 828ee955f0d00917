"""The scripts that came with the first published version, each a few lines over the command of today."""
