"""What every other room stands on: the standard library and numpy only, one of each thing."""
