"""The sandbox's SMTP submission server: the library's, with the offers and the words of a personality."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from mailslot.smtp.server import replies
from mailslot.smtp.server.backend import Connection, MailParameters
from mailslot.smtp.server.commands import NEEDS_SMTPUTF8
from mailslot.smtp.server.offers import Offers
from mailslot.smtp.server.protocol import SmtpServerProtocol
from mailslot.smtp.server.session import SmtpServerSession
from mailslot.smtp.server.states import State
from mailslot.wire.command_input import CommandError
from mailslot_plugins.sandbox.authentication import Authenticator, SignInRefusals
from mailslot_plugins.sandbox.personality import (
    AUTH_TOO_LONG,
    QUEUED,
    RESPONSE_TOO_LONG,
    TOKEN_REFUSED,
    parse_reply,
)
from mailslot_plugins.sandbox.played_session import PlayedSession
from mailslot_plugins.sandbox.smtp_syntax import find_violations, parse_path
from mailslot_plugins.sandbox.state import EnvelopePath, SubmittedMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.reply import Reply
    from mailslot.wire.secret import Secret
    from mailslot_plugins.sandbox.state import SandboxState

_ENDS_GROUP: Final = {"EHLO", "HELO", "STARTTLS", "AUTH", "DATA", "VRFY", "NOOP", "QUIT"}
"""These commands must be the last in a pipelined group (RFC 2920 section 3.1, RFC 4954)."""

_MAX_PARAMETERS: Final = 1_536
"""Octets that extensions add to the longest MAIL and RCPT (RFC 1870, RFC 3461, RFC 6152)."""

_END: Final = b"\r\n.\r\n"

TOO_MANY_MESSAGES: Final = replies.reply(421, "4.7.0", "Too many messages")
BINARY_NEEDS_BDAT: Final = replies.reply(503, "5.5.1", "BODY=BINARYMIME needs BDAT")

_REFUSALS: Final = SignInRefusals(replies.AUTHENTICATION_FAILED, TOKEN_REFUSED, replies.AUTHENTICATION_UNAVAILABLE)


class PersonalOffers(Offers):
    """The personality's extensions for one client, and its strict parsing of MAIL and RCPT.

    Attributes:
        connection: the connection; set once it exists.
        path: the last sender or recipient.
    """

    connection: Connection

    def __init__(self, state: SandboxState) -> None:
        """Make the offers for one client."""
        self._behavior = state.personality.smtp
        self._tls_required = state.personality.tls_required
        tls = self._behavior.capability_parameters("STARTTLS", tls=False) is not None
        super().__init__(self._behavior.capabilities[0], tls=tls, content_as_it_is=True)
        self.path = self._sender = EnvelopePath("")

    def capability(self, keyword: str) -> str | None:
        """Return the parameters of an extension; None if it is not offered."""
        if not self.connection.esmtp:
            return None
        return self._behavior.capability_parameters(keyword, tls=self.connection.peer.tls is not None)

    def hello_reply(self, *, esmtp: bool, encrypted: bool) -> Reply:
        """Return the personality's reply."""
        offers = self._behavior.capabilities_tls if encrypted else self._behavior.capabilities
        name = self._behavior.capabilities[0].partition(" ")[0]
        return replies.reply(250, None, "\n".join(offers) if esmtp else name)

    def check_authentication(self, *, encrypted: bool) -> None:
        """Check that AUTH is offered now."""
        if self._tls_required and not encrypted:
            raise CommandError(replies.TLS_REQUIRED)
        if self.capability("AUTH") is None:
            raise CommandError(replies.NO_AUTHENTICATION)

    def parse_mail(self, argument: str) -> tuple[str, MailParameters]:
        """Return the sender and the parameters of MAIL, parsed strictly."""
        self.path = self._sender = parse_path("MAIL", argument, self.capability)
        self._demand_smtputf8()
        return self.path.address, MailParameters(int(self.path.parameters.get("SIZE", "0")))

    def parse_rcpt(self, argument: str) -> str:
        """Return the recipient of RCPT, parsed strictly."""
        self.path = parse_path("RCPT", argument, self.capability)
        self._demand_smtputf8()
        return self.path.address

    def _demand_smtputf8(self) -> None:
        if not self.path.address.isascii() and "SMTPUTF8" not in self._sender.parameters:
            raise CommandError(NEEDS_SMTPUTF8)


class SmtpClient:
    """The library's backend, and its handler, for one client."""

    authenticator: Authenticator
    """Signs it in; set once it is connected."""

    def __init__(self, state: SandboxState) -> None:
        """Make the backend of one client."""
        self._state = state
        self._behavior = state.personality.smtp
        self.offers = PersonalOffers(state)
        self._sender = EnvelopePath("")
        self._recipients: list[EnvelopePath] = []
        self._messages = 0

    def connected(self, connection: Connection) -> SmtpClient:
        """Record the connection."""
        self.offers.connection = connection
        dialogue = self._state.open_dialogue("smtp", connection)
        self.authenticator = Authenticator(self._state, self._behavior, dialogue, _REFUSALS)
        self.offers.mechanisms = self.authenticator.mechanisms
        return self

    @property
    def max_size(self) -> int:
        """The maximum octets of a message."""
        limit = self.offers.capability("SIZE") or ""
        return int(limit) if limit.isdigit() and int(limit) else sys.maxsize

    @property
    def offers_authentication(self) -> bool:
        """Whether anybody can sign in."""
        return True

    async def accept(self) -> Reply:
        """Return the personality's greeting."""
        return parse_reply(self._behavior.greeting)

    async def authenticate(self, user: str, password: Secret) -> Reply | None:
        """Check a password or a token."""
        return await self.authenticator.sign_in(user, password)

    async def mail(self, sender: str, parameters: MailParameters) -> Reply | None:  # noqa: ARG002 - the offers know more
        """Decide on a sender."""
        if self._state.personality.tls_required and not self.authenticator.dialogue.tls:
            return replies.TLS_REQUIRED
        if self._messages >= self._limit("MAILMAX"):
            return TOO_MANY_MESSAGES
        self._sender, self._recipients = self.offers.path, []
        refusal = self._sender_refusal("MAIL") or _rule(self._state.rules.senders, sender)
        self._messages += refusal is None
        return refusal

    async def recipient(self, recipient: str) -> Reply | None:
        """Decide on a recipient."""
        if refusal := self._sender_refusal("RCPT"):
            return refusal
        if len(self._recipients) >= self._limit("RCPTMAX"):
            return replies.TOO_MANY_RECIPIENTS
        refusal = _rule(self._state.rules.recipients, recipient)
        if refusal is None:
            self._recipients.append(self.offers.path)
        return refusal

    def _sender_refusal(self, moment: str) -> Reply | None:
        """Return the refusal of an unauthenticated client or a foreign sender, if it is due at this moment."""
        personality, user = self._state.personality, self.authenticator.dialogue.user
        if user is None:
            return replies.AUTHENTICATION_REQUIRED if personality.sign_in_required == moment else None
        if personality.own_sender != moment or self._sender.address.lower() in {"", user.lower()}:
            return None
        return replies.SENDER_NOT_ALLOWED

    def _limit(self, name: str) -> float:
        """Return a limit that was offered (RFC 9422 section 4)."""
        for pair in (self.offers.capability("LIMITS") or "").split():
            key, _, value = pair.partition("=")
            if key == name and value.isdigit():
                return int(value)
        return float("inf")

    async def begin(self) -> SmtpClient | Reply:
        """Begin a message; this object is its writer."""
        binary = self._sender.parameters.get("BODY", "").upper() == "BINARYMIME"
        if binary and self.authenticator.dialogue.verb == "DATA":
            return BINARY_NEEDS_BDAT
        self._content = bytearray()
        return self

    async def write(self, data: bytes) -> None:
        """Take the next octets."""
        self._content += data

    async def commit(self) -> Reply:
        """Deliver the message, or refuse it."""
        if not await self.authenticator.begin_moment("message"):
            return replies.SPOOL_FULL
        content, dialogue = bytes(self._content), self.authenticator.dialogue
        if refusal := self._sender_refusal("message"):
            return refusal
        if (rule := self._state.rules.content) is not None:
            return parse_reply(rule)
        violations = find_violations(content, self._sender.parameters)
        self._state.deliver(
            SubmittedMessage(self._sender, self._recipients, content, dialogue.user, dialogue.verb, violations)
        )
        return QUEUED

    async def discard(self) -> None:
        """Discard the message."""

    async def closed(self) -> None:
        """The connection has ended."""


def _rule(rules: Mapping[str, str], address: str) -> Reply | None:
    text = rules.get(address.lower())
    return None if text is None else parse_reply(text)


class PlayedSmtpSession(PlayedSession[SmtpServerProtocol, Connection], SmtpServerSession):
    """A session that plays a personality."""

    _content_begun = False
    _tail = b""
    """The last octets passed on, in which the end of a message may begin."""
    _not_crlf = replies.reply(521, "5.5.2", "A line must end with CRLF")
    _response_too_long = RESPONSE_TOO_LONG

    async def _greet(self) -> bool:
        await self._begin_moment("greeting")
        return await super()._greet()

    def _pipelines(self, verb: str) -> bool:
        return verb == "BDAT" or (verb not in _ENDS_GROUP and self._client.capability("PIPELINING") is not None)

    @property
    def _client(self) -> PersonalOffers:
        assert isinstance(self._offers, PersonalOffers)  # noqa: S101 - it was given
        return self._offers

    def _inspect(self, line: bytes, verb: str) -> Reply | None:
        limit = self.authenticator.behavior.line_limit
        if verb in {"MAIL", "RCPT"}:
            limit = max(limit, 512 + _MAX_PARAMETERS)
        if verb == "AUTH":
            self._inspect_auth(line)
        if verb in {"AUTH", "MAIL"} and self._core.state is State.SECURED:
            self._note_violation(f"{verb} before EHLO inside TLS")
        if verb in {"EHLO", "HELO"} and not line[5:].strip():
            self._note_violation(f"{verb} without a name")
        if verb == "BDAT" and self._client.capability("CHUNKING") is None:
            self._note_violation("BDAT, which was not offered")
        if line != line.strip():
            self._note_violation("blanks around a command")
        self._content_begun = False
        if len(line) + 2 <= limit:
            return None
        return AUTH_TOO_LONG if verb == "AUTH" else replies.LINE_TOO_LONG

    def _inspect_auth(self, line: bytes) -> None:
        mechanism = line.decode("utf-8", "replace").partition(" ")[2].partition(" ")[0].upper()
        if mechanism not in (self._client.capability("AUTH") or "").split():
            self._note_violation("a sign-in by a mechanism that was not offered")
        if len(line) + 2 > 512:
            self._note_violation("an AUTH line of over 512 octets")  # RFC 4954 section 4

    @property
    def _content_length(self) -> int:
        if self._core.chunk_left:
            return min(int(self._core.chunk_left), len(self._buffer))
        if not self._core.expects_content:
            return 0
        end = (self._tail + self._buffer).find(_END)
        return len(self._buffer) if end < 0 else end + len(_END) - len(self._tail)

    def _take(self, length: int) -> bytes:
        octets = super()._take(length)
        self._tail = (self._tail + octets[-len(_END) :])[1 - len(_END) :]
        return octets

    async def _receive(self) -> None:
        if self._core.state is State.DATA and not self._content_begun:
            self._content_begun = True
            if not await self._begin_moment("content"):
                await self._end_moment()
                # The message is received and dropped, and no reply follows.
                self._deaf = True
        await super()._receive()
