"""The POP3 server without I/O: octets in, events out; decisions in, octets out.

After RFC 1939, with CAPA, response codes and PIPELINING (RFC 2449, RFC 3206), STLS (RFC 2595) and AUTH (RFC 5034).

`receive` takes received octets, and `next_event` returns their events. Some events require a decision by `reply` or
`open_maildrop` before the next event can be requested. After `Retrieve` was accepted, `send_content` takes the message
in pieces, and `end_content` ends it. The core answers everything else itself. Responses are collected until
`octets_to_send` is called, so that those to a group of commands are sent together.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, ClassVar

from mailslot.pop3.server import events, limits, replies
from mailslot.pop3.server.commands import (
    VERBS,
    expect_no_argument,
    parse_apop,
    parse_command,
    parse_number,
    parse_password,
    parse_top,
    parse_user,
)
from mailslot.pop3.server.excerpt import Excerpt
from mailslot.pop3.server.maildrop import MarkedMessages
from mailslot.pop3.server.recorder import Pop3Recorder
from mailslot.pop3.server.states import NOT_SIGNED_IN, TRANSITIONS, WAIT_BEHIND, State, out_of_order
from mailslot.pop3.states import Verb
from mailslot.sasl.server_core import SaslServerCore
from mailslot.wire.command_input import CommandError
from mailslot.wire.dot_stuffing import DotStuffer
from mailslot.wire.protocol_error import LocalProtocolError
from mailslot.wire.server_core import MAX_JUNK_COMMANDS, TurnEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mailslot.pop3.server.maildrop import Message
    from mailslot.pop3.server.offers import Offers
    from mailslot.wire.command_input import Command
    from mailslot.wire.reply import Reply
    from mailslot.wire.server_core import Wording
    from mailslot.wire.transcript import Transcript


class Pop3ServerProtocol(SaslServerCore[events.Event, Verb, Pop3Recorder]):
    """The state of one session.

    Attributes:
        state: the state.
        offers: the server's capabilities.
    """

    _protocol = "POP3"
    _too_many_bad_commands = replies.TOO_MANY_BAD_COMMANDS
    _too_many_junk_commands = replies.TOO_MANY_JUNK_COMMANDS
    _exchange_replies = replies.EXCHANGE
    _exchange_verbs = Verb.AUTH, Verb.RESPONSE
    _credentials = events.Credentials

    def __init__(
        self, offers: Offers, transcript: Transcript, *, encrypted: bool = False, wording: Wording | None = None
    ) -> None:
        """Create the core of a session.

        Args:
            offers: the server's capabilities.
            transcript: records the dialogue.
            encrypted: whether TLS is implicit.
            wording: replacements for our replies.
        """
        super().__init__(Pop3Recorder(transcript), encrypted=encrypted, wording=wording)
        self.state = State.GREETING
        self.offers = offers
        self._timestamp = ""
        self._user = ""
        self._messages = MarkedMessages(())
        self._touched = False
        self._stuffer = DotStuffer()
        self._excerpt: Excerpt | None = None

    # Called by the session.

    @property
    def is_idle(self) -> bool:
        """Whether the session can be ended now without loss.

        A client that has fetched a message but could not delete it would get it again.
        """
        return self.state in {*NOT_SIGNED_IN, State.TRANSACTION} and not self._touched and not self._input

    def greet(self, timestamp: str = "") -> None:
        """Send the greeting.

        Args:
            timestamp: the unique timestamp for APOP, such as ``"<1896.697170952@host>"`` (RFC 1939 section 7); empty if
                APOP is not offered.
        """
        if self.state is not State.GREETING:
            raise LocalProtocolError("the greeting was sent already")
        self._timestamp = timestamp
        ready = replies.READY
        self._answer(Verb.GREETING, replies.ok(f"{ready.text} {timestamp}") if timestamp else ready)

    def next_event(self) -> events.Event | None:
        """Return the next event; None if more octets are needed, or the session is over.

        Raises:
            LocalProtocolError: the last event has not been answered, or a message has not ended.
        """
        if self._reply_due is not None:
            raise LocalProtocolError(f"{self._reply_due.value} has not been answered")
        if self.state is State.RETRIEVAL:
            raise LocalProtocolError("the message has not ended")
        while not self._events:
            if self.state is State.CLOSED:
                return None
            if self._end_turn() or len(self._output) >= limits.MAX_OUTPUT:
                return TurnEnded()
            if not self._advance():
                return None
        event, self._reply_due = self._events.popleft()
        return event

    def reply(self, reply: Reply | None = None) -> None:
        """Reply to the last event.

        Args:
            reply: a refusal; None to accept. A sign-in is accepted by `open_maildrop`.

        Raises:
            LocalProtocolError: no response is due, or another one.
        """
        verb = self._take_due()
        if reply is None:
            reply = self._ACCEPTED.get(verb)
            if reply is None:
                raise LocalProtocolError("a sign-in is accepted by open_maildrop")
        if verb is Verb.QUIT:
            self.close("quit", reply)
        elif not self._explain(verb, reply, temporary=reply.enhanced == "SYS/TEMP"):
            self._answer(verb, reply)

    def open_maildrop(self, messages: Sequence[Message]) -> None:
        """Accept a sign-in.

        Args:
            messages: the messages of the maildrop, in the order of their numbers.

        Raises:
            LocalProtocolError: no reply to a sign-in is due.
        """
        verb = self._take_due()
        if verb not in {Verb.PASS, Verb.APOP, Verb.AUTH, Verb.RESPONSE}:
            raise LocalProtocolError(f"open_maildrop in reply to {verb.value}")
        self._messages = MarkedMessages(messages)
        self._answer(verb, replies.ok(f"{self._messages.count} messages"))

    def send_content(self, data: bytes) -> bool:
        """Send the next octets of a message, after `Retrieve` was accepted; return whether more are needed.

        Raises:
            LocalProtocolError: no message is due.
        """
        self._check_retrieval()
        wanted = data if self._excerpt is None else self._excerpt.feed(data)
        self._output += self._stuffer.feed(wanted)
        return self._excerpt is None or not self._excerpt.is_complete

    def end_content(self) -> None:
        """Send the end of a message.

        Raises:
            LocalProtocolError: no message is due.
        """
        self._check_retrieval()
        self._output += self._stuffer.finish()
        self._recorder.message(self._stuffer.size)
        self._move(Verb.END_OF_MESSAGE, positive=True)

    def tls_started(self) -> None:
        """Reset the state after the TLS handshake (RFC 2595 section 4)."""
        if self.state is not State.UPGRADE or self._input:
            raise LocalProtocolError("TLS is not due")
        self.state = State.AUTHORIZATION
        self.encrypted = True
        self._user = ""
        self._recorder.event("encrypted from here on")

    @property
    def _is_closed(self) -> bool:
        return self.state is State.CLOSED

    def _enter_closed(self) -> None:
        self.state = State.CLOSED

    def _encode(self, answer: Reply) -> bytes:
        return replies.encode_reply(answer)

    # The dialogue.

    def _advance(self) -> bool:
        """Take a command from the input; return False if more octets are needed."""
        if self.state in {State.GREETING, State.UPGRADE}:
            return False
        if self._input.begins_with_tls:
            self._end_other_protocol("TLS")
            return True
        return self._read_line(limits.MAX_COMMAND_LINE)

    def _read_command(self, line: bytes) -> None:
        try:
            command = parse_command(line)
        except CommandError:
            self._recorder.other_line(line)
            raise
        verb = VERBS.get(command.verb)
        if verb is None or (verb is Verb.AUTH and not self.offers.mechanisms):
            self._refuse_other_command(command, line)
            return
        self._recorder.command(command)
        if self._end_if_too_many_junk_commands(self._most_commands):
            return
        if verb in WAIT_BEHIND and self._input:
            self.close("protocol", replies.OUT_OF_SYNC)
        elif (self.state, verb) in TRANSITIONS:
            self._HANDLERS[verb](self, command.argument)
        else:
            raise CommandError(out_of_order(self.state, verb))

    @property
    def _most_commands(self) -> int:
        return MAX_JUNK_COMMANDS + limits.COMMANDS_PER_MESSAGE * self._messages.total_count

    def _refuse_other_command(self, command: Command, line: bytes) -> None:
        if " HTTP/" in command.argument:
            self._end_other_protocol("HTTP", replies.NOT_POP3)
        else:
            self._recorder.other_line(line)
            raise CommandError(replies.SYNTAX)

    def _check_retrieval(self) -> None:
        if self.state is not State.RETRIEVAL:
            raise LocalProtocolError("no message is due")

    def _answer(self, verb: Verb, answer: Reply) -> None:
        """Send the response to a permitted command, and change the state accordingly."""
        self._move(verb, positive=answer.positive)
        self._send(answer)

    def _move(self, verb: Verb, *, positive: bool) -> None:
        transition = TRANSITIONS[self.state, verb]
        after = transition.positive if positive else transition.negative
        if after is None:
            raise LocalProtocolError(f"a refusal in reply to {verb.value}")
        self.state = after

    def _send_lines(self, verb: Verb, answer: Reply, lines: Sequence[str]) -> None:
        self._answer(verb, answer)
        self._output += "".join(f"{line}\r\n" for line in [*lines, "."]).encode()
        self._recorder.lines(len(lines))

    # Commands before the sign-in, each in a state that permits it.

    def _capa(self, argument: str) -> None:
        expect_no_argument(argument)
        signed_in = self.state is State.TRANSACTION
        lines = self.offers.capabilities(encrypted=self.encrypted, signed_in=signed_in)
        self._send_lines(Verb.CAPA, replies.CAPABILITIES, lines)

    def _stls(self, argument: str) -> None:
        expect_no_argument(argument)
        if self.encrypted or not self.offers.tls:
            raise CommandError(replies.TLS_ACTIVE if self.encrypted else replies.NO_TLS)
        self._events.append((events.StartTls(), Verb.STLS))

    def _check_sign_in(self) -> None:
        if not self.offers.may_sign_in(encrypted=self.encrypted):
            raise CommandError(replies.TLS_REQUIRED)

    def _user_name(self, argument: str) -> None:
        self._check_sign_in()
        self._user = parse_user(argument)
        self._answer(Verb.USER, replies.SEND_PASSWORD)

    def _password(self, argument: str) -> None:
        password = parse_password(argument)
        self._recorder.add_secret(password)
        self._events.append((events.Credentials(self._user, password), Verb.PASS))

    def _apop(self, argument: str) -> None:
        self._check_sign_in()
        if not self._timestamp:
            raise CommandError(replies.NO_APOP)
        user, digest = parse_apop(argument)
        self._events.append((events.ApopDigest(user, self._timestamp, digest), Verb.APOP))

    def _auth(self, argument: str) -> None:
        self._check_sign_in()
        self._begin_exchange(argument, self.offers.mechanisms)

    @property
    def _in_exchange(self) -> bool:
        return self.state is State.AUTH

    def _challenge(self, verb: Verb, octets: bytes) -> None:
        after = TRANSITIONS[self.state, verb].intermediate
        assert after is not None  # noqa: S101 - only AUTH and responses are answered by a challenge
        self.state = after
        self._recorder.challenge()
        self._output += b"+ " + base64.b64encode(octets) + b"\r\n"

    # Commands for the maildrop, each in a state that permits it.

    def _stat(self, argument: str) -> None:
        expect_no_argument(argument)
        self._answer(Verb.STAT, replies.ok(f"{self._messages.count} {self._messages.octets}"))

    def _list(self, argument: str) -> None:
        if argument.strip():
            number, message = self._find(argument)
            self._answer(Verb.LIST, replies.ok(f"{number} {message.size}") if message else replies.NO_SUCH_MESSAGE)
        else:
            self._send_lines(Verb.LIST, replies.ok(f"{self._messages.count} messages"), self._messages.sizes())

    def _uidl(self, argument: str) -> None:
        if argument.strip():
            number, message = self._find(argument)
            self._answer(Verb.UIDL, replies.ok(f"{number} {message.uid}") if message else replies.NO_SUCH_MESSAGE)
        else:
            self._send_lines(Verb.UIDL, replies.ok(f"{self._messages.count} messages"), self._messages.uids())

    def _find(self, argument: str) -> tuple[int, Message | None]:
        number = parse_number(argument)
        return number, self._messages.find(number)

    def _retr(self, argument: str) -> None:
        self._begin_retrieval(Verb.RETR, self._find(argument)[1], None)

    def _top(self, argument: str) -> None:
        number, lines = parse_top(argument)
        self._begin_retrieval(Verb.TOP, self._messages.find(number), Excerpt(lines))

    def _begin_retrieval(self, verb: Verb, message: Message | None, excerpt: Excerpt | None) -> None:
        if message is None:
            self._answer(verb, replies.NO_SUCH_MESSAGE)
            return
        self._excerpt, self._stuffer = excerpt, DotStuffer()
        self._touched = self._touched or excerpt is None
        self._events.append((events.Retrieve(message, excerpt is None), verb))

    def _dele(self, argument: str) -> None:
        number = parse_number(argument)
        marked = self._messages.mark(number)
        self._touched = self._touched or marked
        self._answer(Verb.DELE, replies.ok(f"Message {number} is marked") if marked else replies.NO_SUCH_MESSAGE)

    def _rset(self, argument: str) -> None:
        expect_no_argument(argument)
        self._messages.unmark_all()
        self._answer(Verb.RSET, replies.ok(f"{self._messages.count} messages"))

    def _noop(self, argument: str) -> None:
        expect_no_argument(argument)
        self._answer(Verb.NOOP, replies.DONE)

    def _quit(self, _argument: str) -> None:
        if marked := self._messages.marked:
            self._events.append((events.Update(marked), Verb.QUIT))
        else:
            self.close("quit", replies.GOODBYE)

    _HANDLERS: ClassVar[Mapping[Verb, Callable[[Any, str], None]]] = {
        Verb.CAPA: _capa,
        Verb.STLS: _stls,
        Verb.AUTH: _auth,
        Verb.USER: _user_name,
        Verb.PASS: _password,
        Verb.APOP: _apop,
        Verb.STAT: _stat,
        Verb.LIST: _list,
        Verb.UIDL: _uidl,
        Verb.RETR: _retr,
        Verb.TOP: _top,
        Verb.DELE: _dele,
        Verb.RSET: _rset,
        Verb.NOOP: _noop,
        Verb.QUIT: _quit,
    }

    _ACCEPTED: ClassVar[Mapping[Verb, Reply]] = {
        Verb.STLS: replies.START_TLS,
        Verb.RETR: replies.MESSAGE_FOLLOWS,
        Verb.TOP: replies.MESSAGE_FOLLOWS,
        Verb.QUIT: replies.GOODBYE,
    }
