"""A server's capabilities on one connection, and its response to CAPA (RFC 2449)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailslot.sasl.server import NO_MECHANISMS

if TYPE_CHECKING:
    from mailslot.sasl.server import Mechanisms


@dataclass(slots=True)
class Offers:
    """A server's capabilities on one connection.

    Attributes:
        tls: whether STLS is offered.
        clear_text_passwords: whether signing in without TLS is allowed.
        mechanisms: functions that create a SASL mechanism, by its name; if empty, there is no AUTH.
    """

    tls: bool = False
    clear_text_passwords: bool = False
    mechanisms: Mechanisms = field(default_factory=lambda: NO_MECHANISMS)

    def may_sign_in(self, *, encrypted: bool) -> bool:
        """Whether signing in is allowed now."""
        return encrypted or self.clear_text_passwords

    def capabilities(self, *, encrypted: bool, signed_in: bool) -> list[str]:
        """Return the lines of the response to CAPA.

        Args:
            encrypted: whether TLS is in use.
            signed_in: whether somebody has signed in.
        """
        lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"]
        if self.tls and not encrypted:
            lines.append("STLS")
        # USER is not shown if it would be refused (RFC 2595 section 4).
        if signed_in or self.may_sign_in(encrypted=encrypted):
            lines.append("USER")
            if self.mechanisms and not signed_in:
                lines.append(f"SASL {' '.join(self.mechanisms)}")
        return lines
