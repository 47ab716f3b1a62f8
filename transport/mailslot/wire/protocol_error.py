"""Who broke the protocol: we, or the other side (after h11's local and remote errors)."""

from __future__ import annotations


class ProtocolError(Exception):
    """What both sides' faults have in common; never raised itself."""


class LocalProtocolError(ProtocolError):
    """We asked for something that the protocol does not allow now; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The other side sent something that the protocol does not allow; the session is over.

    Attributes:
        cause: `protocol_error`, or what it was seen to be instead: `not_a_mail_server`, `tls_port_mismatch`.
    """

    def __init__(self, message: str, *, cause: str = "protocol_error") -> None:
        super().__init__(message)
        self.cause = cause
