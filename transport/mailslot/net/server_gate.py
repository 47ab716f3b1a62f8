"""Limits attempts to contact mail servers and token services, in a process that works for many devices.

Each device backs off on its own. But if ten thousand devices use the same server and it is down, they would still make
ten thousand attempts, and wait for each to time out.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

    from mailslot.net.endpoint import Endpoint

S = TypeVar("S")


class ServerGate(Protocol):
    """Decides whether a server may be contacted now, and learns from each attempt."""

    def attempt(self, server: str) -> AbstractAsyncContextManager[None]:
        """Return a context manager for contacting a server; the block ends once the server has responded.

        Args:
            server: its name and port.

        Raises:
            NetworkError: on entering, the server is known to be down and must not be tried now.
        """
        ...


def through_gate(
    gate: ServerGate | None, endpoint: Endpoint, session: AbstractAsyncContextManager[S]
) -> AbstractAsyncContextManager[S]:
    """Return a session that is opened if the gate allows it.

    Args:
        gate: the gate; None to open it in any case.
        endpoint: the server.
        session: the session, not yet entered.
    """
    if gate is None:
        return session
    return _through(gate, f"{endpoint.ascii_host.lower()}:{endpoint.port}", session)


@asynccontextmanager
async def _through(gate: ServerGate, server: str, session: AbstractAsyncContextManager[S]) -> AsyncGenerator[S]:
    async with AsyncExitStack() as stack:
        async with gate.attempt(server):
            entered = await stack.enter_async_context(session)
        yield entered
