"""How slowly a server may give a mail."""

from __future__ import annotations

from typing import Final

from mailslot.errors import NetworkError

MAIL_TIMEOUT: Final = 600.0
"""Seconds that a mail may take, however small it is."""

_MIN_OCTETS_PER_SECOND: Final = 1000.0
"""The average rate that a mail must reach after that. The session's own timeout starts again with each octet: without
this, a server that sends one now and then would keep a poll going for years."""


def check_pace(octets: int, seconds: float) -> None:
    """Leave a server from which a mail comes all too slowly.

    Args:
        octets: how many have come.
        seconds: how long that took.

    Raises:
        NetworkError: it is too slow.
    """
    if seconds > MAIL_TIMEOUT + octets / _MIN_OCTETS_PER_SECOND:
        sentence = f"The mail server gives a mail too slowly: {octets} octets in {seconds:.0f} seconds."
        raise NetworkError(sentence, stage="transaction", cause="connection_lost", retryable=True, detail=sentence)
