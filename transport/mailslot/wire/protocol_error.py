"""Protocol errors, local and remote, as in h11."""

from __future__ import annotations


class ProtocolError(Exception):
    """The base class; never raised itself."""


class LocalProtocolError(ProtocolError):
    """The caller asked for something that the protocol does not allow now; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The server violated the protocol; the session is over.

    Attributes:
        cause: `protocol_error`, or a more precise one such as `not_a_mail_server` or `tls_port_mismatch`.
    """

    def __init__(self, message: str, *, cause: str = "protocol_error") -> None:
        super().__init__(message)
        self.cause = cause
