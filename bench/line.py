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


class Half(asyncio.Protocol):
    """One side of a connection; what it receives leaves on the other side."""

    def __init__(self, delay: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.delay = delay
        self.transport: asyncio.Transport | None = None
        self.other: Half | None = None
        self.up_at = 0.0
        self.queue: deque[tuple[float, bytes]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.other is not None:
            self.other.flush()

    def data_received(self, data: bytes) -> None:
        due = max(self.loop.time(), self.up_at) + self.delay
        self.queue.append((due, data))
        self.loop.call_at(due - OVERSLEPT, self.flush)

    def connection_lost(self, exc: Exception | None) -> None:
        self.data_received(b"")

    def flush(self) -> None:
        to = self.other.transport if self.other else None
        while to is not None and self.queue and self.queue[0][0] <= self.loop.time() + 2 * OVERSLEPT:
            _, data = self.queue.popleft()
            if data:
                to.write(data)
            else:
                to.close()


class Near(Half):
    """The client's side, which opens the other one."""

    def __init__(self, port: int, delay: float) -> None:
        super().__init__(delay)
        self.port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.up_at = self.loop.time() + 2 * self.delay
        self.loop.call_at(self.up_at + self.delay - OVERSLEPT, self.open)

    def open(self) -> None:
        self.other = Half(self.delay)
        self.other.other = self
        self.task = asyncio.ensure_future(
            self.loop.create_connection(lambda: self.other, "127.0.0.1", self.port)  # type: ignore[arg-type, return-value]  # Half
        )


async def main(near: int, far: int, delay: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Near(far, delay), "127.0.0.1", near)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
