"""A proxy that delays octets: ``delay_proxy.py FROM TO SECONDS`` passes them from port to port.

It does not limit the throughput. What a client sends before a TCP connection with such a delay would be established is
taken as sent at that time.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

# The event loop sleeps whole milliseconds, so on average half of one too long.
TIMER_ERROR = 0.0005


class ProxySide(asyncio.Protocol):
    """One side of a proxied connection; the other side sends what it receives. The client's side opens the server's."""

    def __init__(self, delay: float, port: int = 0, other: ProxySide | None = None) -> None:
        self.loop, self.delay, self.port, self.other = asyncio.get_running_loop(), delay, port, other
        self.transport: asyncio.Transport | None = None
        self.established_at = 0.0
        self.queue: deque[tuple[float, bytes]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.other is not None:
            self.other.flush()
            return
        self.other = ProxySide(self.delay, other=self)
        self.established_at = self.loop.time() + 2 * self.delay
        self.loop.call_at(self.established_at + self.delay - TIMER_ERROR, self.open, self.other)

    def open(self, server_side: ProxySide) -> None:
        self.opening = asyncio.ensure_future(self.loop.create_connection(lambda: server_side, "127.0.0.1", self.port))

    def data_received(self, data: bytes) -> None:
        due = max(self.loop.time(), self.established_at) + self.delay
        self.queue.append((due, data))
        self.loop.call_at(due - TIMER_ERROR, self.flush)

    def connection_lost(self, exc: Exception | None) -> None:
        self.data_received(b"")

    def flush(self) -> None:
        to = self.other.transport if self.other else None
        while to is not None and self.queue and self.queue[0][0] <= self.loop.time() + 2 * TIMER_ERROR:
            data = self.queue.popleft()[1]
            to.write(data) if data else to.close()


async def main(listen_port: int, server_port: int, delay: float) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: ProxySide(delay, server_port), "127.0.0.1", listen_port
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
