"""Where the panel answers: on loopback by plain HTTP, anywhere else by TLS alone."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError, MailError
from mailslot_plugins.panel.connections import Connections
from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.security import certificate
from mailslot_plugins.panel.security.addresses import is_loopback, own_names

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp

    from mailslot.service.device import Device
    from mailslot_plugins.panel.security.security import Security

_LOOK: Final = 3600.0
"""Seconds between two looks at the certificate: one that ends is made anew, and one that was replaced is loaded."""

logger = logging.getLogger(__name__)


async def serve(device: Device, security: Security, application: ASGIApp, listener: socket.socket) -> None:
    """Answer until cancelled.

    Args:
        device: the device.
        security: what guards the panel.
        application: what answers.
        listener: a TCP socket that listens; it stays open.

    Raises:
        MailError: TLS is a must here, and there is no certificate to be had.
    """
    identity = await _identify(device, security, listener)
    if identity is None:
        await Connections(application, listener, None).run()
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    await run_sync(context.load_cert_chain, identity.certificate, identity.key)
    async with anyio.create_task_group() as group:
        group.start_soon(_renew, device, security, listener, context)
        await Connections(application, listener, context).run()


async def announcement(device: Device, security: Security, listener: socket.socket, *, terminal: bool) -> list[str]:
    """Return what whoever starts the service should know, a sentence each.

    Args:
        device: the device.
        security: what guards the panel.
        listener: a TCP socket that listens.
        terminal: whether only that person reads it, rather than a log, where the code has no business to be.

    Raises:
        MailError: as for `serve`.
    """
    identity = await _identify(device, security, listener)
    claimed = await security.is_claimed()
    host, port = listener.getsockname()[:2]
    reached = (certificate.own_addresses(host) or (host,))[0]
    shown = f"[{reached}]" if ":" in reached else reached
    said = [f"The panel is at {'http' if identity is None else 'https'}://{shown}:{port}/."]
    if identity is not None:
        said.append(f"The SHA-256 fingerprint of its certificate is {identity.fingerprint}.")
    if not claimed and terminal:
        said.append(
            f"No password is set yet. From another machine, the first start asks for this code: {security.code}"
        )
    elif not claimed:
        said.append("No password is set yet. Set one on this machine: mailslot panel password")
    return said


async def _identify(device: Device, security: Security, listener: socket.socket) -> certificate.Identity | None:
    """Return the certificate for a socket; None where only this machine reaches it."""
    await device.refresh([PANEL])
    host = str(listener.getsockname()[0])
    if is_loopback(host):
        return None
    security.identity = await run_sync(_identity, device, host, security.names)
    return security.identity


def _identity(device: Device, host: str, names: tuple[str, ...]) -> certificate.Identity:
    settings = device.settings(PANEL)
    own, key = settings["certificate"], settings["key"]
    if (own is None) != (key is None):
        raise InputError(
            "The panel's certificate and its key go together: set both, or neither.",
            stage="tls",
            cause="not_configured",
        )
    if own is not None:
        return certificate.own(own, key)
    wanted = (*certificate.own_addresses(host), "localhost", *own_names(), *names)
    return certificate.self_made(device.home, wanted, device.now())


async def _renew(device: Device, security: Security, listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        await device.sleep(_LOOK)
        before = security.identity
        try:
            identity = await _identify(device, security, listener)
            if identity is not None and identity != before:
                await run_sync(context.load_cert_chain, identity.certificate, identity.key)
                logger.info("The panel has a new certificate; its SHA-256 fingerprint is %s", identity.fingerprint)
        except (MailError, OSError) as error:
            # The one in use goes on being used.
            logger.error("The panel's certificate could not be renewed: %s", error)  # noqa: TRY400 - no traceback
