"""The minimum rate at which a server must send a mail, and the list of them."""

from __future__ import annotations

from typing import Final

from mailslot.errors import NetworkError

MAIL_TIMEOUT: Final = 600.0
"""Seconds that a mail of any size may take."""

LISTING_TIMEOUT: Final = 3600.0
"""Seconds that the list of the mails may take; 200,000 of them take less at 3 kB/s."""

_MIN_OCTETS_PER_SECOND: Final = 1000.0
"""The average rate that is required after that time. The session's own timeout begins again with each octet, so without
this limit a server that sends an octet now and then could keep a poll running for years."""


def check_pace(octets: int, seconds: float) -> None:
    """Check that a mail arrives fast enough.

    Args:
        octets: the octets received so far.
        seconds: the seconds since it began.

    Raises:
        NetworkError: it arrives too slowly.
    """
    if seconds > MAIL_TIMEOUT + octets / _MIN_OCTETS_PER_SECOND:
        sentence = f"The mail server gives a mail too slowly: {octets} octets in {seconds:.0f} seconds."
        raise NetworkError(sentence, stage="transaction", cause="connection_lost", retryable=True, detail=sentence)
