"""Runs all servers that a mail slot needs, in one process on loopback."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.net.listener import ConnectionLimits, open_listener
from mailslot.plugin import Endpoint, Secret, Security
from mailslot_plugins.sandbox.certificates import CertificateAuthority
from mailslot_plugins.sandbox.http_server import SocketConfig, serve_http
from mailslot_plugins.sandbox.mail_servers import SandboxServer
from mailslot_plugins.sandbox.maildrop import Maildrop
from mailslot_plugins.sandbox.personality import DOVECOT, Personality
from mailslot_plugins.sandbox.provider import Provider
from mailslot_plugins.sandbox.state import SandboxState
from mailslot_plugins.sandbox.token_service import TokenService

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Mapping

    from mailslot.net.listener import Listener

_LOOPBACK: Final = "127.0.0.1"
_LIMITS: Final = ConnectionLimits(10_000, 10_000)
_SHUTDOWN_GRACE: Final = 0.2
"""Seconds that the token service may take to close its connections."""

_USERS: Final[Mapping[str, str]] = {
    f"{name}@example.com": "open sesame" for name in ("scanner", "fax", "print", "status", "alice")
}


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
        listeners: dict[str, Listener] = {}
        for name in ("smtp", "smtps", "pop3", "pop3s"):
            listeners[name] = await open_listener(name, _LOOPBACK, 0, _LIMITS)
            stack.callback(listeners[name].close)
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
            smtp=Endpoint("localhost", listeners["smtp"].port, Security.STARTTLS),
            smtps=Endpoint("localhost", listeners["smtps"].port, Security.TLS),
            pop3=Endpoint("localhost", listeners["pop3"].port, Security.STARTTLS),
            pop3s=Endpoint("localhost", listeners["pop3s"].port, Security.TLS),
            authority=authority,
            token_service=TokenService(provider),
        )
        stop = anyio.Event()
        failure: BaseException | None = None
        async with anyio.create_task_group() as task_group:
            for name, listener in listeners.items():
                security = Security.TLS if name.endswith("s") else Security.STARTTLS
                server = SandboxServer(listener, sandbox, "smtp" if name.startswith("smtp") else "pop3", security)
                task_group.start_soon(server.serve)
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


async def _serve_web(service: TokenService, sock: socket.socket, stop: anyio.Event) -> None:
    """Serve the provider until `stop`."""
    settings = SocketConfig(sock, _SHUTDOWN_GRACE)
    settings.include_date_header = False  # the provider's clock may be wrong
    await serve_http(service.app, settings, stop)
