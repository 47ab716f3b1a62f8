"""The address of a mail server, and how the connection is encrypted."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import Enum

import idna

from mailslot.errors import InputError

_MAX_TIMEOUT = 1e9


class Security(Enum):
    """How a connection is encrypted."""

    NONE = "none"
    """Not at all. No credential is ever sent over such a connection."""
    STARTTLS = "starttls"
    """By STARTTLS or STLS before anything else; never skipped (RFC 3207, RFC 2595)."""
    TLS = "tls"
    """From the first octet (RFC 8314)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A mail server's address.

    Attributes:
        host: a host name, in Unicode or as A-labels, or an IP address literal.
        port: 1 to 65535.
        security: how the connection is encrypted.

    Raises:
        InputError: the host or the port cannot be one.
    """

    host: str
    port: int
    security: Security

    def __post_init__(self) -> None:
        if not isinstance(self.port, int) or not 1 <= self.port <= 65535:
            raise InputError(f"The port must be a number from 1 to 65535, not {self.port!r}.", stage="resolve")
        if not isinstance(self.security, Security):
            raise InputError(
                f"The security must be Security.NONE, STARTTLS or TLS, not {self.security!r}.",
                stage="resolve",
            )
        _ = self.ascii_host

    @property
    def ascii_host(self) -> str:
        """The host as it goes to the resolver and into certificates: A-labels, or the address literal.

        Raises:
            InputError: it is neither a host name nor an address.
        """
        host = self.host.removesuffix(".") if isinstance(self.host, str) else ""
        try:
            address = str(ipaddress.ip_address(host.strip("[]")))
        except ValueError:
            pass
        else:
            if re.fullmatch(r"[0-9a-f.:]+(?:%[A-Za-z0-9_.-]{1,64})?", address):
                return address
            host = ""
        if host.isascii() and host and all(c.isalnum() or c in "-._" for c in host) and ".." not in host:
            return host.lower()
        try:
            return idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise InputError(
                f"The server name {self.host!r} is not a host name.",
                stage="resolve",
                detail=str(error),
            ) from None

    def __str__(self) -> str:
        return f"{self.host}:{self.port} ({self.security.value})"


def format_seconds(timeout: float) -> str:
    """Return a duration for a sentence, such as ``30 seconds``."""
    return f"{timeout:.3g} second{'' if timeout == 1 else 's'}"


def check_timeout(seconds: float) -> None:
    """Check a timeout.

    Raises:
        InputError: it is not a number of seconds over 0.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _MAX_TIMEOUT:
        raise InputError(f"A timeout must be a number of seconds over 0, not {seconds!r:.40}.", stage="connect")
