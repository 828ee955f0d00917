"""From what the processes answered to tables, the bar, plots and pictures."""
