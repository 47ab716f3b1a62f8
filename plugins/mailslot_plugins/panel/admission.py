"""Who gets a connection when all are taken: whoever has fewest, at the cost of whoever has most.

A bound alone would let a handful of addresses that hold their connections shut everybody else out. So a newcomer is
admitted in place of a connection of the address that has the most: the one that has waited longest for a request, since
a browser opens that again without a word, or else the one whose request takes longest.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Final

import anyio

from mailslot_plugins.panel.security.addresses import LOOPBACK, neighbourhood

if TYPE_CHECKING:
    from socket import socket

MOST: Final = 128
"""Connections at a time."""

MOST_OF_ONE: Final = 24
"""Connections from one address, or one network of IPv6, at a time; a browser opens six. This machine may have more,
since a proxy on it may bring everybody."""


@dataclass(eq=False, slots=True)
class Admitted:
    """A connection that was admitted.

    Attributes:
        connection: its socket.
        peer: whom it counts for.
        since: when it began to be idle, or busy, in seconds of the event loop's clock.
        busy: whether a request has come and is being answered.
        evicted: whether it had to leave; it is about to end then, and does not count any more.
    """

    connection: socket
    peer: str
    since: float
    busy: bool = False
    evicted: bool = False

    def mark(self, *, busy: bool) -> None:
        """Note that a request begins to be answered, or that none is."""
        self.busy, self.since = busy, anyio.current_time()

    def evict(self) -> None:
        """Cut the line; whoever serves it then ends."""
        self.evicted = True
        with suppress(OSError):
            self.connection.shutdown(SHUT_RDWR)


class Admission:
    """All connections to one socket."""

    def __init__(self) -> None:
        self._all: dict[Admitted, None] = {}

    def admit(self, connection: socket, address: str) -> Admitted | None:
        """Return a connection as admitted, perhaps in place of another; None where there is no room.

        Args:
            connection: its socket.
            address: the other side's.
        """
        if len(self._all) >= 2 * MOST:
            return None  # as many as may be open were evicted, and have not ended yet
        admitted = Admitted(connection, neighbourhood(address), anyio.current_time())
        if self._is_full(admitted.peer):
            candidates = self._candidates(admitted.peer)
            if not candidates:
                return None
            min(candidates, key=lambda each: (each.busy, each.since)).evict()
        self._all[admitted] = None
        return admitted

    def leave(self, admitted: Admitted) -> None:
        """Forget a connection that has ended."""
        del self._all[admitted]

    def _counts(self) -> Counter[str]:
        return Counter(each.peer for each in self._all if not each.evicted)

    def _has_its_share(self, peer: str) -> bool:
        return peer != LOOPBACK and self._counts()[peer] >= MOST_OF_ONE

    def _is_full(self, peer: str) -> bool:
        return self._has_its_share(peer) or self._counts().total() >= MOST

    def _candidates(self, peer: str) -> list[Admitted]:
        """Return the connections of which one may be evicted for a newcomer.

        Among one's own, only those without a request: nobody gains by losing an answer.
        """
        counts = self._counts()
        most = (
            {peer} if self._has_its_share(peer) else {each for each in counts if counts[each] == max(counts.values())}
        )
        return [
            each
            for each in self._all
            if not each.evicted and each.peer in most and (not each.busy or counts[peer] < counts[each.peer])
        ]
