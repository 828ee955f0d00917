"""From what the processes found to tables, plots and pictures."""
