"""A token service on loopback that sends exactly what a test gives it, and records its requests."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener

from mailslot.oauth.client import OAuthClient
from mailslot.oauth.providers import Endpoints, Provider, Quirks
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping

    from anyio.abc import ByteStream

ScriptedAnswer = bytes | Literal["reset", "silence", "drip"]


@dataclass
class Request:
    """A received request."""

    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.line.split()[1]

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=bool(self.body)))


@dataclass
class ScriptedService:
    """A service that is listening.

    Attributes:
        url: its address.
        requests: the received requests.
        open: how many connections are open.
    """

    url: str
    requests: list[Request] = field(default_factory=list)
    open: int = 0

    @property
    def last(self) -> Request:
        return self.requests[-1]


def http_response(body: bytes | str | object = b"", status: int = 200, **headers: str) -> bytes:
    """Return an HTTP response; a body that is neither octets nor text is sent as JSON."""
    if not isinstance(body, bytes | str):
        body, headers = json.dumps(body), {"content_type": "application/json", **headers}
    octets = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(octets)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + octets


@asynccontextmanager
async def run_scripted_service(
    *answers: ScriptedAnswer | Callable[[Request], ScriptedAnswer],
    context: ssl.SSLContext | None = None,
    greeting: bytes = b"",
) -> AsyncIterator[ScriptedService]:
    """Serve while the block runs: the n-th request gets the n-th answer, later ones the last."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=8)
    port = listener.extra(SocketAttribute.local_port)
    service = ScriptedService(f"{'https' if context else 'http'}://localhost:{port}")
    failure: BaseException | None = None

    async def serve(stream: ByteStream) -> None:
        service.open += 1
        try:
            if greeting:
                await stream.send(greeting)
            request = await _read(stream)
            service.requests.append(request)
            answer = answers[min(len(service.requests), len(answers)) - 1]
            await _answer(stream, answer(request) if callable(answer) else answer)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            service.open -= 1
            await anyio.aclose_forcefully(stream)

    serving = listener if context is None else TLSListener(listener, context, standard_compatible=False)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(serving.serve, serve)
        try:
            yield service
        except BaseException as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _read(stream: ByteStream) -> Request:
    received = b""
    while b"\r\n\r\n" not in received:
        received += await stream.receive()
    head, _, body = received.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    while len(body) < int(headers.get("content-length", "0")):
        body += await stream.receive()
    return Request(line, headers, body)


async def _answer(stream: ByteStream, answer: ScriptedAnswer) -> None:
    if isinstance(answer, bytes):
        await stream.send(answer)
    elif answer == "silence":
        await anyio.sleep(60)
    elif answer == "drip":
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{")
        while True:
            await anyio.sleep(0.02)
            await stream.send(b" ")
    else:
        raw: socket.socket = stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def client(url: str = "https://issuer.test", *, secret: str | None = None, **quirks: object) -> OAuthClient:
    """A client of a provider at `url`."""
    provider = Provider(
        "custom",
        "Test",
        Endpoints(issuer=url, token=f"{url}/token"),
        quirks=Quirks(**quirks),  # type: ignore[arg-type] # a test's own names
    )
    return OAuthClient(
        provider,
        "the client",
        "scanner@example.com",
        ("mail.send", "offline_access"),
        client_secret=None if secret is None else Secret(secret),
    )
