"""Runs all servers that a mail slot needs, in one process on loopback."""

from __future__ import annotations

import logging
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import Listener, SocketAttribute, SocketStream

from mailslot.plugin import Endpoint, Secret, Security
from mailslot_plugins.sandbox.certificates import CertificateAuthority
from mailslot_plugins.sandbox.connection import Connection, ConnectionEndedError
from mailslot_plugins.sandbox.http_server import SocketConfig, serve_http
from mailslot_plugins.sandbox.maildrop import Maildrop
from mailslot_plugins.sandbox.personality import DOVECOT, Personality
from mailslot_plugins.sandbox.pop3 import Pop3Session
from mailslot_plugins.sandbox.provider import Provider
from mailslot_plugins.sandbox.smtp import SmtpSession
from mailslot_plugins.sandbox.state import SandboxState
from mailslot_plugins.sandbox.token_service import TokenService

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Mapping

    from mailslot_plugins.sandbox.connection import ConnectionEnd

_LOOPBACK: Final = "127.0.0.1"
_SHUTDOWN_GRACE: Final = 0.2
"""Seconds that the token service may take to close its connections."""

_USERS: Final[Mapping[str, str]] = {
    f"{name}@example.com": "open sesame" for name in ("scanner", "fax", "print", "status", "alice")
}

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Sandbox(SandboxState):
    """A running sandbox.

    Attributes:
        smtp: submission with STARTTLS; its port takes connections without TLS too.
        smtps: submission with TLS from the first octet.
        pop3: POP3 with STLS.
        pop3s: POP3 with TLS from the first octet.
        authority: the certificate authority.
        token_service: the provider's HTTP endpoints.
    """

    smtp: Endpoint
    smtps: Endpoint
    pop3: Endpoint
    pop3s: Endpoint
    authority: CertificateAuthority
    token_service: TokenService

    @property
    def issuer(self) -> str:
        """The token service's address."""
        return self.provider.issuer

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the servers' authority, PEM."""
        return self.authority.pem

    def client_context(self) -> ssl.SSLContext:
        """Return a client's context that trusts the servers."""
        return self.authority.client_context()


@asynccontextmanager
async def run_sandbox(
    *, personality: Personality = DOVECOT, users: Mapping[str, str | Secret] = _USERS
) -> AsyncGenerator[Sandbox]:
    """Run a sandbox on free ports of 127.0.0.1 until the context is left.

    Args:
        personality: the mail service to simulate.
        users: the users with a maildrop, and their passwords.
    """
    authority = CertificateAuthority()
    async with AsyncExitStack() as stack:
        listeners: list[Listener[SocketStream]] = []
        for _ in range(4):
            listeners.append(await anyio.create_tcp_listener(local_host=_LOOPBACK, local_port=0))
            stack.push_async_callback(listeners[-1].aclose)
        port = SocketAttribute.local_port
        smtp, smtps, pop3, pop3s = (listener.extra(port) for listener in listeners)
        web = stack.enter_context(socket.create_server((_LOOPBACK, 0)))
        # Connections inherit it; asyncio would leave Nagle's algorithm on, which delays each response by 40 ms.
        web.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        provider = Provider(
            f"http://localhost:{web.getsockname()[1]}",
            {personality.smtp.scope, personality.pop3.scope},
        )
        sandbox = Sandbox(
            personality=personality,
            provider=provider,
            passwords={user.lower(): Secret(password) for user, password in users.items()},
            maildrops={user.lower(): Maildrop() for user in users},
            tls=authority.server_context(),
            smtp=Endpoint("localhost", smtp, Security.STARTTLS),
            smtps=Endpoint("localhost", smtps, Security.TLS),
            pop3=Endpoint("localhost", pop3, Security.STARTTLS),
            pop3s=Endpoint("localhost", pop3s, Security.TLS),
            authority=authority,
            token_service=TokenService(provider),
        )
        stop = anyio.Event()
        failure: BaseException | None = None
        async with anyio.create_task_group() as task_group:
            services = [("smtp", False), ("smtp", True), ("pop3", False), ("pop3", True)]
            for listener, (protocol, tls) in zip(listeners, services, strict=True):
                task_group.start_soon(listener.serve, partial(_serve, sandbox, protocol, tls))
            task_group.start_soon(_serve_web, sandbox.token_service, web, stop)
            try:
                yield sandbox
            except BaseException as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
                failure = error
            finally:
                stop.set()
                task_group.cancel_scope.cancel()
        if failure is not None:
            raise failure


async def _serve(state: SandboxState, protocol: str, tls: bool, stream: SocketStream) -> None:  # noqa: FBT001 - bound by partial
    """Serve one client; its errors do not affect other clients."""
    connection = Connection(stream, state.open_dialogue(protocol), state.faults)
    session = SmtpSession if protocol == "smtp" else Pop3Session
    ending: ConnectionEnd = "close"
    try:
        try:
            if tls:
                await connection.perform("TLS", partial(connection.start_tls, state.tls))
            await session(state, connection).run()
        except ConnectionEndedError as ended_error:
            ending = ended_error.ending
            await connection.flush()
    except ConnectionEndedError:
        pass
    except Exception as error:
        state.errors.append(error)
        logger.exception("The sandbox failed at a client of %s.", protocol)
    finally:
        await connection.aclose(ending)


async def _serve_web(service: TokenService, sock: socket.socket, stop: anyio.Event) -> None:
    """Serve the provider until `stop`."""
    settings = SocketConfig(sock, _SHUTDOWN_GRACE)
    settings.include_date_header = False  # the provider's clock may be wrong
    await serve_http(service.app, settings, stop)
