"""The process that a network was built in. In a fork of it the network's threads do not run, and it would hang."""

from __future__ import annotations

import os
from weakref import WeakKeyDictionary

from EfficientMedSAM2Lib.runtimes.network import Network

_homes: WeakKeyDictionary[Network, int] = WeakKeyDictionary()


def note_home(model: Network) -> None:
    """Remember that a network belongs to this process, unless it is known to belong to another."""
    _homes.setdefault(model, os.getpid())


def check_home(model: Network) -> None:
    """Refuse to ask a network that was built before this process was forked.

    Raises:
        RuntimeError: It was.
    """
    if _homes.get(model, os.getpid()) != os.getpid():
        raise RuntimeError(
            "This process was forked after the network was built, and the network's threads do not run in a fork; "
            "build the network in each process, or start processes by multiprocessing's 'spawn' method."
        )
