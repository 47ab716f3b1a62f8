"""Finds out which encryption a server speaks on a port, after the configured one failed there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from mailslot.errors import MailError
from mailslot.net.endpoint import Endpoint, Security
from mailslot.slots.maildrop import open_maildrop
from mailslot.smtp.connect import connect_smtp

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from mailslot.slots.connection_profile import ConnectionProfile


async def detect_alternate_tls(profile: ConnectionProfile, timeout: float) -> Security | None:
    """Try STARTTLS where TLS failed, and TLS where STARTTLS failed, without signing in.

    Args:
        profile: the profile that failed; none of its secrets is used.
        timeout: seconds for each step; everything takes three times as long at most.

    Returns:
        the encryption that the server supports; `Security.NONE` if it offers none on this port; None if the other
        kind fails, too.
    """
    tls_was_tried = profile.endpoint.security is Security.TLS
    endpoint = Endpoint(
        profile.endpoint.host, profile.endpoint.port, Security.STARTTLS if tls_was_tried else Security.TLS
    )
    connected: AbstractAsyncContextManager[object]
    if profile.protocol == "SMTP":
        connected = connect_smtp(endpoint, None, ssl_context=profile.ssl_context, timeout=timeout)
    else:
        connected = open_maildrop(replace(profile, endpoint=endpoint, auth=None, token_source=None, timeout=timeout))
    with anyio.move_on_after(3 * timeout):
        try:
            async with connected:
                return endpoint.security
        except MailError as error:
            # A certificate error shows that the server speaks TLS here.
            if error.cause.startswith("certificate_"):
                return endpoint.security
            return Security.NONE if error.cause == "tls_not_offered" else None
    return None
