"""What every other room stands on: numpy and the standard library only."""
