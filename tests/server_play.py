"""Dialogues that a server's core plays: what a client sends, and what is answered to it, fed in different ways."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from mailslot.wire.reply import Reply

Core = TypeVar("Core")
Feed = Callable[[bytes], Iterable[bytes]]


def whole(octets: bytes) -> Iterable[bytes]:
    return [octets]


def bytewise(octets: bytes) -> Iterable[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


FEEDS: dict[str, Feed] = {"whole": whole, "bytewise": bytewise}


@dataclass
class ServerPlayer(Generic[Core]):
    """A core whose events are answered at once, and recorded.

    Attributes:
        refusals: the reply to an event, by its type; all others are accepted.
        heard: the events, apart from content.
    """

    core: Core
    refusals: dict[type, Reply] = field(default_factory=dict)
    heard: list[Any] = field(default_factory=list)
    sent: bytes = b""

    @abstractmethod
    def react(self, event: Any) -> None:
        """Answer an event, and record it."""

    def feed(self, octets: bytes) -> None:
        core: Any = self.core
        if core.state.name != "CLOSED":
            core.receive(octets)
        self.drain()

    def drain(self) -> None:
        core: Any = self.core
        while (event := core.next_event()) is not None:
            self.react(event)
        self.sent += core.octets_to_send()

    def take_sent(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent


def converse(made: ServerPlayer[Any], dialogue: str, feed: Feed = whole) -> None:
    """Play a dialogue: lines with ``C: `` in one group are one flight; ``S: `` lines are the whole answer to it.

    ``\\r``, ``\\n`` and ``\\x…`` in a client's line are those octets, and one with ``\\`` at its end has no CRLF.
    """
    flight, due = b"", ""
    for line in [*filter(None, map(str.strip, dialogue.splitlines())), "C: "]:
        if line.startswith("C: ") or line == "C:":
            if due:
                for octets in feed(flight):
                    made.feed(octets)
                assert made.take_sent().decode() == due
                flight, due = b"", ""
            text = line[3:]
            bare = text.endswith("\\")
            flight += text.removesuffix("\\").encode().decode("unicode_escape").encode("latin-1") + (
                b"" if bare else b"\r\n"
            )
        else:
            assert line.startswith("S:"), line
            # An empty challenge keeps its blank.
            due += line[3:] + (" \r\n" if line in {"S: 334", "S: +"} else "\r\n")
