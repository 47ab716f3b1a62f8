"""Recognizing servers of other protocols by their first octets."""

from __future__ import annotations

from typing import Final

from mailslot.wire.protocol_error import RemoteProtocolError

# The first octets of TLS alerts and records (RFC 8446 section 5.1), HTTP (RFC 9112 section 4), POP3 (RFC 1939
# section 4), IMAP (RFC 9051 section 7.1) and SSH (RFC 4253 section 4.2).
_PROTOCOL_PREFIXES: Final = (
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


def not_a_reply_error(octets: bytes) -> RemoteProtocolError:
    """Return the error for octets that are not a reply, with the protocol that they look like."""
    shown = ascii(octets[:40].decode("ascii", "backslashreplace"))
    for beginning, name, cause in _PROTOCOL_PREFIXES:
        if octets.startswith(beginning):
            return RemoteProtocolError(f"{name} where a reply was due: {shown}", cause=cause)
    return RemoteProtocolError(f"not a reply: {shown}")


def may_be_other_protocol(octets: bytes) -> bool:
    """Tell whether `octets` may be the beginning of a known prefix, so that more are needed to decide."""
    return any(beginning.startswith(octets) for beginning, *_ in _PROTOCOL_PREFIXES)
