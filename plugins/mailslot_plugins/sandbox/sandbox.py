"""Everything a mail slot talks to, in one process on loopback."""

from __future__ import annotations

import logging
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import Listener, SocketAttribute, SocketStream

from mailslot.net.endpoint import Endpoint, Security
from mailslot.wire.secret import Secret
from mailslot_plugins.sandbox.certificates import CertificateAuthority
from mailslot_plugins.sandbox.connection import Connection, Hangup
from mailslot_plugins.sandbox.maildrop import Maildrop
from mailslot_plugins.sandbox.personality import DOVECOT, Personality
from mailslot_plugins.sandbox.pop3 import Pop3Session
from mailslot_plugins.sandbox.provider import Provider
from mailslot_plugins.sandbox.smtp import SmtpSession
from mailslot_plugins.sandbox.state import SandboxState
from mailslot_plugins.sandbox.token_service import TokenService
from mailslot_plugins.sandbox.web_server import SocketConfig, answer

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Mapping

_LOOPBACK: Final = "127.0.0.1"
_GRACE: Final = 0.2
"""Seconds that the token service may take to end its connections."""

_USERS: Final[Mapping[str, str]] = {
    f"{name}@example.com": "open sesame" for name in ("scanner", "fax", "print", "status", "alice")
}

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Sandbox(SandboxState):
    """A sandbox that runs.

    Attributes:
        smtp: submission with STARTTLS; its port takes connections without TLS too.
        smtps: submission with TLS from the first octet.
        pop3: POP3 with STLS.
        pop3s: POP3 with TLS from the first octet.
        authority: what issues certificates.
        token_service: the provider's HTTP face.
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
        """The certificate that vouches for the servers, PEM."""
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
        personality: which service it plays.
        users: who has a maildrop, with their passwords.
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
        # Connections inherit it; asyncio would leave Nagle's algorithm on, and each answer late by 40 ms.
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
        async with anyio.create_task_group() as tasks:
            kinds = [("smtp", False), ("smtp", True), ("pop3", False), ("pop3", True)]
            for listener, (protocol, tls) in zip(listeners, kinds, strict=True):
                tasks.start_soon(listener.serve, partial(_serve, sandbox, protocol, tls))
            tasks.start_soon(_serve_web, sandbox.token_service, web, stop)
            try:
                yield sandbox
            except BaseException as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
                failure = error
            finally:
                stop.set()
                tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure


async def _serve(office: SandboxState, protocol: str, tls: bool, stream: SocketStream) -> None:  # noqa: FBT001 - bound by partial
    """Serve one client; nothing that it does reaches the others."""
    connection = Connection(stream, office.open_dialogue(protocol), office.faults)
    session = SmtpSession if protocol == "smtp" else Pop3Session
    ending: Hangup = Hangup()
    try:
        try:
            if tls:
                await connection.during("TLS", partial(connection.start_tls, office.tls))
            await session(office, connection).run()
        except Hangup as hangup:
            ending = hangup
            await connection.flush()
    except Hangup:
        pass
    except Exception as error:
        office.errors.append(error)
        logger.exception("The sandbox failed at a client of %s.", protocol)
    finally:
        await connection.aclose(ending.ending)


async def _serve_web(service: TokenService, sock: socket.socket, stop: anyio.Event) -> None:
    """Serve the provider until `stop`."""
    settings = SocketConfig(sock, _GRACE)
    settings.include_date_header = False  # the provider's clock may be wrong
    await answer(service.app, settings, stop)
