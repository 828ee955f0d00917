"""What a user did wrong, as distinct from what is wrong in the program."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input: its message is for the user, says what is wrong and what to do, and needs no traceback.

    A ValueError, as NumPy and the drop-in interfaces raise it; front ends show the message of a `UserError` and
    report any other ValueError as a fault of the program.
    """
