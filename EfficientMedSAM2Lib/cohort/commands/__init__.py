"""Commands of the command line that work on whole scans: each has `add_arguments(parser)` and `run(args)`."""
