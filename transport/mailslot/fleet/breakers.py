"""Circuit breakers for servers, shared by all devices and workers, which limit attempts to reach a server that is down.

After some consecutive failures to reach a server, by any devices, no device tries it for a while. Then a single attempt
is allowed. If it fails, the pause becomes longer; if the server responds, all devices may try again.
"""

from __future__ import annotations

import logging
import random as random_
import time
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from anyio.to_thread import run_sync
from psycopg import Error

from mailslot.errors import MailError, NetworkError
from mailslot.fleet.postgres import servers
from mailslot.oauth.token_errors import TokenServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from mailslot.fleet.postgres.database import FleetDatabase
    from mailslot.fleet.postgres.servers import ServerState
    from mailslot.net.server_gate import ServerGate

T = TypeVar("T")

_BELIEVED_FOR: Final = 2.0
"""Seconds for which the state of a server is cached."""

_MOST_KNOWN: Final = 10_000

_OPENING: Final = frozenset({"resolve", "connect", "tls", "greeting"})
_DOWN: Final = frozenset(
    {"name_not_found", "connection_refused", "connection_timeout", "connection_lost", "network_unreachable"}
)
"""Causes of failures to open a session that are the server's or the network's fault. Failures by certificates,
passwords and grants are a device's own."""

_SERVER_ERRORS: Final = 500

logger = logging.getLogger(__name__)


class ServerDownError(NetworkError):
    """A server must not be tried now, since it could not be reached before."""

    def __init__(self, state: ServerState, seconds: float) -> None:
        super().__init__(
            f"{state.name} could not be reached by others either, and is tried again in {seconds:.0f} seconds.",
            stage=state.stage,
            cause=state.cause,
            retryable=True,
            detail=f"{state.failures} failures, pause {state.openings}",
        )


_pause: ContextVar[list[float] | None] = ContextVar("_pause", default=None)
"""The pauses that a task has encountered, including its child tasks."""


def note_pauses() -> None:
    """Forget the pauses that this task has encountered, and record new ones."""
    _pause.set([])


def pause_of_task() -> float:
    """Return the seconds until this task may try the servers again that it must not try now; 0.0 without any."""
    return max(_pause.get() or [], default=0.0)


def is_down(error: MailError) -> bool:
    """Return whether an error shows that a server is down for everybody."""
    if isinstance(error, TokenServiceError):
        if error.cause == "token_service_busy":
            return error.status is not None and error.status >= _SERVER_ERRORS
        return error.cause == "token_service_unreachable"
    if error.stage == "greeting" and error.cause == "server_busy":
        return True
    if not isinstance(error, NetworkError) or error.stage not in _OPENING:
        return False
    # Retryable if the server has closed the connection; any other failure of TLS may be due to this device's settings.
    return error.cause in _DOWN or (error.cause == "tls_failed" and error.retryable)


class Breakers:
    """The breakers of all servers, for one process.

    If the database cannot be used, every attempt is allowed.

    Args:
        database: the database.
        monotonic: returns seconds of a monotonic clock.
        random: returns a number from 0 to 1, to spread the devices' attempts when a server works again.
    """

    def __init__(
        self,
        database: FleetDatabase,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_.random,
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._random = random
        self._known: dict[str, tuple[float, list[ServerState]]] = {}

    def of(self, tenant: int) -> ServerGate:
        """Return the gate of a tenant's devices."""
        return _TenantGate(self, tenant)

    @asynccontextmanager
    async def attempt(self, server: str, tenant: int) -> AsyncGenerator[None]:
        """Contact a server for a tenant in the block, which ends once the server has responded.

        Raises:
            ServerDownError: on entering, the server must not be tried now.
        """
        probed = await self._enter(server, tenant)
        try:
            yield
        except MailError as error:
            if is_down(error):
                await self._note_failure(server, tenant, probed, error)
            else:
                await self._note_answer(server, probed)
            raise
        await self._note_answer(server, probed)

    async def _enter(self, server: str, tenant: int) -> ServerState | None:
        """Return the state of the pause after which this is the single allowed attempt; None without a pause."""
        read_at, known = await self._look(server)
        passed = self._monotonic() - read_at
        closed = [
            (state.remaining - passed, state)
            for state in known
            if state.remaining is not None and (state.for_all or state.tenant == tenant)
        ]
        if not closed:
            return None
        remaining, state = min(closed, key=lambda each: each[0])
        if remaining <= 0:
            self._known.pop(server, None)
            if await self._ask(partial(servers.claim_probe, self._database, state), default=True):
                return state
        seconds = max(remaining, 1.0) * (1 + self._random())
        if (noted := _pause.get()) is not None:
            noted.append(seconds)
        raise ServerDownError(state, seconds)

    async def _look(self, server: str) -> tuple[float, list[ServerState]]:
        found = self._known.get(server)
        now = self._monotonic()
        if found is not None and now - found[0] < _BELIEVED_FOR:
            return found
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        found = (now, await self._ask(partial(servers.find, self._database, server), default=[]))
        self._known[server] = found
        return found

    async def _note_answer(self, server: str, probed: ServerState | None) -> None:
        _, known = self._known.get(server, (0.0, []))
        if known or probed is not None:
            self._known.pop(server, None)
            await self._ask(partial(servers.note_answer, self._database, server), default=None)
        if probed is not None:
            logger.info("%s answers again", server)

    async def _note_failure(self, server: str, tenant: int, probed: ServerState | None, error: MailError) -> None:
        self._known.pop(server, None)
        if probed is not None:
            await self._ask(partial(servers.note_failed_probe, self._database, probed, error), default=None)
        elif await self._ask(partial(servers.note_failure, self._database, server, tenant, error), default=False):
            logger.warning("%s cannot be reached, and is left alone for a while", server, extra={"cause": error.cause})

    async def _ask(self, ask: Callable[[], T], default: T) -> T:
        try:
            return await run_sync(ask)
        except Error as error:
            logger.warning("What is known of servers cannot be used: %s", type(error).__name__)
            return default


@dataclass(frozen=True, slots=True)
class _TenantGate:
    """The gate of one tenant's devices."""

    breakers: Breakers
    tenant: int

    def attempt(self, server: str) -> AbstractAsyncContextManager[None]:
        return self.breakers.attempt(server, self.tenant)
