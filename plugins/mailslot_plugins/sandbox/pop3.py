"""A POP3 server (RFC 1939, RFC 2449, RFC 2595, RFC 5034)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.wire.dot_stuffing import DotStuffer
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot.wire.secret import MASK
from mailslot_plugins.sandbox.authentication import SaslExchange, masked
from mailslot_plugins.sandbox.connection import Hangup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mailslot_plugins.sandbox.connection import Connection
    from mailslot_plugins.sandbox.maildrop import Maildrop, StoredMessage
    from mailslot_plugins.sandbox.state import SandboxState

    Commands = Mapping[str, Callable[[str], Awaitable[None]]]

_PIECE: Final = 65_536
_NO_SUCH: Final = "-ERR There's no such message."


class Pop3Session:
    """One client's session.

    Args:
        office: the sandbox's state.
        connection: the connection, with TLS up or not.
    """

    def __init__(self, office: SandboxState, connection: Connection) -> None:
        self._office = office
        self._connection = connection
        self._dialogue = connection.dialogue
        self._manners = office.personality.pop3
        self._sign_in = SaslExchange(office, self._manners, connection)
        self._then: Callable[[], Awaitable[None]] | None = None
        self._user = ""
        self._maildrop: Maildrop | None = None
        self._messages: list[StoredMessage] = []
        self._deleted: set[int] = set()
        self._retrieved: set[int] = set()
        self._authorization: Commands = {
            "CAPA": self._capa,
            "STLS": self._stls,
            "AUTH": self._auth,
            "USER": self._user_name,
            "PASS": self._password,
            "QUIT": self._quit,
        }
        self._transaction: Commands = {
            "CAPA": self._capa,
            "STAT": self._stat,
            "LIST": self._list,
            "UIDL": self._uidl,
            "RETR": self._retr,
            "TOP": self._top,
            "DELE": self._dele,
            "RSET": self._rset,
            "NOOP": self._noop,
            "QUIT": self._quit,
        }

    async def run(self) -> None:
        """Serve until either side ends it; without QUIT nothing is deleted.

        Raises:
            Hangup: it has ended.
        """
        try:
            await self._connection.during("greeting", self._greet)
            while True:
                await self._command(await self._connection.line())
        except RemoteProtocolError as error:
            self._dialogue.flaw(str(error))
            self._connection.say(f"-ERR {error}")
            raise Hangup from None
        finally:
            if self._maildrop is not None:
                self._maildrop.locked = False

    async def _command(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        commands = self._authorization if self._maildrop is None else self._transaction
        shown = text if verb in commands else MASK
        if verb in {"AUTH", "PASS"}:
            shown = masked(shown) if verb == "AUTH" else f"PASS {MASK}"
        self._dialogue.transcript.client(shown)
        if self._connection.waiting and "PIPELINING" not in self._offers:
            self._dialogue.flaw(f"something was sent behind {verb} before it was answered")
        if len(line) + 2 > self._manners.line_limit:
            self._say("long_line")
        elif verb not in commands:
            self._connection.say("-ERR Unknown command.")
        else:
            await self._connection.during(verb, lambda: commands[verb](argument))
            if then := self._then:
                self._then = None
                await then()

    @property
    def _offers(self) -> tuple[str, ...]:
        if self._maildrop is not None:
            return self._manners.offers_signed_in
        return self._manners.offers_tls if self._dialogue.tls else self._manners.offers

    @property
    def _tls_first(self) -> bool:
        return self._office.personality.tls_required and not self._dialogue.tls

    def _say(self, occasion: str) -> None:
        self._connection.say(self._manners.words[occasion])
        if occasion in self._manners.closing:
            raise Hangup

    # Before the sign-in

    async def _greet(self) -> None:
        self._connection.say(self._manners.greeting)

    async def _capa(self, _argument: str) -> None:
        self._connection.say("\n".join([self._manners.words["capabilities"], *self._offers, "."]))

    async def _stls(self, argument: str) -> None:
        if argument or self._dialogue.tls or "STLS" not in self._offers:
            self._connection.say("-ERR TLS is not available now.")
        elif self._connection.waiting:
            # They could be taken for what came inside TLS.
            self._dialogue.flaw("something was sent behind STLS before it was answered")
            self._connection.say("-ERR Something was sent behind STLS.")
            raise Hangup
        else:
            self._say("starttls")
            self._then = partial(self._connection.during, "TLS", self._handshake)

    async def _handshake(self) -> None:
        await self._connection.start_tls(self._office.tls)
        self._user = ""

    async def _auth(self, argument: str) -> None:
        if not argument:
            sasl = self._manners.offered("SASL", tls=self._dialogue.tls) or ""
            self._connection.say("\n".join(["+OK", *sasl.split(), "."]))
        elif self._tls_first:
            self._say("tls_first")
        else:
            self._then = partial(self._sign_in.run, argument, "+ ", self._enter)

    async def _user_name(self, argument: str) -> None:
        self._user = "" if self._tls_first else argument
        self._say("tls_first" if self._tls_first else "user")

    async def _password(self, argument: str) -> None:
        user, self._user = self._user, ""
        if user:
            self._then = partial(self._sign_in.run_password, user, argument, self._enter)
        else:
            self._connection.say("-ERR No username given.")

    async def _enter(self, occasion: str, user: str | None) -> None:
        """Open the user's maildrop, or say why not."""
        if user is not None:
            maildrop, now = self._office.maildrops[user.lower()], anyio.current_time()
            if maildrop.locked:
                occasion = "in_use"
            elif now < maildrop.last_sign_in + self._office.personality.login_delay:
                occasion = "login_delay"
            else:
                maildrop.locked, maildrop.last_sign_in = True, now
                self._maildrop, self._messages = maildrop, list(maildrop.messages)
                self._dialogue.user = user
        self._say(occasion)

    # After it

    def _find(self, argument: str) -> int | None:
        """Return the number of a message that is there and not deleted; else say that it is not."""
        number = int(argument) if argument.isdecimal() and len(argument) < 10 else 0
        if 1 <= number <= len(self._messages) and number not in self._deleted:
            return number
        self._connection.say(_NO_SUCH)
        return None

    def _left(self) -> list[tuple[int, StoredMessage]]:
        numbered = enumerate(self._messages, 1)
        return [(number, message) for number, message in numbered if number not in self._deleted]

    async def _stat(self, _argument: str) -> None:
        left = self._left()
        self._connection.say(f"+OK {len(left)} {sum(message.size for _, message in left)}")

    async def _list(self, argument: str) -> None:
        self._give_listing(argument, lambda message: str(message.size))

    async def _uidl(self, argument: str) -> None:
        self._give_listing(argument, lambda message: message.uid)

    def _give_listing(self, argument: str, show: Callable[[StoredMessage], str]) -> None:
        if not argument:
            left = self._left()
            self._connection.say(f"+OK {len(left)} messages:")
            lines = [f"{number} {show(message)}\r\n" for number, message in left]
            self._connection.send("".join([*lines, ".\r\n"]).encode())
        elif number := self._find(argument):
            self._connection.say(f"+OK {number} {show(self._messages[number - 1])}")

    async def _retr(self, argument: str) -> None:
        if number := self._find(argument):
            self._retrieved.add(number)
            await self._give(self._messages[number - 1].content)

    async def _top(self, argument: str) -> None:
        first, _, lines = argument.partition(" ")
        if not lines.isdecimal():
            self._connection.say("-ERR Invalid arguments.")
        elif number := self._find(first):
            header, blank, body = self._messages[number - 1].content.partition(b"\r\n\r\n")
            await self._give(header + blank + b"".join(body.splitlines(keepends=True)[: int(lines)]))

    async def _give(self, content: bytes) -> None:
        self._connection.say("+OK message follows")
        stuffer = DotStuffer()
        for start in range(0, len(content), _PIECE):
            self._connection.send(stuffer.feed(content[start : start + _PIECE]))
            await self._connection.flush()
        self._connection.send(stuffer.finish())

    async def _dele(self, argument: str) -> None:
        if number := self._find(argument):
            self._deleted.add(number)
            self._connection.say("+OK Marked to be deleted.")

    async def _rset(self, _argument: str) -> None:
        self._deleted.clear()
        self._connection.say("+OK")

    async def _noop(self, _argument: str) -> None:
        self._connection.say("+OK")

    async def _quit(self, _argument: str) -> None:
        """Enter UPDATE: only now is anything deleted (RFC 1939 section 6)."""
        if self._maildrop is not None:
            removes = self._office.personality.retrieving_removes
            gone = self._deleted | self._retrieved if removes else self._deleted
            self._maildrop.remove(self._messages[number - 1] for number in gone)
        self._say("quit")
        raise Hangup
