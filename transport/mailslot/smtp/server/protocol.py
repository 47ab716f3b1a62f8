"""The SMTP server without I/O: octets in, events out; decisions in, octets out.

After RFC 5321, with STARTTLS (RFC 3207), AUTH (RFC 4954), SIZE (RFC 1870), 8BITMIME (RFC 6152), PIPELINING (RFC 2920),
ENHANCEDSTATUSCODES (RFC 2034) and CHUNKING (RFC 3030).

`receive` takes received octets, and `next_event` returns their events. Some events require a decision by `reply` before
the next event can be requested. The core answers everything else itself. Replies are collected until `octets_to_send`
is called, so that those to a group of commands are sent together (RFC 2920 section 3.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mailslot.sasl.server_core import SaslServerCore
from mailslot.smtp.server import commands, events, limits, replies
from mailslot.smtp.server.content import Chunk, IncomingMessage
from mailslot.smtp.server.recorder import SmtpRecorder
from mailslot.smtp.server.states import ACCEPTED, IDLE, TRANSITIONS, WAIT_BEHIND, State, out_of_order
from mailslot.smtp.states import Verb
from mailslot.wire.command_input import Command, CommandError
from mailslot.wire.protocol_error import LocalProtocolError
from mailslot.wire.server_core import TurnEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.smtp.server.offers import Offers
    from mailslot.wire.reply import Reply
    from mailslot.wire.server_core import Wording
    from mailslot.wire.transcript import Transcript


class SmtpServerProtocol(SaslServerCore[events.Event, Verb, SmtpRecorder]):
    """The state of one session.

    Attributes:
        state: the state.
        offers: what is offered.
        signed_in: whether somebody has signed in.
    """

    _protocol = "SMTP"
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
            offers: the server's extensions; the caller may change them during the session.
            transcript: records the dialogue.
            encrypted: whether TLS is implicit.
            wording: replacements for our replies.
        """
        super().__init__(SmtpRecorder(transcript), encrypted=encrypted, wording=wording)
        self.state = State.GREETING
        self.offers = offers
        self.signed_in = False
        self._message = IncomingMessage(self._events)
        self._recipients = 0

    # Called by the session.

    @property
    def is_idle(self) -> bool:
        """Whether the session is between transactions, so that a 421 can end it."""
        return self.state in IDLE and self._message.chunk is None and not self._input

    @property
    def expects_content(self) -> bool:
        """Whether the next octets belong to a message, or to a chunk."""
        return self.state is State.DATA or self._message.chunk is not None

    @property
    def chunk_left(self) -> int:
        """The octets of the current chunk that are still due; 0 without a chunk."""
        return self._message.chunk.left if self._message.chunk else 0

    def greet(self, reply: Reply | None = None) -> None:
        """Send the greeting: the given positive reply, our own, or a refusal."""
        if self.state is not State.GREETING:
            raise LocalProtocolError("the greeting was sent already")
        self._answer(Verb.GREETING, reply or replies.reply(220, None, f"{self.offers.host} ESMTP"))

    def next_event(self) -> events.Event | None:
        """Return the next event; None if more octets are needed, or the session is over.

        Raises:
            LocalProtocolError: the last event has not been answered.
        """
        if self._reply_due is not None:
            raise LocalProtocolError(f"{self._reply_due.value} has not been answered")
        while not self._events:
            if self.state is State.CLOSED:
                return None
            if self._end_turn():
                return TurnEnded()
            if not self._advance():
                return None
        event, self._reply_due = self._events.popleft()
        return event

    def reply(self, reply: Reply | None = None) -> None:
        """Reply to the last event.

        Args:
            reply: a refusal; None to accept. The end of a message always needs a reply.

        Raises:
            LocalProtocolError: no reply is due.
        """
        verb = self._take_due()
        if reply is not None and reply.code == 421:
            self.close("limit", reply)
        elif self._message.chunk is not None:
            # A refusal of the first chunk is sent at its end.
            self._message.refusal = reply
            if reply is None:
                self._message.begin(self.offers.max_size, chunked=True, as_it_is=self.offers.content_as_it_is)
        elif reply is not None and self._explain(verb, reply, temporary=(reply.code or 0) < 500):
            pass  # it follows the client's response
        else:
            answer = reply or self._acceptance(verb)
            self._answer(verb, answer)
            self._follow_up(verb, accepted=answer.positive)

    def _acceptance(self, verb: Verb) -> Reply:
        if verb in {Verb.EHLO, Verb.HELO}:
            return self.offers.hello_reply(esmtp=verb is Verb.EHLO, encrypted=self.encrypted)
        if verb not in ACCEPTED:
            raise LocalProtocolError("the end of a message demands a reply of its own")
        return ACCEPTED[verb]

    def _follow_up(self, verb: Verb, *, accepted: bool) -> None:
        """Apply the effects of a reply, apart from the new state."""
        if verb in {Verb.EHLO, Verb.HELO}:
            self._message.abort()
        elif verb is Verb.DATA and accepted:
            self._message.begin(self.offers.max_size, chunked=False, as_it_is=self.offers.content_as_it_is)
        elif verb is Verb.RCPT:
            self._recipients += accepted
            self._junk_commands -= accepted
        elif verb in {Verb.AUTH, Verb.RESPONSE}:
            self.signed_in = accepted
        elif self.state is State.READY:
            self._message.begun = False
            if accepted and verb in {Verb.END_OF_DATA, Verb.BDAT_LAST}:
                self._junk_commands = 0

    def tls_started(self) -> None:
        """Reset the state after the TLS handshake (RFC 3207 section 4.2)."""
        if self.state is not State.UPGRADE or self._input:
            raise LocalProtocolError("TLS is not due")
        self.state = State.SECURED
        self.encrypted = True
        self.signed_in = False
        self._recorder.event("encrypted from here on")

    @property
    def _is_closed(self) -> bool:
        return self.state is State.CLOSED

    def _enter_closed(self) -> None:
        self._message.abort()
        self.state = State.CLOSED

    def _encode(self, answer: Reply) -> bytes:
        return replies.encode_reply(answer)

    # The dialogue.

    def _advance(self) -> bool:
        """Take a command or content from the input; return False if more octets are needed."""
        if self.expects_content:
            return self._read_content()
        if self.state in {State.GREETING, State.UPGRADE}:
            return False
        if self._input.begins_with_tls:
            self._end_other_protocol("TLS")
            return True
        return self._read_line(limits.MAX_RESPONSE_LINE if self._in_exchange else limits.MAX_COMMAND_LINE)

    def _read_command(self, line: bytes) -> None:
        try:
            command = commands.parse_command(line)
        except CommandError:
            self._recorder.other_line(line)
            raise
        verb = commands.VERBS.get(command.verb)
        if verb is None:
            self._read_other_command(command, line)
            return
        self._recorder.command(command)
        if self._end_if_too_many_junk_commands():
            return
        if verb in WAIT_BEHIND and self._input:
            self.close("protocol", replies.OUT_OF_SYNC)
        elif verb is Verb.BDAT:
            self._bdat(command.argument)
        elif (self.state, verb) in TRANSITIONS:
            self._HANDLERS[verb](self, command.argument)
        else:
            self._refuse_out_of_order(verb, command.argument)

    def _read_other_command(self, command: Command, line: bytes) -> None:
        if self._end_if_too_many_junk_commands():
            return
        if " HTTP/" in command.argument:
            self._end_other_protocol("HTTP", replies.NOT_SMTP)
        elif (answer := commands.STATELESS.get(command.verb)) is not None:
            self._recorder.command(command)
            self._send(answer)
        else:
            self._recorder.other_line(line)
            raise CommandError(replies.UNKNOWN_COMMAND)

    def _refuse_out_of_order(self, verb: Verb, argument: str) -> None:
        if self.state is State.REJECTED and verb in {Verb.EHLO, Verb.HELO}:
            self._events.append((events.Hello(argument, verb is Verb.EHLO), None))
        answer = out_of_order(self.state, verb)
        if verb not in {Verb.RCPT, Verb.DATA}:
            raise CommandError(answer)
        # These do not count as junk: the client has sent them in one group with MAIL, which was refused.
        self._send(answer)

    def _answer(self, verb: Verb, answer: Reply) -> None:
        """Send the reply to a permitted command, and change the state accordingly."""
        transition = TRANSITIONS[self.state, verb]
        code = answer.code or 0
        after = transition.positive if code < 300 else transition.intermediate if code < 400 else transition.negative
        if after is None:
            raise LocalProtocolError(f"{code} in reply to {verb.value}")
        self._send(answer)
        self.state = after

    # Commands, each in a state that permits it.

    def _ehlo(self, name: str) -> None:
        self._events.append((events.Hello(name, esmtp=True), Verb.EHLO))

    def _helo(self, name: str) -> None:
        self._events.append((events.Hello(name, esmtp=False), Verb.HELO))

    def _starttls(self, argument: str) -> None:
        if argument:
            raise CommandError(commands.NO_ARGUMENT)
        if self.encrypted or not self.offers.tls:
            raise CommandError(replies.TLS_ACTIVE if self.encrypted else replies.NO_TLS)
        self._events.append((events.StartTls(), Verb.STARTTLS))

    def _auth(self, argument: str) -> None:
        self.offers.check_authentication(encrypted=self.encrypted)
        if self.signed_in:
            raise CommandError(replies.ALREADY_SIGNED_IN)
        self._begin_exchange(argument, self.offers.mechanisms)

    @property
    def _in_exchange(self) -> bool:
        return self.state is State.AUTH

    def _challenge(self, verb: Verb, octets: bytes) -> None:
        self._answer(verb, replies.challenge(octets))

    def _mail(self, argument: str) -> None:
        sender, parameters = self.offers.parse_mail(argument)
        if (parameters.size or 0) > self.offers.max_size:
            self._answer(Verb.MAIL, replies.TOO_LARGE)
        else:
            self._recipients = 0
            self._events.append((events.Mail(sender, parameters), Verb.MAIL))

    def _rcpt(self, argument: str) -> None:
        recipient = self.offers.parse_rcpt(argument)
        if self._recipients >= limits.MAX_RECIPIENTS:
            self._answer(Verb.RCPT, replies.TOO_MANY_RECIPIENTS)
        else:
            self._events.append((events.Recipient(recipient), Verb.RCPT))

    def _data(self, argument: str) -> None:
        if argument:
            raise CommandError(commands.NO_ARGUMENT)
        self._events.append((events.Begin(), Verb.DATA))

    def _bdat(self, argument: str) -> None:
        try:
            size, last = commands.parse_bdat(argument)
        except CommandError as error:
            self.close("protocol", error.reply)
            return
        verb, message = Verb.BDAT_LAST if last else Verb.BDAT, self._message
        if (self.state, verb) not in TRANSITIONS:
            message.refusal = out_of_order(self.state, verb)
        elif message.size + size > self.offers.max_size:
            message.refuse(replies.TOO_LARGE)
        if message.refusal is not None and size > limits.MAX_DISCARDED:
            self.close("limit", message.refusal)
            return
        message.chunk = Chunk(verb, size)
        self._junk_commands -= size >= limits.MIN_CHUNK
        if message.refusal is None and not message.begun:
            self._events.append((events.Begin(), verb))

    def _rset(self, _argument: str) -> None:
        self._message.abort()
        self._answer(Verb.RSET, replies.DONE)

    def _noop(self, _argument: str) -> None:
        self._answer(Verb.NOOP, replies.DONE)

    def _quit(self, _argument: str) -> None:
        self.close("quit", replies.GOODBYE)

    _HANDLERS: ClassVar[Mapping[Verb, Callable[[Any, str], None]]] = {
        Verb.EHLO: _ehlo,
        Verb.HELO: _helo,
        Verb.STARTTLS: _starttls,
        Verb.AUTH: _auth,
        Verb.MAIL: _mail,
        Verb.RCPT: _rcpt,
        Verb.DATA: _data,
        Verb.RSET: _rset,
        Verb.NOOP: _noop,
        Verb.QUIT: _quit,
    }

    def _read_content(self) -> bool:
        before = len(self._input)
        complete = self._message.read(self._input)
        if complete is Verb.BDAT and self._message.refusal is None:
            self._recorder.event(f"a chunk, {self._message.size} octets so far")
            self._events.append((events.ChunkReceived(), complete))
        elif complete is not None:
            self._end_message(complete)
        elif self._message.is_discarded_too_long:
            self.close("limit", self._message.refusal)
        return complete is not None or len(self._input) != before

    def _end_message(self, verb: Verb) -> None:
        refusal = self._message.finish()
        if refusal is None:
            self._recorder.content(self._message.size)
            self._events.append((events.EndOfMessage(self._message.size), verb))
            return
        self._recorder.event("a message that was refused")
        if (self.state, verb) in TRANSITIONS:
            self._answer(verb, refusal)
        else:
            self._send(refusal)
