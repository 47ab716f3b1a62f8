"""A POP3 server (RFC 1939, RFC 2449, RFC 2595, RFC 5034)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.wire.dot_stuffing import DotStuffer
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot.wire.secret import MASK
from mailslot_plugins.sandbox.authentication import SaslExchange, mask_auth_command
from mailslot_plugins.sandbox.connection import ConnectionEndedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mailslot_plugins.sandbox.connection import Connection
    from mailslot_plugins.sandbox.maildrop import Maildrop, StoredMessage
    from mailslot_plugins.sandbox.state import SandboxState

    Commands = Mapping[str, Callable[[str], Awaitable[None]]]

_CHUNK_SIZE: Final = 65_536
_NO_SUCH_MESSAGE: Final = "-ERR There's no such message."


class Pop3Session:
    """One client's session."""

    def __init__(self, state: SandboxState, connection: Connection) -> None:
        self._state = state
        self._connection = connection
        self._dialogue = connection.dialogue
        self._behavior = state.personality.pop3
        self._exchange = SaslExchange(state, self._behavior, connection)
        self._next_step: Callable[[], Awaitable[None]] | None = None
        self._user = ""
        self._maildrop: Maildrop | None = None
        self._messages: list[StoredMessage] = []
        self._deleted: set[int] = set()
        self._retrieved: set[int] = set()
        self._authorization_commands: Commands = {
            "CAPA": self._capa,
            "STLS": self._stls,
            "AUTH": self._auth,
            "USER": self._user_name,
            "PASS": self._password,
            "QUIT": self._quit,
        }
        self._transaction_commands: Commands = {
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
        """Serve until either side closes the connection; without QUIT nothing is deleted.

        Raises:
            ConnectionEndedError: the connection is closed.
        """
        try:
            await self._connection.perform("greeting", self._greet)
            while True:
                await self._command(await self._connection.read_line())
        except RemoteProtocolError as error:
            self._dialogue.add_violation(str(error))
            self._connection.reply(f"-ERR {error}")
            raise ConnectionEndedError from None
        finally:
            if self._maildrop is not None:
                self._maildrop.locked = False

    async def _command(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        commands = self._authorization_commands if self._maildrop is None else self._transaction_commands
        logged = text if verb in commands else MASK
        if verb in {"AUTH", "PASS"}:
            logged = mask_auth_command(logged) if verb == "AUTH" else f"PASS {MASK}"
        self._dialogue.transcript.client(logged)
        if self._connection.buffered and "PIPELINING" not in self._capabilities:
            self._dialogue.add_violation(f"something was sent behind {verb} before it was answered")
        if len(line) + 2 > self._behavior.line_limit:
            self._reply("long_line")
        elif verb not in commands:
            self._connection.reply("-ERR Unknown command.")
        else:
            await self._connection.perform(verb, lambda: commands[verb](argument))
            if next_step := self._next_step:
                self._next_step = None
                await next_step()

    @property
    def _capabilities(self) -> tuple[str, ...]:
        if self._maildrop is not None:
            return self._behavior.capabilities_authenticated
        return self._behavior.capabilities_tls if self._dialogue.tls else self._behavior.capabilities

    @property
    def _needs_tls(self) -> bool:
        return self._state.personality.tls_required and not self._dialogue.tls

    def _reply(self, reply_key: str) -> None:
        self._connection.reply(self._behavior.replies[reply_key])
        if reply_key in self._behavior.closes_after:
            raise ConnectionEndedError

    # AUTHORIZATION state

    async def _greet(self) -> None:
        self._connection.reply(self._behavior.greeting)

    async def _capa(self, _argument: str) -> None:
        self._connection.reply("\n".join([self._behavior.replies["capabilities"], *self._capabilities, "."]))

    async def _stls(self, argument: str) -> None:
        if argument or self._dialogue.tls or "STLS" not in self._capabilities:
            self._connection.reply("-ERR TLS is not available now.")
        elif self._connection.buffered:
            # These octets could be mistaken for octets received inside TLS.
            self._dialogue.add_violation("something was sent behind STLS before it was answered")
            self._connection.reply("-ERR Something was sent behind STLS.")
            raise ConnectionEndedError
        else:
            self._reply("starttls")
            self._next_step = partial(self._connection.perform, "TLS", self._handshake)

    async def _handshake(self) -> None:
        await self._connection.start_tls(self._state.tls)
        self._user = ""

    async def _auth(self, argument: str) -> None:
        if not argument:
            sasl = self._behavior.capability_parameters("SASL", tls=self._dialogue.tls) or ""
            self._connection.reply("\n".join(["+OK", *sasl.split(), "."]))
        elif self._needs_tls:
            self._reply("tls_first")
        else:
            self._next_step = partial(self._exchange.run, argument, "+ ", self._open_maildrop)

    async def _user_name(self, argument: str) -> None:
        self._user = "" if self._needs_tls else argument
        self._reply("tls_first" if self._needs_tls else "user")

    async def _password(self, argument: str) -> None:
        user, self._user = self._user, ""
        if user:
            self._next_step = partial(self._exchange.run_password, user, argument, self._open_maildrop)
        else:
            self._connection.reply("-ERR No username given.")

    async def _open_maildrop(self, reply_key: str, user: str | None) -> None:
        """Open the user's maildrop, or reply why not."""
        if user is not None:
            maildrop, now = self._state.maildrops[user.lower()], anyio.current_time()
            if maildrop.locked:
                reply_key = "in_use"
            elif now < maildrop.last_sign_in + self._state.personality.login_delay:
                reply_key = "login_delay"
            else:
                maildrop.locked, maildrop.last_sign_in = True, now
                self._maildrop, self._messages = maildrop, list(maildrop.messages)
                self._dialogue.user = user
        self._reply(reply_key)

    # TRANSACTION state

    def _find(self, argument: str) -> int | None:
        """Return the number of a message that exists and is not deleted; otherwise reply with an error."""
        number = int(argument) if argument.isdecimal() and len(argument) < 10 else 0
        if 1 <= number <= len(self._messages) and number not in self._deleted:
            return number
        self._connection.reply(_NO_SUCH_MESSAGE)
        return None

    def _remaining(self) -> list[tuple[int, StoredMessage]]:
        numbered = enumerate(self._messages, 1)
        return [(number, message) for number, message in numbered if number not in self._deleted]

    async def _stat(self, _argument: str) -> None:
        remaining = self._remaining()
        self._connection.reply(f"+OK {len(remaining)} {sum(message.size for _, message in remaining)}")

    async def _list(self, argument: str) -> None:
        self._send_listing(argument, lambda message: str(message.size))

    async def _uidl(self, argument: str) -> None:
        self._send_listing(argument, lambda message: message.uid)

    def _send_listing(self, argument: str, format_value: Callable[[StoredMessage], str]) -> None:
        if not argument:
            remaining = self._remaining()
            self._connection.reply(f"+OK {len(remaining)} messages:")
            lines = [f"{number} {format_value(message)}\r\n" for number, message in remaining]
            self._connection.send("".join([*lines, ".\r\n"]).encode())
        elif number := self._find(argument):
            self._connection.reply(f"+OK {number} {format_value(self._messages[number - 1])}")

    async def _retr(self, argument: str) -> None:
        if number := self._find(argument):
            self._retrieved.add(number)
            await self._send_message(self._messages[number - 1].content)

    async def _top(self, argument: str) -> None:
        first, _, lines = argument.partition(" ")
        if not lines.isdecimal():
            self._connection.reply("-ERR Invalid arguments.")
        elif number := self._find(first):
            header, blank, body = self._messages[number - 1].content.partition(b"\r\n\r\n")
            await self._send_message(header + blank + b"".join(body.splitlines(keepends=True)[: int(lines)]))

    async def _send_message(self, content: bytes) -> None:
        self._connection.reply("+OK message follows")
        stuffer = DotStuffer()
        for start in range(0, len(content), _CHUNK_SIZE):
            self._connection.send(stuffer.feed(content[start : start + _CHUNK_SIZE]))
            await self._connection.flush()
        self._connection.send(stuffer.finish())

    async def _dele(self, argument: str) -> None:
        if number := self._find(argument):
            self._deleted.add(number)
            self._connection.reply("+OK Marked to be deleted.")

    async def _rset(self, _argument: str) -> None:
        self._deleted.clear()
        self._connection.reply("+OK")

    async def _noop(self, _argument: str) -> None:
        self._connection.reply("+OK")

    async def _quit(self, _argument: str) -> None:
        """Enter the UPDATE state, in which messages are deleted (RFC 1939 section 6)."""
        if self._maildrop is not None:
            removes = self._state.personality.retrieving_removes
            removed = self._deleted | self._retrieved if removes else self._deleted
            self._maildrop.remove(self._messages[number - 1] for number in removed)
        self._reply("quit")
        raise ConnectionEndedError
