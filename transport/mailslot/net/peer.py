"""A server's data about a client's connection below the mail protocol."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """The negotiated TLS parameters.

    Attributes:
        version: such as ``"TLSv1.3"``.
        cipher: OpenSSL's name of the cipher suite.
        bits: the length of its key.
        fingerprint: the SHA-256 digest of the client's certificate in DER, as 64 lower-case hexadecimal digits; None
            without one. The certificate is not verified: only its fingerprint identifies a client.
    """

    version: str
    cipher: str
    bits: int
    fingerprint: str | None = None


@dataclass(slots=True)
class Peer:
    """A client's connection.

    Attributes:
        listener: the name of the listener that accepted it.
        address: the client's IP address; IPv4 addresses also on an IPv6 socket.
        port: the client's port.
        local_address: our own IP address on this connection.
        local_port: our own port.
        tls: the TLS in use; None without TLS.
        tls_error: OpenSSL's reason for a failed handshake, such as ``"UNSUPPORTED_PROTOCOL"``; None if none failed.
    """

    listener: str
    address: str
    port: int
    local_address: str = ""
    local_port: int = 0
    tls: TlsInfo | None = None
    tls_error: str | None = None
