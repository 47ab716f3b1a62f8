"""The panel of a fleet, as ``mailslot fleet panel`` runs it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.fleet.postgres.consents import Consents
from mailslot.fleet.postgres.directory import FleetDirectory
from mailslot.fleet.postgres.errors import as_input_error
from mailslot.fleet.postgres.schema import check_version, version_of
from mailslot.fleet.postgres.staff_sessions import StaffSessions
from mailslot.oauth.http import TokenHttp
from mailslot_plugins.panel.consent.fleet import ConsentFleet
from mailslot_plugins.panel.fleet.application import fleet_application
from mailslot_plugins.panel.fleet.context import FleetContext
from mailslot_plugins.panel.fleet.open_panels import OpenPanels
from mailslot_plugins.panel.fleet.openid import OpenIdProvider, SignInStates
from mailslot_plugins.panel.fleet.security import SIGN_IN, SIGNED_IN, FleetSecurity
from mailslot_plugins.panel.fleet.sessions import FleetSessions
from mailslot_plugins.panel.fleet.settings import load_settings
from mailslot_plugins.panel.security.addresses import is_loopback
from mailslot_plugins.panel.security.certificate import ServerCertificate, load_own_certificate
from mailslot_plugins.panel.security.session import MAX_AGE
from mailslot_plugins.panel.security.throttle import Throttle
from mailslot_plugins.panel.server import serve_application

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from mailslot.fleet.homes import FleetHomes

logger = logging.getLogger(__name__)

_TIMEOUT: float = 10.0
"""Seconds for each step of a request to the provider; a person waits for it."""


class FleetPanel:
    """The panel; implements `mailslot.fleet.panel.FleetPanel`.

    Args:
        homes: the homes of the devices.
        file: the settings file.

    Raises:
        InputError: the settings cannot be used.
    """

    def __init__(self, homes: FleetHomes, file: Path) -> None:
        self._homes = homes
        self._settings = load_settings(file)

    async def serve(self, listener: socket.socket) -> None:
        """Serve the panel until cancelled.

        Raises:
            MailError: it cannot be served there, or the database's tables are of another version.
        """
        settings = self._settings
        idle = 60.0 * settings.idle_minutes
        stored = StaffSessions(self._homes.database, settings.openid.realm, idle=idle, longest=MAX_AGE)
        security = FleetSecurity(settings, FleetSessions(stored, idle, time.monotonic))
        failure: Exception | None = None

        async def find_certificate() -> ServerCertificate | None:
            security.certificate = await run_sync(self._certificate, str(listener.getsockname()[0]))
            return security.certificate

        await run_sync(self._prepare_database)
        async with TokenHttp(ca_file=settings.openid.ca_file, timeout=_TIMEOUT) as http:
            fleet = FleetContext(
                settings,
                FleetDirectory(self._homes.database),
                OpenPanels(self._homes, time.monotonic),
                security,
                OpenIdProvider(settings.openid, f"{settings.address}{SIGNED_IN}", f"{settings.address}{SIGN_IN}", http),
                SignInStates(),
                Throttle(time.monotonic, anyio.sleep),
                ConsentFleet(self._homes),
            )
            application = await run_sync(fleet_application, fleet)
            async with anyio.create_task_group() as group:
                group.start_soon(fleet.panels.run)
                try:
                    await serve_application(find_certificate, application, listener, sleep=anyio.sleep)
                except Exception as error:  # noqa: BLE001 - raised again below, outside of the task group
                    failure = error
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def announce(self, listener: socket.socket) -> list[str]:
        """Return sentences for the person who starts it.

        Raises:
            MailError: it cannot be served there.
        """
        host, port = listener.getsockname()[:2]
        await run_sync(self._certificate, str(host))
        return [f"The fleet's panel is at {self._settings.address}/ and listens on {host}, port {port}."]

    def _prepare_database(self) -> None:
        """Check the tables' version, and set this address for links of mailbox owners unless another one is set.

        Raises:
            InputError: the database has no tables, or those of another version.
        """
        database = self._homes.database
        try:
            with as_input_error(), database.connection() as connection:
                version = version_of(connection)
        except InputError as error:
            logger.warning("%s The panel starts nevertheless.", error)
            return
        check_version(version)
        consents = Consents(database)
        try:
            if consents.address() is None:
                consents.set_address(self._settings.address)
        except InputError as error:
            # The database's user may not own the tables, for example.
            logger.info("The address of pages for owners of mailboxes is not set: %s", error)

    def _certificate(self, host: str) -> ServerCertificate | None:
        own = self._settings.certificate
        if own is not None:
            return load_own_certificate(*own)
        if not is_loopback(host):
            raise InputError(
                "Beyond this machine, the fleet's panel needs a certificate: set certificate and key in its settings, "
                "or listen on 127.0.0.1 behind a proxy with TLS.",
                stage="tls",
                cause="not_configured",
            )
        return None
