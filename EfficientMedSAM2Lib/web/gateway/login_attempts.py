"""Wrong tokens: each makes the next one from the same address wait longer, and the log tells of it."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

#: What the first wrong token costs, in seconds; the next costs twice as much, and so on.
FIRST_S, MOST_S = 0.5, 60.0
#: An address is forgotten so long after its last wrong token.
FORGET_S = 600.0
#: The oldest are forgotten when there are more.
MAX_ADDRESSES = 10_000


class TooManyAttempts(Exception):
    """The address has to wait before a token of it is looked at.

    Attributes:
        seconds: How long.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wait {seconds:.0f} s")
        self.seconds = seconds


class LoginAttempts:
    """Wrong tokens of each address. Neighbours in one IPv6 network of 64 bits are one address."""

    def __init__(self) -> None:
        self._wrong: dict[str, tuple[int, float]] = {}  # how many, and until when to wait; the latest is the last

    def check(self, address: str | None, is_right: Callable[[], bool]) -> bool:
        """Whether a token is right; nothing can come in between looking at it and counting it.

        Raises:
            TooManyAttempts: it is not looked at.
        """
        network, now = _network(address), time.monotonic()
        count, until = self._wrong.pop(network, (0, 0.0))
        if now < until:
            self._wrong[network] = (count, until)
            raise TooManyAttempts(until - now)
        if is_right():
            return True
        count = 1 if now - until > FORGET_S else count + 1
        seconds = min(FIRST_S * 2 ** min(count - 1, 10), MOST_S)
        self._wrong[network] = (count, now + seconds)
        if len(self._wrong) > MAX_ADDRESSES:
            del self._wrong[next(iter(self._wrong))]
        logger.warning("Wrong token from %s, number %d; the next one is looked at in %.1f s.", network, count, seconds)
        return False


def _network(address: str | None) -> str:
    try:
        known = ipaddress.ip_address((address or "").split("%")[0])
    except ValueError:
        return "unknown"
    if known.version == 6 and not known.is_loopback:
        mapped = known.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((known, 64), strict=False))
    return str(known)
