"""Measures whether and by how much this device's clock is wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import MailError
from mailslot.oauth.token_errors import MAX_SKEW
from mailslot.timestamps import EARLIEST

if TYPE_CHECKING:
    from mailslot.net.certificate_contents import CertificateContents
    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.slots.connector import Connector

_EXPIRED: Final = "(verification result 10)"  # OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, as TokenServiceError has it


def is_clock_wrong(skew: float) -> bool:
    """Return whether a skew in seconds is large enough to matter."""
    return abs(skew) > MAX_SKEW


async def measure_clock_skew(
    connector: Connector, profile: ConnectionProfile, timeout: float
) -> tuple[float | None, str]:
    """Ask a token service for the time, by the ``Date`` header of its response (RFC 9110 section 6.6.1).

    Args:
        connector: the device's connector.
        profile: the connection profile whose provider is asked; nothing is measured without one.
        timeout: seconds for everything.

    Returns:
        seconds that its clock is ahead of this device, None if unknown; and what its certificate shows about this
        device's clock: ``early``, ``late``, or an empty text for nothing.
    """
    endpoints = None if profile.provider is None else profile.provider.endpoints
    if endpoints is None:
        return None, ""
    evidence = ""
    with anyio.move_on_after(timeout):
        try:
            http = await connector.token_sources.http(profile.settings)
            if endpoints.token:
                # An empty form is refused, in a response that has a date.
                return (await http.post(endpoints.token, {})).date_skew, ""
            return (await http.get(f"{endpoints.issuer}/.well-known/openid-configuration")).date_skew, ""
        except MailError as error:
            evidence = "early" if error.cause == "clock_wrong" else "late" if _EXPIRED in error.detail else ""
    return connector.token_sources.skew(profile.settings) or None, evidence


def skew_by_certificate(certificate: CertificateContents, evidence: str, now: float | None = None) -> float:
    """Return the least skew that a certificate's dates show, if something else shows a wrong clock too.

    Args:
        certificate: the mail server's, not valid by this device's clock.
        evidence: what the token service's certificate shows, as `measure_clock_skew` returns it.
        now: this device's time, in seconds since the epoch; None for the current one.

    Returns:
        seconds that the true time is ahead; 0.0 if nothing shows that the clock is wrong.
    """
    now = time.time() if now is None else now
    if now < certificate.valid_from and (now < EARLIEST or evidence == "early"):
        return max(certificate.valid_from, EARLIEST) - now + 1
    if now > certificate.valid_until and evidence == "late":
        return certificate.valid_until - now - 1
    return 0.0
