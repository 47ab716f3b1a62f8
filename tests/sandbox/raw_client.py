"""A blocking client that sends exactly what it is given, for threads."""

from __future__ import annotations

import base64
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.net.endpoint import Endpoint
    from mailslot_plugins.sandbox import Sandbox

PASSWORD = "open sesame"
USER = "scanner@example.com"


async def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a blocking client beside the sandbox."""
    with anyio.fail_after(120):
        return await anyio.to_thread.run_sync(partial(function, *args, **kwargs))


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def xoauth2(token: str, user: str = USER) -> str:
    return b64(f"user={user}\x01auth=Bearer {token}\x01\x01")


def oauthbearer(token: str, port: int, user: str = USER) -> str:
    return b64(f"n,a={user},\x01host=localhost\x01port={port}\x01auth=Bearer {token}\x01\x01")


class RawClient:
    """A connection in octets and lines."""

    def __init__(self, sandbox: Sandbox, endpoint: Endpoint, *, greeted: bool = True) -> None:
        self.context = sandbox.client_context()
        self.port = endpoint.port
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", endpoint.port), 120)
        if endpoint.security.value == "tls":
            self.start_tls()
        else:
            self.file = self.socket.makefile("rb")
        if greeted:
            self.line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def start_tls(self) -> None:
        self.socket = self.context.wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> str:
        """Return the next line with its end taken off, or "" at the end of the connection."""
        return self.file.readline().decode().removesuffix("\r\n")

    def reply(self) -> str:
        """Return an SMTP answer, its lines joined with LF."""
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return "\n".join(lines)

    def lines(self) -> list[str]:
        """Return a multi-line POP3 answer."""
        lines = [self.line()]
        while lines[0].startswith("+OK") and lines[-1] != ".":
            lines.append(self.line())
        return lines

    def execute(self, command: str) -> str:
        """Send a command and return its (SMTP or one-line) answer."""
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def execute_multiline(self, command: str) -> list[str]:
        self.send(command.encode() + b"\r\n")
        return self.lines()

    @property
    def is_closed(self) -> bool:
        """Whether the server has ended the connection."""
        return self.file.read(1) == b""


def smtp(sandbox: Sandbox, *, authenticated: bool = True) -> RawClient:
    """Return a client of the submission server inside TLS, after EHLO."""
    client = RawClient(sandbox, sandbox.smtps)
    client.execute("EHLO [127.0.0.1]")
    if authenticated:
        token = sandbox.provider.issue(USER).value.reveal()
        client.execute("AUTH XOAUTH2")
        assert client.execute(xoauth2(token)).startswith("235")
    return client


def pop3(sandbox: Sandbox, user: str = USER) -> RawClient:
    """Return a client of the POP3 server that has signed in."""
    client = RawClient(sandbox, sandbox.pop3s)
    token = sandbox.provider.issue(user).value.reveal()
    client.execute("AUTH XOAUTH2")
    assert client.execute(xoauth2(token, user)).startswith("+OK")
    return client
