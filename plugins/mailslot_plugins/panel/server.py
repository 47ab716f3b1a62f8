"""Serving the panel: over plain HTTP on loopback, over TLS only on any other address."""

from __future__ import annotations

import logging
import ssl
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError, MailError
from mailslot_plugins.panel.connections import Connections
from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.security.addresses import is_loopback, own_addresses, own_names

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp

    from mailslot.service.device import Device
    from mailslot_plugins.panel.security.certificate import ServerCertificate
    from mailslot_plugins.panel.security.security import Security

_CHECK_INTERVAL: Final = 3600.0
"""Seconds between two checks of the certificate: an expiring one is renewed, and a replaced one is loaded."""

logger = logging.getLogger(__name__)


async def serve(device: Device, security: Security, application: ASGIApp, listener: socket.socket) -> None:
    """Serve the panel until cancelled.

    Args:
        device: the device.
        security: the panel's sessions, password and keys.
        application: the ASGI application.
        listener: a listening TCP socket; it stays open.

    Raises:
        MailError: TLS is required, and there is no usable certificate.
    """
    await serve_application(
        partial(_load_certificate, device, security, listener), application, listener, sleep=device.sleep
    )


async def serve_application(
    find_certificate: Callable[[], Awaitable[ServerCertificate | None]],
    application: ASGIApp,
    listener: socket.socket,
    *,
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Serve an application until cancelled.

    Args:
        find_certificate: returns the certificate; None for plain HTTP. It is called again each hour.
        application: the ASGI application.
        listener: a listening TCP socket; it stays open.
        sleep: sleeps for a number of seconds.

    Raises:
        MailError: TLS is required, and there is no usable certificate.
    """
    server_certificate = await find_certificate()
    if server_certificate is None:
        await Connections(application, listener, None).run()
        return
    connections = Connections(application, listener, await run_sync(_make_context, server_certificate))
    async with anyio.create_task_group() as group:
        group.start_soon(_renew, find_certificate, server_certificate, connections, sleep)
        await connections.run()


async def announcement(device: Device, security: Security, listener: socket.socket, *, terminal: bool) -> list[str]:
    """Return sentences for the person who starts the service: the panel's address, and how to set it up.

    Args:
        device: the device.
        security: the panel's sessions, password and keys.
        listener: a listening TCP socket.
        terminal: whether they are shown on a terminal; in a log, the setup code must not appear.

    Raises:
        MailError: as for `serve`.
    """
    server_certificate = await _load_certificate(device, security, listener)
    claimed = await security.is_claimed()
    host, port = listener.getsockname()[:2]
    reached = (own_addresses(host) or (host,))[0]
    shown = f"[{reached}]" if ":" in reached else reached
    lines = [f"The panel is at {'http' if server_certificate is None else 'https'}://{shown}:{port}/."]
    if server_certificate is not None:
        lines.append(f"The SHA-256 fingerprint of its certificate is {server_certificate.fingerprint}.")
    if not claimed and terminal:
        code = security.first_start_code
        lines.append(f"No password is set yet. From another machine, the first start asks for this code: {code}")
    elif not claimed:
        lines.append("No password is set yet. Set one on this machine: mailslot panel password")
    return lines


async def _load_certificate(device: Device, security: Security, listener: socket.socket) -> ServerCertificate | None:
    """Return the certificate for a socket; None for a loopback address."""
    await device.refresh([PANEL])
    host = str(listener.getsockname()[0])
    if is_loopback(host):
        return None
    security.certificate = await run_sync(_find_certificate, device, host, security.names)
    return security.certificate


def _find_certificate(device: Device, host: str, names: tuple[str, ...]) -> ServerCertificate:
    # cryptography takes 8 MB, and a panel on loopback needs no TLS.
    from mailslot_plugins.panel.security import certificate  # noqa: PLC0415

    settings = device.settings(PANEL)
    own, key = settings["certificate"], settings["key"]
    if (own is None) != (key is None):
        raise InputError(
            "The panel's certificate and its key go together: set both, or neither.",
            stage="tls",
            cause="not_configured",
        )
    if own is not None:
        return certificate.load_own_certificate(own, key)
    wanted = (*own_addresses(host), "localhost", *own_names(), *names)
    return certificate.self_signed_certificate(device.home, wanted, device.now())


def _make_context(certificate: ServerCertificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate.path, certificate.key_path)
    return context


async def _renew(
    find_certificate: Callable[[], Awaitable[ServerCertificate | None]],
    current: ServerCertificate,
    connections: Connections,
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    while True:
        await sleep(_CHECK_INTERVAL)
        try:
            server_certificate = await find_certificate()
            if server_certificate is not None and server_certificate != current:
                # A context that is in use has no key for a moment while it gets another certificate.
                connections.context = await run_sync(_make_context, server_certificate)
                current = server_certificate
                logger.info(
                    "The panel has a new certificate; its SHA-256 fingerprint is %s", server_certificate.fingerprint
                )
        except (MailError, OSError) as error:
            # The current certificate stays in use.
            logger.error("The panel's certificate could not be renewed: %s", error)  # noqa: TRY400 - no traceback
