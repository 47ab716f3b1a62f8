"""Admission of connections when the limit is reached: a new one replaces one of the address that has the most.

With a limit alone, a few addresses could occupy all connections and lock out everybody else. The connection that is
replaced is the one that has been idle longest, since browsers reopen those silently, or else the one with the oldest
request.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Final

import anyio

from mailslot_plugins.panel.security.addresses import LOOPBACK, client_network

if TYPE_CHECKING:
    from socket import socket

MAX_CONNECTIONS: Final = 128
"""Connections at the same time."""

MAX_CONNECTIONS_PER_PEER: Final = 24
"""Connections from one IPv4 address or IPv6 network at the same time; a browser opens six. Loopback has no such limit,
since all clients may come through a proxy on this machine."""


@dataclass(eq=False, slots=True)
class AdmittedConnection:
    """An admitted connection.

    Attributes:
        connection: its socket.
        peer: the client network that it counts for.
        since: when it became idle or busy, in seconds of the event loop's clock.
        busy: whether a request is being answered.
        evicted: whether it was replaced; it is about to end and no longer counts.
    """

    connection: socket
    peer: str
    since: float
    busy: bool = False
    evicted: bool = False

    def mark(self, *, busy: bool) -> None:
        """Record whether a request is being answered."""
        self.busy, self.since = busy, anyio.current_time()

    def evict(self) -> None:
        """Shut the socket down, which ends the task that serves it."""
        self.evicted = True
        with suppress(OSError):
            self.connection.shutdown(SHUT_RDWR)


class Admission:
    """The connections of one listening socket."""

    def __init__(self) -> None:
        self._all: dict[AdmittedConnection, None] = {}

    def admit(self, connection: socket, address: str) -> AdmittedConnection | None:
        """Admit a connection, possibly in place of another one; return None if there is no room."""
        if len(self._all) >= 2 * MAX_CONNECTIONS:
            return None  # that many evicted connections have not ended yet
        admitted = AdmittedConnection(connection, client_network(address), anyio.current_time())
        if self._is_full(admitted.peer):
            candidates = self._candidates(admitted.peer)
            if not candidates:
                return None
            min(candidates, key=lambda each: (each.busy, each.since)).evict()
        self._all[admitted] = None
        return admitted

    def release(self, admitted: AdmittedConnection) -> None:
        """Remove a connection that has ended."""
        del self._all[admitted]

    def _counts(self) -> Counter[str]:
        return Counter(each.peer for each in self._all if not each.evicted)

    def _is_at_limit(self, peer: str) -> bool:
        return peer != LOOPBACK and self._counts()[peer] >= MAX_CONNECTIONS_PER_PEER

    def _is_full(self, peer: str) -> bool:
        return self._is_at_limit(peer) or self._counts().total() >= MAX_CONNECTIONS

    def _candidates(self, peer: str) -> list[AdmittedConnection]:
        """Return the connections of which one may be evicted for a new one from `peer`.

        A connection with a request is evicted only for a peer that has fewer connections.
        """
        counts = self._counts()
        most = {peer} if self._is_at_limit(peer) else {each for each in counts if counts[each] == max(counts.values())}
        return [
            each
            for each in self._all
            if not each.evicted and each.peer in most and (not each.busy or counts[peer] < counts[each.peer])
        ]
