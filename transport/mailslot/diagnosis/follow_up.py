"""Further checks after an error that leaves several causes: the other encryption, the certificate, the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot.diagnosis.alternate_tls import detect_alternate_tls
from mailslot.diagnosis.certificate import fetch_peer_certificate
from mailslot.diagnosis.clock import is_clock_wrong, measure_clock_skew, skew_by_certificate
from mailslot.errors import NetworkError
from mailslot.net.endpoint import Security
from mailslot.timestamps import day

if TYPE_CHECKING:
    from mailslot.errors import MailError
    from mailslot.net.certificate_contents import CertificateContents
    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.slots.connector import Connector

_STEP_TIMEOUT: Final = 5.0
"""Seconds for each step of a check, or the slot's timeout if that is shorter."""

_VALIDITY_CAUSES: Final = frozenset({"certificate_expired", "certificate_not_yet_valid"})


@dataclass(slots=True)
class FollowUp:
    """The result of further checks.

    Attributes:
        error: the error, or a more exact one.
        facts: for the diagnosis.
        details: sentences for an engineer.
        skew: seconds that the true time is ahead of this device; None if it was not measured.
        certificate: the server's certificate; None if it was not fetched.
    """

    error: MailError
    facts: dict[str, str] = field(default_factory=dict[str, str])
    details: list[str] = field(default_factory=list[str])
    skew: float | None = None
    certificate: CertificateContents | None = None


async def follow_up_checks(error: MailError, connector: Connector, profile: ConnectionProfile) -> FollowUp:
    """Connect again, without encryption or verification, if that may show more; no secret is sent."""
    follow_up = FollowUp(error)
    timeout = min(profile.timeout, _STEP_TIMEOUT)
    if error.cause.startswith("certificate_"):
        await _inspect_certificate(follow_up, connector, profile, timeout)
    elif _suggests_wrong_encryption(error):
        await _try_other_encryption(follow_up, profile, timeout)
    return follow_up


def _suggests_wrong_encryption(error: MailError) -> bool:
    silent = error.cause in {"connection_timeout", "connection_lost"} and error.stage == "greeting"
    return silent or error.cause == "tls_port_mismatch" or (error.cause == "tls_failed" and error.retryable)


async def _try_other_encryption(follow_up: FollowUp, profile: ConnectionProfile, timeout: float) -> None:
    error, endpoint = follow_up.error, profile.endpoint
    security = await detect_alternate_tls(profile, timeout)
    if security is None:
        return
    follow_up.facts["security_now"] = endpoint.security.value
    if security is Security.NONE:
        follow_up.error = NetworkError(
            f"The mail server {endpoint.host} does not offer encryption on port {endpoint.port}.",
            stage=error.stage,
            cause="tls_not_offered",
            detail=error.detail,
        )
        follow_up.details.append(f"port {endpoint.port} speaks without encryption, and offers none")
        return
    follow_up.facts["security_right"] = security.value
    follow_up.details.append(f"tried the other way: port {endpoint.port} speaks {security.value}")
    follow_up.error = NetworkError(
        f"Port {endpoint.port} of the mail server {endpoint.host} speaks {security.value}.",
        stage=error.stage,
        cause="tls_port_mismatch",
        detail=error.detail,
    )


async def _inspect_certificate(
    follow_up: FollowUp, connector: Connector, profile: ConnectionProfile, timeout: float
) -> None:
    certificate = follow_up.certificate = await fetch_peer_certificate(profile.endpoint, profile.protocol, timeout)
    if certificate is not None:
        follow_up.details.append(str(certificate))
        if certificate.names:
            follow_up.facts["seen_name"] = ", ".join(certificate.names)
        not_valid_yet = time.time() < certificate.valid_from
        follow_up.facts["until"] = day(certificate.valid_from if not_valid_yet else certificate.valid_until)
    if follow_up.error.cause not in _VALIDITY_CAUSES:
        return
    skew, evidence = await measure_clock_skew(connector, profile, timeout)
    if skew is None and certificate is not None:
        skew = skew_by_certificate(certificate, evidence)
    if skew is not None and is_clock_wrong(skew):
        follow_up.skew = skew
        follow_up.details.append(
            f"this device's clock is {abs(skew) / 60:,.0f} minutes {'behind' if skew > 0 else 'ahead'}"
        )
