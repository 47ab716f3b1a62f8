"""A server on loopback that reads one request per connection and responds as the test wants."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from anyio.abc import SocketStream

LOST = (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError)


@dataclass
class WebhookServer:
    """An HTTP server with scripted responses, which records the bodies of requests.

    Attributes:
        answers: the responses in order; the last one is repeated.
        bodies: the bodies of the received requests.
    """

    answers: list[bytes]
    port: int = 0
    bodies: list[bytes] = field(default_factory=list)

    async def handle(self, stream: SocketStream) -> None:
        async with stream:
            received = BufferedByteReceiveStream(stream)
            try:
                head = await received.receive_until(b"\r\n\r\n", 10_000)
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await received.receive_exactly(int(length[0].split(b":")[1])) if length else b""
                self.bodies.append(body)
                await stream.send(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
                await stream.send_eof()
                await received.receive()
            except LOST:
                pass


@asynccontextmanager
async def run_webhook_server(*answers: bytes) -> AsyncGenerator[WebhookServer]:
    """Run the server while the block runs."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    web = WebhookServer(list(answers), listener.extra(SocketAttribute.local_port))
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, web.handle)
        yield web
        group.cancel_scope.cancel()
