"""A second look where the first error does not tell it all: the other encryption, the certificate, the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot.diagnosis.alternate_tls import detect_alternate_tls
from mailslot.diagnosis.certificate import day, fetch_peer_certificate
from mailslot.diagnosis.clock import is_wrong, measure_clock_skew, skew_by_certificate
from mailslot.errors import NetworkError
from mailslot.net.endpoint import Security

if TYPE_CHECKING:
    from mailslot.diagnosis.certificate import PeerCertificate
    from mailslot.errors import MailError
    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.slots.connector import Connector

_LONGEST: Final = 5.0
"""Seconds for each step of a second look, or the slot's timeout if that is shorter."""

_DATES: Final = frozenset({"certificate_expired", "certificate_not_yet_valid"})


@dataclass(slots=True)
class FollowUp:
    """What a second look has shown.

    Attributes:
        error: the error, or what it has turned out to be.
        facts: for the diagnosis.
        details: for an engineer, a sentence each.
        skew: seconds that true time is ahead of this device; None where that was not asked.
        certificate: the server's; None where it was not looked at, or could not be.
    """

    error: MailError
    facts: dict[str, str] = field(default_factory=dict[str, str])
    details: list[str] = field(default_factory=list[str])
    skew: float | None = None
    certificate: PeerCertificate | None = None


async def follow_up_checks(error: MailError, accesses: Connector, access: ConnectionProfile) -> FollowUp:
    """Look again, in the clear or without verification, where that tells more; nothing secret is sent.

    Args:
        error: what failed.
        accesses: the device's.
        access: what it failed with.
    """
    found = FollowUp(error)
    timeout = min(access.timeout, _LONGEST)
    if error.cause.startswith("certificate_"):
        await _look_at_certificate(found, accesses, access, timeout)
    elif _looks_like_the_wrong_way(error):
        await _try_the_other_way(found, access, timeout)
    return found


def _looks_like_the_wrong_way(error: MailError) -> bool:
    silent = error.cause in {"connection_timeout", "connection_lost"} and error.stage == "greeting"
    return silent or error.cause == "tls_port_mismatch" or (error.cause == "tls_failed" and error.retryable)


async def _try_the_other_way(found: FollowUp, access: ConnectionProfile, timeout: float) -> None:
    error, endpoint = found.error, access.endpoint
    speaks = await detect_alternate_tls(access, timeout)
    if speaks is None:
        return
    found.facts["security_now"] = endpoint.security.value
    if speaks is Security.NONE:
        found.error = NetworkError(
            f"The mail server {endpoint.host} does not offer encryption on port {endpoint.port}.",
            stage=error.stage,
            cause="tls_not_offered",
            detail=error.detail,
        )
        found.details.append(f"port {endpoint.port} speaks without encryption, and offers none")
        return
    found.facts["security_right"] = speaks.value
    found.details.append(f"tried the other way: port {endpoint.port} speaks {speaks.value}")
    found.error = NetworkError(
        f"Port {endpoint.port} of the mail server {endpoint.host} speaks {speaks.value}.",
        stage=error.stage,
        cause="tls_port_mismatch",
        detail=error.detail,
    )


async def _look_at_certificate(found: FollowUp, accesses: Connector, access: ConnectionProfile, timeout: float) -> None:
    seen = found.certificate = await fetch_peer_certificate(access.endpoint, access.protocol, timeout)
    if seen is not None:
        found.details.append(str(seen))
        if seen.names:
            found.facts["seen_name"] = ", ".join(seen.names)
        early = time.time() < seen.valid_from
        found.facts["until"] = day(seen.valid_from if early else seen.valid_until)
    if found.error.cause not in _DATES:
        return
    skew, shows = await measure_clock_skew(accesses, access, timeout)
    if skew is None and seen is not None:
        skew = skew_by_certificate(seen, shows)
    if skew is not None and is_wrong(skew):
        found.skew = skew
        found.details.append(
            f"this device's clock is {abs(skew) / 60:,.0f} minutes {'behind' if skew > 0 else 'ahead'}"
        )
