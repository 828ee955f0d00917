"""Options of the command line with their first, underscored spellings."""

from __future__ import annotations

import argparse
from typing import Any


def add_option(parser: argparse._ActionsContainer, *names: str, **settings: Any) -> None:
    """Declare an option spelt with hyphens; with underscores it is taken too, without being shown in the help.

    Args:
        parser: Or a group of one.
        names: Of the option, such as "--data-dir"; the last ones may be older names that the help does show.
        settings: As for `add_argument`.
    """
    older = [f"--{name[2:].replace('-', '_')}" for name in names if "-" in name[2:]]
    action = parser.add_argument(*names, *older, **settings)
    action.option_strings = list(names)
