"""The common core of all servers: octets in, replies out, with limits on bad and junk commands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Generic, TypeAlias, TypeVar

from mailslot.wire.closing import Closing
from mailslot.wire.command_input import CommandInput
from mailslot.wire.dialogue_recorder import DialogueRecorder
from mailslot.wire.protocol_error import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.closing import Ending
    from mailslot.wire.reply import Reply

MAX_BAD_COMMANDS: Final = 10
"""Commands that cannot be parsed, after which the session ends."""

MAX_JUNK_COMMANDS: Final = 100
"""Commands without progress towards a message, after which the session ends (Postfix: ``smtpd_junk_command_limit``)."""

MAX_TURN: Final = 50
"""Commands processed in one turn, which takes a few milliseconds."""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The event that this session's turn is over: send the replies, and give other sessions a turn."""


Wording: TypeAlias = "Mapping[Reply, Reply]"
"""Replacements for the server's own replies, with the same meaning for a client."""

Event = TypeVar("Event")
Verb = TypeVar("Verb")
Recorder = TypeVar("Recorder", bound=DialogueRecorder)


class ServerCore(ABC, Generic[Event, Verb, Recorder]):
    """The core of a session; a protocol adds its states and commands.

    A client can send thousands of commands at once. So they are processed in turns, and their number is limited as long
    as no message comes.

    Attributes:
        encrypted: whether TLS is in use.
        other_protocol: the protocol that the client uses instead of ours, ``"TLS"`` or ``"HTTP"``; None for ours.
        refusal: the last negative reply; None without one.
    """

    _protocol: ClassVar[str]
    _too_many_bad_commands: ClassVar[Reply]
    _too_many_junk_commands: ClassVar[Reply]

    def __init__(self, recorder: Recorder, *, encrypted: bool, wording: Wording | None = None) -> None:
        """Create the core of a session.

        Args:
            recorder: records the dialogue.
            encrypted: whether TLS is implicit.
            wording: replacements for our replies.
        """
        self.encrypted = encrypted
        self.other_protocol: str | None = None
        self.refusal: Reply | None = None
        self._recorder = recorder
        self._wording = wording or {}
        self._input = CommandInput()
        self._output: bytearray = bytearray()
        self._events: deque[tuple[Event | Closing, Verb | None]] = deque()
        self._reply_due: Verb | None = None
        self._bad_commands = 0
        self._junk_commands = 0
        self._turn = 0

    @abstractmethod
    def _encode(self, answer: Reply) -> bytes:
        """Return the octets of a reply."""

    @property
    @abstractmethod
    def _is_closed(self) -> bool:
        """Whether the session is over."""

    @abstractmethod
    def _enter_closed(self) -> None:
        """Abort the current command and enter the closed state."""

    @abstractmethod
    def _refuse_bad_command(self, answer: Reply) -> None:
        """Refuse a line that cannot be parsed."""

    @property
    def reply_due(self) -> bool:
        """Whether a reply to the last event is due."""
        return self._reply_due is not None

    def receive(self, data: bytes) -> None:
        """Take octets from the client."""
        self._input.feed(data)

    def octets_to_send(self, at_least: int = 1) -> bytes:
        """Return and remove the octets to send; none if there are less than `at_least`."""
        if len(self._output) < at_least:
            return b""
        data, self._output = bytes(self._output), bytearray()
        return data

    def close(self, ending: Ending, reply: Reply | None = None) -> None:
        """End the session.

        Args:
            ending: the reason.
            reply: an unsolicited last reply, or None.
        """
        if self._is_closed:
            return
        if reply is not None:
            self._send(reply)
        self._reply_due = None
        self._events.clear()
        self._input.clear()
        self._enter_closed()
        self._events.append((Closing(ending), None))

    def _take_due(self) -> Verb:
        """Return the verb to reply to.

        Raises:
            LocalProtocolError: no reply is due.
        """
        verb, self._reply_due = self._reply_due, None
        if verb is None:
            raise LocalProtocolError("no reply is due")
        return verb

    def refuse(self, line: bytes, answer: Reply) -> None:
        """Refuse a command line that was not passed to `receive`, for callers that are stricter than this core."""
        self._recorder.other_line(line)
        self._refuse_bad_command(answer)

    def _send(self, answer: Reply) -> None:
        if self._wording:
            answer = self._wording.get(answer, answer)
        if not answer.positive:
            self.refusal = answer
        self._recorder.reply(answer)
        self._output += self._encode(answer)

    def _end_if_too_many_bad_commands(self) -> bool:
        """Count a bad command; after too many, end the session and return True."""
        self._bad_commands += 1
        if self._bad_commands < MAX_BAD_COMMANDS:
            return False
        self.close("limit", self._too_many_bad_commands)
        return True

    def _end_if_too_many_junk_commands(self, limit: int = MAX_JUNK_COMMANDS) -> bool:
        """Count a junk command; after too many, end the session and return True."""
        self._junk_commands += 1
        if self._junk_commands <= limit:
            return False
        self.close("limit", self._too_many_junk_commands)
        return True

    def _end_turn(self) -> bool:
        """Return whether the turn is over; if so, begin the next one."""
        if self._turn < MAX_TURN:
            return False
        self._turn = 0
        return True

    def _end_other_protocol(self, name: str, answer: Reply | None = None) -> None:
        self.other_protocol = name
        self._recorder.event(f"the client speaks {name}, where {self._protocol} was due")
        self.close("protocol", answer)
