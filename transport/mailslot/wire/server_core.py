"""What the cores of all servers share: octets in, replies out, and an end to commands that make no sense."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Generic, TypeAlias, TypeVar

from mailslot.wire.closing import Closing
from mailslot.wire.command_input import CommandInput
from mailslot.wire.dialogue_notes import DialogueNotes
from mailslot.wire.protocol_error import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.closing import Ending
    from mailslot.wire.reply import Reply

MAX_BAD_COMMANDS: Final = 10
"""Commands that cannot be understood, after which the session ends."""

MAX_JUNK_COMMANDS: Final = 100
"""Commands that bring no message nearer, after which the session ends (Postfix: ``smtpd_junk_command_limit``)."""

MAX_TURN: Final = 50
"""Commands taken in one turn, which takes a few milliseconds."""


@dataclass(frozen=True, slots=True)
class TurnOver:
    """The event that this session has had its turn: send what is to be sent, and let others have theirs."""


Wording: TypeAlias = "Mapping[Reply, Reply]"
"""What is said instead of a reply of the server's own. It must mean the same to a client."""

Event = TypeVar("Event")
Verb = TypeVar("Verb")
Notes = TypeVar("Notes", bound=DialogueNotes)


class ServerCore(ABC, Generic[Event, Verb, Notes]):
    """The core of a session; a protocol adds its states and commands.

    A client can send thousands of commands at once. So they are taken in turns, and they come to an end where nothing
    but commands comes.

    Attributes:
        encrypted: whether TLS is in use.
        other_protocol: the protocol that the client speaks instead of ours, ``"TLS"`` or ``"HTTP"``; None for none.
        refusal: the last reply that refused anything; None without one.
    """

    _protocol: ClassVar[str]
    _too_many_bad_commands: ClassVar[Reply]
    _too_many_junk_commands: ClassVar[Reply]

    def __init__(self, notes: Notes, *, encrypted: bool, wording: Wording | None = None) -> None:
        """Begin a session.

        Args:
            notes: record the dialogue.
            encrypted: whether TLS was there from the first octet.
            wording: other words for our replies.
        """
        self.encrypted = encrypted
        self.other_protocol: str | None = None
        self.refusal: Reply | None = None
        self._notes = notes
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
        """Return a reply as it is sent."""

    @property
    @abstractmethod
    def _is_closed(self) -> bool:
        """Whether the session is over."""

    @abstractmethod
    def _enter_closed(self) -> None:
        """Give up what is under way: the session is over."""

    @abstractmethod
    def _refuse_bad_command(self, answer: Reply) -> None:
        """Refuse a line that cannot be understood."""

    @property
    def reply_due(self) -> bool:
        """Whether the last event demands a reply."""
        return self._reply_due is not None

    def receive(self, data: bytes) -> None:
        """Take octets from the client."""
        self._input.feed(data)

    def octets_to_send(self, at_least: int = 1) -> bytes:
        """Return, and forget, what is to be sent; nothing if it is less than `at_least` octets."""
        if len(self._output) < at_least:
            return b""
        data, self._output = bytes(self._output), bytearray()
        return data

    def close(self, ending: Ending, reply: Reply | None = None) -> None:
        """End the session.

        Args:
            ending: why.
            reply: a last reply that nobody has asked for, or None.
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
        """Return what is to be answered now.

        Raises:
            LocalProtocolError: nothing is.
        """
        verb, self._reply_due = self._reply_due, None
        if verb is None:
            raise LocalProtocolError("no reply is due")
        return verb

    def refuse(self, line: bytes, answer: Reply) -> None:
        """Refuse a command line that `receive` is not given, since the caller demands more of a client than we do."""
        self._notes.other_line(line)
        self._refuse_bad_command(answer)

    def _send(self, answer: Reply) -> None:
        if self._wording:
            answer = self._wording.get(answer, answer)
        if not answer.positive:
            self.refusal = answer
        self._notes.reply(answer)
        self._output += self._encode(answer)

    def _end_if_too_many_bad_commands(self) -> bool:
        """Count a bad command; end the session, and return True, if there were too many."""
        self._bad_commands += 1
        if self._bad_commands < MAX_BAD_COMMANDS:
            return False
        self.close("limit", self._too_many_bad_commands)
        return True

    def _end_if_too_many_junk_commands(self, limit: int = MAX_JUNK_COMMANDS) -> bool:
        """Count a command as long as it brings no message nearer; end the session, and return True, if too many did."""
        self._junk_commands += 1
        if self._junk_commands <= limit:
            return False
        self.close("limit", self._too_many_junk_commands)
        return True

    def _end_turn(self) -> bool:
        """Tell whether enough lines were taken for one turn, and begin another one if so."""
        if self._turn < MAX_TURN:
            return False
        self._turn = 0
        return True

    def _end_other_protocol(self, name: str, answer: Reply | None = None) -> None:
        self.other_protocol = name
        self._notes.event(f"the client speaks {name}, where {self._protocol} was due")
        self.close("protocol", answer)
