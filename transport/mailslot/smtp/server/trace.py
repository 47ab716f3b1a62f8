"""The Received field that a server adds to a message (RFC 5321 section 4.4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from mailslot.smtp.server.backend import Connection

# A domain or an address literal; any other argument of HELO is left out.
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,255}|\[[A-Za-z0-9.:]{1,64}\]")
_FOLD: Final = "\r\n\t"


def received_value(connection: Connection, *, host: str, job: str, when: datetime, recipient: str = "") -> str:
    """Return the value of a Received field, folded with CRLF and a tab.

    Args:
        connection: the connection of the message's sender.
        host: our own name.
        job: the id of the message here.
        when: when it was received, with a time zone.
        recipient: the recipient, if there is only one; several would learn of each other (RFC 5321 section 7.6).
    """
    # It takes 10 ms to import.
    from email.utils import format_datetime  # noqa: PLC0415

    peer = connection.peer
    literal = f"[IPv6:{peer.address}]" if ":" in peer.address else f"[{peer.address}]"
    name = connection.hello or ""
    parts = [
        f"from {name if _NAME.fullmatch(name) else literal} ({literal})",
        f"by {host} with {transmission_type(connection)} id {job}",
    ]
    if peer.tls is not None:
        parts.append(f"(version={peer.tls.version} cipher={peer.tls.cipher} bits={peer.tls.bits})")
    if recipient:
        parts.append(f"for <{recipient}>")
    return f"{_FOLD.join(parts)};{_FOLD}{format_datetime(when)}"


def transmission_type(connection: Connection) -> str:
    """Return how the message was transmitted, such as ``"ESMTPSA"`` (RFC 3848)."""
    tls, signed_in = connection.peer.tls is not None, connection.user is not None
    # There is no type for TLS or AUTH without ESMTP; a client that uses them knows ESMTP.
    extended = connection.esmtp or tls or signed_in
    return f"{'E' if extended else ''}SMTP{'S' if tls else ''}{'A' if signed_in else ''}"
