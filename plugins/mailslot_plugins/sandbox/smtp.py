"""An SMTP submission server (RFC 5321, RFC 6409) with the extensions that its personality offers."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from mailslot.wire.dot_stuffing import DotUnstuffer
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot.wire.secret import MASK
from mailslot_plugins.sandbox.authentication import SaslExchange, masked
from mailslot_plugins.sandbox.connection import Hangup
from mailslot_plugins.sandbox.smtp_syntax import Malformed, find_flaws, parse_path
from mailslot_plugins.sandbox.state import Path, SubmittedMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mailslot_plugins.sandbox.connection import Connection
    from mailslot_plugins.sandbox.state import SandboxState

_LAST_IN_GROUP: Final = {"EHLO", "HELO", "STARTTLS", "AUTH", "DATA", "VRFY", "NOOP", "QUIT"}
"""Behind these nothing is sent before they are answered (RFC 2920 section 3.1, RFC 4954)."""

_BEFORE_TLS: Final = {"EHLO", "HELO", "STARTTLS", "NOOP", "RSET", "QUIT"}

_ROOM_FOR_PARAMETERS: Final = 1_536
"""Octets that extensions add to the longest MAIL and RCPT (RFC 1870, RFC 3461, RFC 6152)."""

_BDAT: Final = re.compile(r"([0-9]{1,20})( LAST)?", re.IGNORECASE)


class SmtpSession:
    """One client's session.

    Args:
        office: the sandbox's state.
        connection: the connection, with TLS up or not.
    """

    def __init__(self, office: SandboxState, connection: Connection) -> None:
        self._office = office
        self._connection = connection
        self._dialogue = connection.dialogue
        self._manners = office.personality.smtp
        self._greeted = self._extended = False
        self._messages = 0
        self._then: Callable[[], Awaitable[None]] | None = None
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
        self._forget()

    def _forget(self) -> None:
        """End the transaction."""
        self._sender: Path | None = None
        self._recipients: list[Path] = []
        self._chunks: bytearray | None = None
        self._broken = False

    async def run(self) -> None:
        """Serve until either side ends it.

        Raises:
            Hangup: it has ended.
        """
        try:
            await self._connection.during("greeting", self._greet)
            while True:
                await self._command(await self._connection.line())
        except RemoteProtocolError as error:
            self._dialogue.flaw(str(error))
            self._refuse(f"521 5.5.2 Error: {error}")

    async def _command(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        shown = text if verb in self._commands else MASK
        self._dialogue.transcript.client(masked(shown) if verb == "AUTH" else shown)
        pipelining = self._offered("PIPELINING") is not None
        alone = verb in _LAST_IN_GROUP or (verb != "BDAT" and not pipelining)
        if self._connection.waiting and alone:
            self._dialogue.flaw(f"something was sent behind {verb} before it was answered")
        if verb == "AUTH" and len(line) + 2 > 512:
            self._dialogue.flaw("an AUTH line of over 512 octets")  # RFC 4954 section 4
        limit = self._manners.line_limit
        if verb in {"MAIL", "RCPT"}:
            limit = max(limit, 512 + _ROOM_FOR_PARAMETERS)
        if len(line) + 2 > limit:
            self._say("long_auth" if verb == "AUTH" else "long_line")
        elif verb not in self._commands or "\ufffd" in text:
            self._connection.say("500 5.5.2 Error: command not recognized")
        else:
            await self._connection.during(verb, lambda: self._obey(verb, argument))
            if then := self._then:
                self._then = None
                await then()

    async def _obey(self, verb: str, argument: str) -> None:
        tls_first = self._office.personality.tls_required and not self._dialogue.tls
        if tls_first and verb not in _BEFORE_TLS:
            self._say("tls_first")
        else:
            await self._commands[verb](argument)

    def _offered(self, keyword: str) -> str | None:
        offered = self._manners.offered(keyword, tls=self._dialogue.tls)
        return offered if self._extended else None

    def _say(self, occasion: str) -> None:
        self._connection.say(self._manners.words[occasion])
        if occasion in self._manners.closing:
            raise Hangup

    def _refuse(self, answer: str) -> None:
        self._connection.say(answer)
        if answer.startswith(("421", "521")):
            raise Hangup

    # Session

    async def _greet(self) -> None:
        self._connection.say(self._manners.greeting)

    async def _ehlo(self, argument: str) -> None:
        offers = self._manners.offers_tls if self._dialogue.tls else self._manners.offers
        lines = [f"250-{offer}" for offer in offers[:-1]]
        self._hello(argument, "\n".join([*lines, f"250 {offers[-1]}"]), extended=True)

    async def _helo(self, argument: str) -> None:
        name = self._manners.offers[0].partition(" ")[0]
        self._hello(argument, f"250 {name}", extended=False)

    def _hello(self, name: str, answer: str, *, extended: bool) -> None:
        if not name or " " in name:
            self._connection.say("501 5.5.4 Syntax: EHLO hostname")
            return
        self._forget()
        self._greeted, self._extended = True, extended
        self._connection.say(answer)

    async def _starttls(self, argument: str) -> None:
        if argument or self._dialogue.tls or self._offered("STARTTLS") is None:
            self._connection.say("503 5.5.1 Error: STARTTLS not now")
        elif self._connection.waiting:
            # They could be taken for what came inside TLS (RFC 3207 section 6).
            self._connection.say("554 5.5.1 Error: something was sent behind STARTTLS")
            raise Hangup
        else:
            self._say("starttls")
            self._then = partial(self._connection.during, "TLS", self._handshake)

    async def _handshake(self) -> None:
        await self._connection.start_tls(self._office.tls)
        self._greeted = self._extended = False
        self._forget()

    async def _auth(self, argument: str) -> None:
        offered = self._offered("AUTH")
        if self._dialogue.user is not None or self._sender is not None or offered is None:
            self._connection.say("503 5.5.1 Error: AUTH not now")
            return
        if argument.partition(" ")[0].upper() not in offered.split():
            self._dialogue.flaw("a sign-in by a mechanism that was not offered")
        sign_in = SaslExchange(self._office, self._manners, self._connection)
        self._then = partial(sign_in.run, argument, "334 ", self._answer_sign_in)

    async def _answer_sign_in(self, occasion: str, user: str | None) -> None:
        self._dialogue.user = user
        self._say(occasion)

    async def _noop(self, _argument: str) -> None:
        self._connection.say("250 2.0.0 Ok")

    async def _vrfy(self, _argument: str) -> None:
        self._connection.say("252 2.0.0 Cannot verify, but will try")

    async def _rset(self, argument: str) -> None:
        if not argument:
            self._forget()
        self._connection.say("501 5.5.4 Syntax: RSET" if argument else "250 2.0.0 Ok")

    async def _quit(self, _argument: str) -> None:
        self._say("quit")
        raise Hangup

    # Envelope

    async def _mail(self, argument: str) -> None:
        if refusal := self._refuse_mail(argument):
            self._refuse(refusal)
        else:
            self._messages += 1
            self._say("sender")

    def _refuse_mail(self, argument: str) -> str | None:
        """Begin a transaction, or return why not."""
        if not self._greeted or self._sender is not None:
            return "503 5.5.1 Error: MAIL not now"
        if self._messages >= self._limit("MAILMAX"):
            return "421 4.7.0 Error: too many messages"
        try:
            path = parse_path("MAIL", argument, self._offered)
        except Malformed as malformed:
            return str(malformed)
        if self._too_large(int(path.parameters.get("SIZE", "0"))):
            return self._manners.words["too_large"]
        if not path.address.isascii() and "SMTPUTF8" not in path.parameters:
            return "553 5.6.7 Non-ASCII address without SMTPUTF8"
        refusal = self._unwelcome("MAIL", path)
        refusal = refusal or self._office.rules.senders.get(path.address.lower())
        if refusal is None:
            self._sender = path
        return refusal

    async def _rcpt(self, argument: str) -> None:
        if refusal := self._refuse_rcpt(argument):
            self._refuse(refusal)
        else:
            self._say("recipient")

    def _refuse_rcpt(self, argument: str) -> str | None:
        """Add a recipient, or return why not."""
        if self._sender is None or self._chunks is not None:
            return "503 5.5.1 Error: need MAIL command"
        try:
            path = parse_path("RCPT", argument, self._offered)
        except Malformed as malformed:
            return str(malformed)
        if not path.address.isascii() and "SMTPUTF8" not in self._sender.parameters:
            return "553 5.6.7 Non-ASCII address without SMTPUTF8"
        if refusal := self._unwelcome("RCPT", self._sender):
            return refusal
        if len(self._recipients) >= self._limit("RCPTMAX"):
            return "452 4.5.3 Error: too many recipients"
        refusal = self._office.rules.recipients.get(path.address.lower())
        if refusal is None:
            self._recipients.append(path)
        return refusal

    def _unwelcome(self, moment: str, sender: Path) -> str | None:
        """Return the refusal of one who did not sign in or is somebody else, if it comes now."""
        personality, user = self._office.personality, self._dialogue.user
        if user is None:
            late = personality.sign_in_required != moment
            return None if late else self._manners.words["sign_in_first"]
        if personality.own_sender != moment or sender.address.lower() in {"", user.lower()}:
            return None
        return self._manners.words["own_sender"]

    def _limit(self, name: str) -> float:
        """Return a limit that was offered (RFC 9422 section 4)."""
        for pair in (self._offered("LIMITS") or "").split():
            key, _, value = pair.partition("=")
            if key == name and value.isdigit():
                return int(value)
        return float("inf")

    def _too_large(self, size: int) -> bool:
        limit = self._offered("SIZE") or ""
        return limit.isdigit() and 0 < int(limit) < size

    # Content

    async def _data(self, argument: str) -> None:
        if argument:
            self._connection.say("501 5.5.4 Syntax: DATA")
        elif self._sender is None or self._chunks is not None or self._broken:
            self._connection.say("503 5.5.1 Error: DATA not now")
        elif self._sender.parameters.get("BODY", "").upper() == "BINARYMIME":
            self._connection.say("503 5.5.1 Error: BODY=BINARYMIME needs BDAT")
        elif not self._recipients:
            self._connection.say("554 5.5.1 Error: no valid recipients")
        else:
            self._say("data")
            self._then = partial(self._connection.during, "content", self._read_content)

    async def _read_content(self) -> None:
        unstuffer, content = DotUnstuffer(), bytearray()
        while not unstuffer.done:
            content += unstuffer.feed(await self._connection.octets())
        self._connection.unread(unstuffer.trailing)
        await self._finish("DATA", bytes(content))

    async def _bdat(self, argument: str) -> None:
        match = _BDAT.fullmatch(argument)
        if match is None or self._offered("CHUNKING") is None:
            self._connection.say("501 5.5.4 Syntax: BDAT size [LAST]")
            raise Hangup  # nobody knows where the chunk ends
        size, chunk = int(match[1]), bytearray()
        while len(chunk) < size:
            chunk += await self._connection.octets()
        self._connection.unread(bytes(chunk[size:]))
        if self._sender is None or not self._recipients or self._broken:
            self._broken = True
            self._connection.say("503 5.5.1 Error: BDAT not now")
            return
        self._chunks = self._chunks or bytearray()
        self._chunks += chunk[:size]
        if match[2]:
            await self._finish("BDAT", bytes(self._chunks))
        elif self._too_large(len(self._chunks)):
            self._broken = True
            self._connection.say("552 5.3.4 Chunk exceeds message size limit")
        else:
            self._connection.say(f"250 2.0.0 Ok: {size} bytes")

    async def _finish(self, verb: str, content: bytes) -> None:
        """Take the message, or refuse it; the transaction is over."""
        sender, user = self._sender or Path(""), self._dialogue.user
        flaws = find_flaws(content, sender.parameters)
        submission = SubmittedMessage(sender, self._recipients, content, user, verb, flaws)
        self._dialogue.transcript.client(f"({len(content)} octets of a message)")
        refusal = self._unwelcome("message", sender) or self._office.rules.content
        if self._too_large(len(content)):
            refusal = self._manners.words["too_large"]
        self._forget()

        async def answer() -> None:
            if refusal is not None:
                self._refuse(refusal)
                return
            self._office.deliver(submission)
            self._say("queued")

        await self._connection.during("message", answer)
