"""A server's extensions on one connection, and its reply to EHLO (RFC 5321 section 4.1.1.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailslot.sasl.server import SERVER_MECHANISMS
from mailslot.smtp.server import commands
from mailslot.smtp.server.replies import NO_AUTHENTICATION, TLS_REQUIRED, reply
from mailslot.wire.command_input import CommandError

if TYPE_CHECKING:
    from mailslot.sasl.server import Mechanisms
    from mailslot.smtp.server.backend import MailParameters
    from mailslot.wire.reply import Reply


@dataclass(slots=True)
class Offers:
    """A server's extensions on one connection.

    Attributes:
        host: our own name.
        tls: whether STARTTLS is offered.
        clear_text_passwords: whether signing in without TLS is allowed.
        obsolete_auth_line: whether ``AUTH=`` is offered as well, which clients of the nineties look for.
        max_size: the maximum octets of a message.
        authentication: whether anybody can sign in.
        mechanisms: functions that create a mechanism, by its name, in the order in which they are offered.
        content_as_it_is: whether the content is passed on unchanged; otherwise bare CR and LF become CRLF, and an
            incomplete last line is completed.
    """

    host: str
    tls: bool = False
    clear_text_passwords: bool = False
    obsolete_auth_line: bool = False
    max_size: int = 0
    authentication: bool = False
    mechanisms: Mechanisms = field(default_factory=lambda: SERVER_MECHANISMS)
    content_as_it_is: bool = False

    def hello_reply(self, *, esmtp: bool, encrypted: bool) -> Reply:
        """Return the reply to EHLO or HELO.

        Args:
            esmtp: whether it was EHLO.
            encrypted: whether TLS is in use.
        """
        lines = [self.host]
        if esmtp:
            lines += ["PIPELINING", f"SIZE {self.max_size}", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING"]
            if self.tls and not encrypted:
                lines.append("STARTTLS")
            if self.authentication and (encrypted or self.clear_text_passwords):
                mechanisms = " ".join(self.mechanisms)
                lines += [f"AUTH {mechanisms}", *([f"AUTH={mechanisms}"] if self.obsolete_auth_line else [])]
        return reply(250, None, "\n".join(lines))

    def parse_mail(self, argument: str) -> tuple[str, MailParameters]:
        """Return the sender and the parameters of MAIL; see `mailslot.smtp.server.commands.parse_mail`.

        Raises:
            CommandError: a syntax error, an address that cannot be one, or a parameter that is not offered.
        """
        return commands.parse_mail(argument)

    def parse_rcpt(self, argument: str) -> str:
        """Return the recipient of RCPT; see `mailslot.smtp.server.commands.parse_rcpt`.

        Raises:
            CommandError: a syntax error, an address that cannot be one, or a parameter that is not offered.
        """
        return commands.parse_rcpt(argument)

    def check_authentication(self, *, encrypted: bool) -> None:
        """Check that signing in is allowed now.

        Args:
            encrypted: whether TLS is in use.

        Raises:
            CommandError: it is not allowed without TLS, or not at all.
        """
        if not encrypted and not self.clear_text_passwords:
            raise CommandError(TLS_REQUIRED)
        if not self.authentication:
            raise CommandError(NO_AUTHENTICATION)
