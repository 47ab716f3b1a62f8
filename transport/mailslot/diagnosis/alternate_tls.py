"""Where port and encryption do not match: the encryption that the server does speak on this port."""

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


async def detect_alternate_tls(access: ConnectionProfile, timeout: float) -> Security | None:
    """Try TLS where it was not spoken first, and STARTTLS where it was; nobody signs in.

    Args:
        access: how it was tried; nothing secret of it is used.
        timeout: seconds for each step; all of it takes three times as long at most.

    Returns:
        what the server speaks: `Security.NONE` where it knows no encryption on this port. None where it does not
        speak the other way either.
    """
    first = access.endpoint.security is Security.TLS
    endpoint = Endpoint(access.endpoint.host, access.endpoint.port, Security.STARTTLS if first else Security.TLS)
    connected: AbstractAsyncContextManager[object]
    if access.protocol == "SMTP":
        connected = connect_smtp(endpoint, None, ssl_context=access.ssl_context, timeout=timeout)
    else:
        connected = open_maildrop(replace(access, endpoint=endpoint, auth=None, token_source=None, timeout=timeout))
    with anyio.move_on_after(3 * timeout):
        try:
            async with connected:
                return endpoint.security
        except MailError as error:
            # By then it has shown that it speaks TLS there.
            if error.cause.startswith("certificate_"):
                return endpoint.security
            return Security.NONE if error.cause == "tls_not_offered" else None
    return None
