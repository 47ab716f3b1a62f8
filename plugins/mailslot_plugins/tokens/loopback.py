"""The loopback listener that receives the redirect of one sign-in (RFC 8252 sections 7.3 and 8.3)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import SocketAttribute

from mailslot.plugin import TokenError
from mailslot_plugins.tokens import page
from mailslot_plugins.tokens.authorization import parse_parameters, sign_in_incomplete_error, sign_in_timeout_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from anyio.abc import Listener, SocketStream

    from mailslot.plugin import Secret
    from mailslot_plugins.tokens.authorization import AuthorizationAttempt

_MAX_HEAD: Final = 32_768  # octets of a request
_CONNECTION_TIMEOUT: Final = 10.0  # seconds for one connection; browsers open some without using them
_MAX_CONNECTIONS: Final = 16

_DISCONNECTED = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class Loopback:
    """An open loopback listener.

    Attributes:
        redirect_uri: its address.
    """

    def __init__(self, listener: Listener[SocketStream], host: str) -> None:
        self.redirect_uri = f"http://{host}:{listener.extra(SocketAttribute.local_port)}"
        self._listener = listener

    async def wait_for_code(
        self, attempt: AuthorizationAttempt, show: Callable[[str], Awaitable[None]], timeout: float
    ) -> Secret:
        """Show where to sign in, and wait for the authorization code in the redirect.

        Only a request with the attempt's state is accepted. Any other one gets an error page and changes nothing.

        Args:
            attempt: the attempt, with our redirect URI.
            show: shows an address to the person.
            timeout: seconds to wait.

        Raises:
            TokenError: the sign-in was refused, or nobody finished it in time.
        """
        handler = _RedirectHandler(attempt)
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listener.serve, handler.serve)
            try:
                await show(attempt.url)
                with anyio.move_on_after(timeout):
                    await handler.redirect_answered.wait()
            except Exception as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if handler.outcome is None:
            raise sign_in_timeout_error(timeout)
        if isinstance(handler.outcome, TokenError):
            raise handler.outcome
        return handler.outcome


@asynccontextmanager
async def open_loopback(host: str, port: int = 0) -> AsyncGenerator[Loopback]:
    """Listen on a port until the context is left.

    Args:
        host: the host name in the redirect URI: ``127.0.0.1``, or ``localhost`` for providers that accept nothing else.
        port: the port; 0 for any free one.

    Raises:
        TokenError: the port cannot be opened.
    """
    try:
        # An address, since a name could resolve to something else (RFC 8252 section 8.3).
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    except OSError as error:
        which = f"The port {port} that is set (redirect_port) cannot" if port else "No port can"
        raise sign_in_incomplete_error(f"{which} be opened for the end of the sign-in.", str(error)) from error
    async with listener:
        yield Loopback(listener, host)


class _RedirectHandler:
    """Answers every request, and accepts the redirect.

    Attributes:
        outcome: the authorization code or the error of the redirect; None until it arrives.
        redirect_answered: set when the redirect has been answered.
    """

    def __init__(self, attempt: AuthorizationAttempt) -> None:
        self.outcome: Secret | TokenError | None = None
        self.redirect_answered = anyio.Event()
        self._attempt = attempt
        self._host = attempt.redirect_uri.removeprefix("http://")
        self._limiter = anyio.CapacityLimiter(_MAX_CONNECTIONS)

    async def serve(self, stream: SocketStream) -> None:
        """Answer one request."""
        is_redirect = False
        async with stream, self._limiter:
            try:
                with anyio.move_on_after(_CONNECTION_TIMEOUT):
                    response, is_redirect = self._handle(await _read_head(stream))
                    await stream.send(response)
                    await stream.send_eof()
            except _DISCONNECTED:
                pass  # the browser has disconnected, but its request counts
        if is_redirect:
            self.redirect_answered.set()

    def _handle(self, request: bytes) -> tuple[bytes, bool]:
        """Return the page to send, and whether the request is the redirect."""
        query = self._query(request)
        if query is None:
            return page.NOT_FOUND, False
        parameters = parse_parameters(query)
        if self.outcome is not None or parameters is None or not self._attempt.matches(parameters):
            return page.OTHER_ATTEMPT, False
        try:
            self.outcome = self._attempt.code(parameters)
        except TokenError as error:
            self.outcome = error
            return page.sign_in_failed(str(error)), True
        return page.SIGNED_IN, True

    def _query(self, request: bytes) -> str | None:
        """Return the query of a request for our address; None for any other request."""
        line, *fields = request.decode("latin-1").split("\r\n")
        method, target, *_ = [*line.split(" "), ""]
        path, _, query = target.partition("?")
        hosts = [value.strip().lower() for name, _, value in map(_field, fields) if name.lower() == "host"]
        # Host must be our own, against web pages whose name resolves to this machine (DNS rebinding).
        return query if method == "GET" and path == "/" and hosts == [self._host] else None


async def _read_head(stream: SocketStream) -> bytes:
    """Return the head of a request, up to its empty line or the limit."""
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _MAX_HEAD:
        received += await stream.receive()
    return received


def _field(line: str) -> tuple[str, str, str]:
    return line.partition(":")
