"""One file for each `efficient-medsam2 <command>`, with `add_arguments(parser)` and `run(args)`."""
