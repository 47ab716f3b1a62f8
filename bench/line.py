"""A long line: ``line.py FROM TO SECONDS`` passes octets from port to port, each so many seconds later.

Everything is delayed and nothing held back, so the line limits no throughput. What a client sends before a TCP
connection over such a line would be up counts as sent at that moment.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

# The event loop sleeps whole milliseconds, so on average half of one too long.
OVERSLEPT = 0.0005


class End(asyncio.Protocol):
    """One end of a connection; what it receives leaves at the other end. The near one opens the far one."""

    def __init__(self, delay: float, port: int = 0, other: End | None = None) -> None:
        self.loop, self.delay, self.port, self.other = asyncio.get_running_loop(), delay, port, other
        self.transport: asyncio.Transport | None = None
        self.up_at = 0.0
        self.queue: deque[tuple[float, bytes]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.other is not None:
            self.other.flush()
            return
        self.other = End(self.delay, other=self)
        self.up_at = self.loop.time() + 2 * self.delay
        self.loop.call_at(self.up_at + self.delay - OVERSLEPT, self.open, self.other)

    def open(self, far: End) -> None:
        self.opening = asyncio.ensure_future(self.loop.create_connection(lambda: far, "127.0.0.1", self.port))

    def data_received(self, data: bytes) -> None:
        due = max(self.loop.time(), self.up_at) + self.delay
        self.queue.append((due, data))
        self.loop.call_at(due - OVERSLEPT, self.flush)

    def connection_lost(self, exc: Exception | None) -> None:
        self.data_received(b"")

    def flush(self) -> None:
        to = self.other.transport if self.other else None
        while to is not None and self.queue and self.queue[0][0] <= self.loop.time() + 2 * OVERSLEPT:
            data = self.queue.popleft()[1]
            to.write(data) if data else to.close()


async def main(near: int, far: int, delay: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: End(delay, far), "127.0.0.1", near)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
