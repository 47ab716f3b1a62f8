"""Who it is that answered, where it was not the server that was wanted."""

from __future__ import annotations

from typing import Final

from mailslot.wire.protocol_error import RemoteProtocolError

# How each protocol begins to speak: TLS alerts and records (RFC 8446 section 5.1), HTTP (RFC 9112 section 4), POP3
# (RFC 1939 section 4), IMAP (RFC 9051 section 7.1), SSH (RFC 4253 section 4.2).
_BEGINNINGS: Final = (
    (b"\x15\x03", "TLS", "tls_port_mismatch"),
    (b"\x16\x03", "TLS", "tls_port_mismatch"),
    (b"HTTP/", "HTTP", "not_a_mail_server"),
    (b"<", "HTML", "not_a_mail_server"),
    (b"+OK", "POP3", "not_a_mail_server"),
    (b"-ERR", "POP3", "not_a_mail_server"),
    (b"* ", "IMAP", "not_a_mail_server"),
    (b"SSH-", "SSH", "not_a_mail_server"),
    (b"220", "SMTP or FTP", "not_a_mail_server"),
)


def not_a_reply(octets: bytes) -> RemoteProtocolError:
    """Return the error for `octets`, the beginning of what came where a reply was due."""
    shown = ascii(octets[:40].decode("ascii", "backslashreplace"))
    for beginning, name, cause in _BEGINNINGS:
        if octets.startswith(beginning):
            return RemoteProtocolError(f"{name} where a reply was due: {shown}", cause=cause)
    return RemoteProtocolError(f"not a reply: {shown}")


def undecided(octets: bytes) -> bool:
    """Tell whether `octets` are too few to know who it is."""
    return any(beginning.startswith(octets) for beginning, *_ in _BEGINNINGS)
