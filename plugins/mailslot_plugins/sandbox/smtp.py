"""An SMTP submission server (RFC 5321, RFC 6409) with the extensions of its personality."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from mailslot.wire.dot_stuffing import DotUnstuffer
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot.wire.secret import MASK
from mailslot_plugins.sandbox.authentication import SaslExchange, mask_auth_command
from mailslot_plugins.sandbox.connection import ConnectionEndedError
from mailslot_plugins.sandbox.smtp_syntax import MalformedCommand, find_violations, parse_path
from mailslot_plugins.sandbox.state import EnvelopePath, SubmittedMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mailslot_plugins.sandbox.connection import Connection
    from mailslot_plugins.sandbox.state import SandboxState

_ENDS_GROUP: Final = {"EHLO", "HELO", "STARTTLS", "AUTH", "DATA", "VRFY", "NOOP", "QUIT"}
"""These commands must be the last in a pipelined group (RFC 2920 section 3.1, RFC 4954)."""

_BEFORE_TLS: Final = {"EHLO", "HELO", "STARTTLS", "NOOP", "RSET", "QUIT"}

_MAX_PARAMETERS: Final = 1_536
"""Octets that extensions add to the longest MAIL and RCPT (RFC 1870, RFC 3461, RFC 6152)."""

_BDAT: Final = re.compile(r"([0-9]{1,20})( LAST)?", re.IGNORECASE)


class SmtpSession:
    """One client's session."""

    def __init__(self, state: SandboxState, connection: Connection) -> None:
        self._state = state
        self._connection = connection
        self._dialogue = connection.dialogue
        self._behavior = state.personality.smtp
        self._greeted = self._esmtp = False
        self._messages = 0
        self._next_step: Callable[[], Awaitable[None]] | None = None
        self._commands: Mapping[str, Callable[[str], Awaitable[None]]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "BDAT": self._bdat,
            "RSET": self._rset,
            "NOOP": self._noop,
            "VRFY": self._vrfy,
            "QUIT": self._quit,
        }
        self._reset_transaction()

    def _reset_transaction(self) -> None:
        """End the transaction."""
        self._sender: EnvelopePath | None = None
        self._recipients: list[EnvelopePath] = []
        self._chunks: bytearray | None = None
        self._failed = False

    async def run(self) -> None:
        """Serve until either side closes the connection.

        Raises:
            ConnectionEndedError: the connection is closed.
        """
        try:
            await self._connection.perform("greeting", self._greet)
            while True:
                await self._command(await self._connection.read_line())
        except RemoteProtocolError as error:
            self._dialogue.add_violation(str(error))
            self._reply_refusal(f"521 5.5.2 Error: {error}")

    async def _command(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        logged = text if verb in self._commands else MASK
        self._dialogue.transcript.client(mask_auth_command(logged) if verb == "AUTH" else logged)
        pipelining = self._capability("PIPELINING") is not None
        must_end_group = verb in _ENDS_GROUP or (verb != "BDAT" and not pipelining)
        if self._connection.buffered and must_end_group:
            self._dialogue.add_violation(f"something was sent behind {verb} before it was answered")
        if verb == "AUTH" and len(line) + 2 > 512:
            self._dialogue.add_violation("an AUTH line of over 512 octets")  # RFC 4954 section 4
        limit = self._behavior.line_limit
        if verb in {"MAIL", "RCPT"}:
            limit = max(limit, 512 + _MAX_PARAMETERS)
        if len(line) + 2 > limit:
            self._reply("long_auth" if verb == "AUTH" else "long_line")
        elif verb not in self._commands or "\ufffd" in text:
            self._connection.reply("500 5.5.2 Error: command not recognized")
        else:
            await self._connection.perform(verb, lambda: self._execute(verb, argument))
            if next_step := self._next_step:
                self._next_step = None
                await next_step()

    async def _execute(self, verb: str, argument: str) -> None:
        tls_first = self._state.personality.tls_required and not self._dialogue.tls
        if tls_first and verb not in _BEFORE_TLS:
            self._reply("tls_first")
        else:
            await self._commands[verb](argument)

    def _capability(self, keyword: str) -> str | None:
        mechanisms = self._behavior.capability_parameters(keyword, tls=self._dialogue.tls)
        return mechanisms if self._esmtp else None

    def _reply(self, reply_key: str) -> None:
        self._connection.reply(self._behavior.replies[reply_key])
        if reply_key in self._behavior.closes_after:
            raise ConnectionEndedError

    def _reply_refusal(self, reply: str) -> None:
        self._connection.reply(reply)
        if reply.startswith(("421", "521")):
            raise ConnectionEndedError

    # Session

    async def _greet(self) -> None:
        self._connection.reply(self._behavior.greeting)

    async def _ehlo(self, argument: str) -> None:
        capabilities = self._behavior.capabilities_tls if self._dialogue.tls else self._behavior.capabilities
        lines = [f"250-{offer}" for offer in capabilities[:-1]]
        self._greet_client(argument, "\n".join([*lines, f"250 {capabilities[-1]}"]), esmtp=True)

    async def _helo(self, argument: str) -> None:
        name = self._behavior.capabilities[0].partition(" ")[0]
        self._greet_client(argument, f"250 {name}", esmtp=False)

    def _greet_client(self, name: str, reply: str, *, esmtp: bool) -> None:
        if not name or " " in name:
            self._connection.reply("501 5.5.4 Syntax: EHLO hostname")
            return
        self._reset_transaction()
        self._greeted, self._esmtp = True, esmtp
        self._connection.reply(reply)

    async def _starttls(self, argument: str) -> None:
        if argument or self._dialogue.tls or self._capability("STARTTLS") is None:
            self._connection.reply("503 5.5.1 Error: STARTTLS not now")
        elif self._connection.buffered:
            # These octets could be mistaken for octets received inside TLS (RFC 3207 section 6).
            self._connection.reply("554 5.5.1 Error: something was sent behind STARTTLS")
            raise ConnectionEndedError
        else:
            self._reply("starttls")
            self._next_step = partial(self._connection.perform, "TLS", self._handshake)

    async def _handshake(self) -> None:
        await self._connection.start_tls(self._state.tls)
        self._greeted = self._esmtp = False
        self._reset_transaction()

    async def _auth(self, argument: str) -> None:
        mechanisms = self._capability("AUTH")
        if self._dialogue.user is not None or self._sender is not None or mechanisms is None:
            self._connection.reply("503 5.5.1 Error: AUTH not now")
            return
        if argument.partition(" ")[0].upper() not in mechanisms.split():
            self._dialogue.add_violation("a sign-in by a mechanism that was not offered")
        exchange = SaslExchange(self._state, self._behavior, self._connection)
        self._next_step = partial(exchange.run, argument, "334 ", self._finish_authentication)

    async def _finish_authentication(self, reply_key: str, user: str | None) -> None:
        self._dialogue.user = user
        self._reply(reply_key)

    async def _noop(self, _argument: str) -> None:
        self._connection.reply("250 2.0.0 Ok")

    async def _vrfy(self, _argument: str) -> None:
        self._connection.reply("252 2.0.0 Cannot verify, but will try")

    async def _rset(self, argument: str) -> None:
        if not argument:
            self._reset_transaction()
        self._connection.reply("501 5.5.4 Syntax: RSET" if argument else "250 2.0.0 Ok")

    async def _quit(self, _argument: str) -> None:
        self._reply("quit")
        raise ConnectionEndedError

    # Envelope

    async def _mail(self, argument: str) -> None:
        if refusal := self._begin_transaction(argument):
            self._reply_refusal(refusal)
        else:
            self._messages += 1
            self._reply("sender")

    def _begin_transaction(self, argument: str) -> str | None:
        """Begin a transaction, or return the refusal."""
        if not self._greeted or self._sender is not None:
            return "503 5.5.1 Error: MAIL not now"
        if self._messages >= self._limit("MAILMAX"):
            return "421 4.7.0 Error: too many messages"
        try:
            path = parse_path("MAIL", argument, self._capability)
        except MalformedCommand as malformed:
            return str(malformed)
        if self._too_large(int(path.parameters.get("SIZE", "0"))):
            return self._behavior.replies["too_large"]
        if not path.address.isascii() and "SMTPUTF8" not in path.parameters:
            return "553 5.6.7 Non-ASCII address without SMTPUTF8"
        refusal = self._sender_refusal("MAIL", path)
        refusal = refusal or self._state.rules.senders.get(path.address.lower())
        if refusal is None:
            self._sender = path
        return refusal

    async def _rcpt(self, argument: str) -> None:
        if refusal := self._add_recipient(argument):
            self._reply_refusal(refusal)
        else:
            self._reply("recipient")

    def _add_recipient(self, argument: str) -> str | None:
        """Add a recipient, or return the refusal."""
        if self._sender is None or self._chunks is not None:
            return "503 5.5.1 Error: need MAIL command"
        try:
            path = parse_path("RCPT", argument, self._capability)
        except MalformedCommand as malformed:
            return str(malformed)
        if not path.address.isascii() and "SMTPUTF8" not in self._sender.parameters:
            return "553 5.6.7 Non-ASCII address without SMTPUTF8"
        if refusal := self._sender_refusal("RCPT", self._sender):
            return refusal
        if len(self._recipients) >= self._limit("RCPTMAX"):
            return "452 4.5.3 Error: too many recipients"
        refusal = self._state.rules.recipients.get(path.address.lower())
        if refusal is None:
            self._recipients.append(path)
        return refusal

    def _sender_refusal(self, moment: str, sender: EnvelopePath) -> str | None:
        """Return the refusal of an unauthenticated client or a foreign sender, if it is due at this moment."""
        personality, user = self._state.personality, self._dialogue.user
        if user is None:
            checked_later = personality.sign_in_required != moment
            return None if checked_later else self._behavior.replies["sign_in_first"]
        if personality.own_sender != moment or sender.address.lower() in {"", user.lower()}:
            return None
        return self._behavior.replies["own_sender"]

    def _limit(self, name: str) -> float:
        """Return a limit that was offered (RFC 9422 section 4)."""
        for pair in (self._capability("LIMITS") or "").split():
            key, _, value = pair.partition("=")
            if key == name and value.isdigit():
                return int(value)
        return float("inf")

    def _too_large(self, size: int) -> bool:
        limit = self._capability("SIZE") or ""
        return limit.isdigit() and 0 < int(limit) < size

    # Content

    async def _data(self, argument: str) -> None:
        if argument:
            self._connection.reply("501 5.5.4 Syntax: DATA")
        elif self._sender is None or self._chunks is not None or self._failed:
            self._connection.reply("503 5.5.1 Error: DATA not now")
        elif self._sender.parameters.get("BODY", "").upper() == "BINARYMIME":
            self._connection.reply("503 5.5.1 Error: BODY=BINARYMIME needs BDAT")
        elif not self._recipients:
            self._connection.reply("554 5.5.1 Error: no valid recipients")
        else:
            self._reply("data")
            self._next_step = partial(self._connection.perform, "content", self._read_content)

    async def _read_content(self) -> None:
        unstuffer, content = DotUnstuffer(), bytearray()
        while not unstuffer.done:
            content += unstuffer.feed(await self._connection.read_octets())
        self._connection.unread(unstuffer.trailing)
        await self._finish("DATA", bytes(content))

    async def _bdat(self, argument: str) -> None:
        match = _BDAT.fullmatch(argument)
        if match is None or self._capability("CHUNKING") is None:
            self._connection.reply("501 5.5.4 Syntax: BDAT size [LAST]")
            raise ConnectionEndedError  # nobody knows where the chunk ends
        size, chunk = int(match[1]), bytearray()
        while len(chunk) < size:
            chunk += await self._connection.read_octets()
        self._connection.unread(bytes(chunk[size:]))
        if self._sender is None or not self._recipients or self._failed:
            self._failed = True
            self._connection.reply("503 5.5.1 Error: BDAT not now")
            return
        self._chunks = self._chunks or bytearray()
        self._chunks += chunk[:size]
        if match[2]:
            await self._finish("BDAT", bytes(self._chunks))
        elif self._too_large(len(self._chunks)):
            self._failed = True
            self._connection.reply("552 5.3.4 Chunk exceeds message size limit")
        else:
            self._connection.reply(f"250 2.0.0 Ok: {size} bytes")

    async def _finish(self, verb: str, content: bytes) -> None:
        """Accept or refuse the message, and end the transaction."""
        sender, user = self._sender or EnvelopePath(""), self._dialogue.user
        violations = find_violations(content, sender.parameters)
        submitted = SubmittedMessage(sender, self._recipients, content, user, verb, violations)
        self._dialogue.transcript.client(f"({len(content)} octets of a message)")
        refusal = self._sender_refusal("message", sender) or self._state.rules.content
        if self._too_large(len(content)):
            refusal = self._behavior.replies["too_large"]
        self._reset_transaction()

        async def reply() -> None:
            if refusal is not None:
                self._reply_refusal(refusal)
                return
            self._state.deliver(submitted)
            self._reply("queued")

        await self._connection.perform("message", reply)
