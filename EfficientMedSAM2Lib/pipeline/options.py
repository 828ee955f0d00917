"""Options of the command line with their older spellings, and what was given for a report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


def add_option(parser: argparse._ActionsContainer, name: str, also: Sequence[str] = (), **settings: Any) -> None:
    """Declare an option that is spelt with hyphens, with underscores too.

    Args:
        parser: Or a group of one.
        name: Of the option, such as "--data-dir"; the only spelling that the help shows.
        also: Older names.
        settings: As for `add_argument`.
    """
    underscored = f"--{name[2:].replace('-', '_')}"
    action = parser.add_argument(*dict.fromkeys((name, underscored, *also)), **settings)
    action.option_strings = [name]


def given_options(args: argparse.Namespace) -> dict[str, str]:
    """What a command was asked to do, for its report: every option with its value as text."""
    return {name: str(value) for name, value in vars(args).items() if name not in ("run", "command", "debug")}
