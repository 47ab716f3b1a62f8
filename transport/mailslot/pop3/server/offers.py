"""What a server offers, and its response to CAPA (RFC 2449)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offers:
    """What a server offers on one connection.

    Attributes:
        tls: whether STLS is offered.
        clear_text_passwords: whether one can sign in without TLS.
    """

    tls: bool = False
    clear_text_passwords: bool = False

    def may_sign_in(self, *, encrypted: bool) -> bool:
        """Whether one can sign in now."""
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
        # USER that would be refused is not shown (RFC 2595 section 4).
        if signed_in or self.may_sign_in(encrypted=encrypted):
            lines.append("USER")
        return lines
