"""Whether this device's clock is wrong, and by how much."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import MailError
from mailslot.oauth.token_errors import MAX_SKEW

if TYPE_CHECKING:
    from mailslot.diagnosis.certificate import PeerCertificate
    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.slots.connector import Connector

EARLIEST: Final = 1_767_225_600.0
"""2026-01-01 in seconds since the epoch: nothing of this was made before, so no clock that shows less is right."""

_EXPIRED: Final = "(verification result 10)"  # OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, as TokenServiceError has it


def is_wrong(skew: float) -> bool:
    """Whether a clock that is off by so many seconds is worth a word."""
    return abs(skew) > MAX_SKEW


async def measure_clock_skew(
    accesses: Connector, access: ConnectionProfile, timeout: float
) -> tuple[float | None, str]:
    """Ask a token service for the time, by the ``Date`` of whatever it answers (RFC 9110 section 6.6.1).

    Args:
        accesses: the device's.
        access: whose provider is asked; one that is not known says nothing.
        timeout: seconds for all of it.

    Returns:
        seconds that it is ahead of this device, None where it does not say; and what its own certificate shows of
        our clock: ``early``, ``late`` or an empty text for nothing.
    """
    endpoints = None if access.provider is None else access.provider.endpoints
    if endpoints is None:
        return None, ""
    shows = ""
    with anyio.move_on_after(timeout):
        try:
            http = await accesses.token_sources.http(access.settings)
            if endpoints.token:
                # A form that asks for nothing is refused, in the service's own words and at its own time.
                return (await http.post(endpoints.token, {})).date_skew, ""
            return (await http.get(f"{endpoints.issuer}/.well-known/openid-configuration")).date_skew, ""
        except MailError as error:
            shows = "early" if error.cause == "clock_wrong" else "late" if _EXPIRED in error.detail else ""
    return accesses.token_sources.skew(access.settings) or None, shows


def skew_by_certificate(certificate: PeerCertificate, shows: str, now: float | None = None) -> float:
    """Return at least how wrong the clock is where a certificate's dates and something else agree that it is.

    Args:
        certificate: the mail server's, not valid by our clock.
        shows: what a second certificate shows, as `ask_the_time` returns it.
        now: this device's time, in seconds since the epoch; None for what it is.

    Returns:
        seconds that true time is ahead of it; 0.0 where nothing says that the clock is wrong.
    """
    now = time.time() if now is None else now
    if now < certificate.valid_from and (now < EARLIEST or shows == "early"):
        return max(certificate.valid_from, EARLIEST) - now + 1
    if now > certificate.valid_until and shows == "late":
        return certificate.valid_until - now - 1
    return 0.0
