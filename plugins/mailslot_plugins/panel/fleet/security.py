"""Sessions of staff, for the guard that every request passes (`mailslot_plugins.panel.security.guard`)."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, ClassVar, Final

from mailslot.fleet.consent import PREFIX
from mailslot_plugins.panel.fleet.sessions import staff_of
from mailslot_plugins.panel.security.addresses import ascii_name
from mailslot_plugins.panel.security.security import Visit

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot.wire.secret import Secret
    from mailslot_plugins.panel.fleet.sessions import FleetSessions
    from mailslot_plugins.panel.fleet.settings import FleetPanelSettings
    from mailslot_plugins.panel.fleet.staff import Staff
    from mailslot_plugins.panel.security.certificate import ServerCertificate
    from mailslot_plugins.panel.security.keys import ApiKey

SIGN_IN: Final = "/sign-in"
START: Final = "/sign-in/start"
SIGNED_IN: Final = "/sign-in/callback"
"""The redirect URI's path."""

PUBLIC: Final = frozenset({SIGN_IN, START, SIGNED_IN, "/oauth/callback", "/preferences", "/healthz"})
"""Paths that need no sign-in. Both callbacks check the session in which the sign-in was begun."""

_DEVICE: Final = re.compile(r"/tenants/[^/]+/devices/[^/]+(?=/)")

logger = logging.getLogger(__name__)


class FleetSecurity:
    """The sessions of staff; pages have it as ``request.state.security``.

    Args:
        settings: the settings of the panel.
        sessions: the sessions.

    Attributes:
        certificate: the certificate in use; None without TLS.
        accepts_keys: whether programs may use API keys; those of devices are for their own panels.
    """

    accepts_keys: ClassVar[bool] = False

    def __init__(self, settings: FleetPanelSettings, sessions: FleetSessions) -> None:
        self.certificate: ServerCertificate | None = None
        self._names = tuple(ascii_name(name) for name in (settings.host, *settings.names))
        self._port = settings.port
        self._sessions = sessions

    @property
    def names(self) -> tuple[str, ...]:
        """The panel's host names, in the form that browsers and certificates use."""
        return self._names

    async def is_claimed(self) -> bool:
        """Return True: staff sign in at the provider, so no password has to be set."""
        return True

    def cookie_port(self, request: Request) -> int:  # noqa: ARG002 - it is the same for all
        """Return the port in the panel's address, which all its processes have in common."""
        return self._port

    async def try_key(self, request: Request, key: Secret) -> ApiKey | None:  # noqa: ARG002 - no key is accepted
        """Return None: devices' keys are for their own panels."""
        return None

    async def visit(self, id_: str, *, person: bool, known: str = "") -> Visit:  # noqa: ARG002 - there is nothing to guess
        """Return the visit of a request; see `mailslot_plugins.panel.security.security.Security.visit`.

        Raises:
            InputError: the database cannot be used.
        """
        session = await self._sessions.find(id_, person=person)
        if session is None:
            return Visit(*self._sessions.new(), sets_session_cookie=True, session_ended=bool(id_))
        return Visit(id_, session, sets_session_cookie=False)

    def save(self, visit: Visit) -> None:
        """Save the session of a visit."""
        self._sessions.save(visit.id, visit.session)

    def is_public(self, request: Request) -> bool:
        """Return whether a request needs no sign-in."""
        path = str(request.scope["path"])
        # Owners of mailboxes sign in at their provider.
        return path in PUBLIC or path.startswith(f"{PREFIX}/")

    def path_on_panel(self, path: str) -> str:
        """Return the path within the device's panel, or the path itself if it is not on a device's panel."""
        found = _DEVICE.match(path)
        return path if found is None else path[found.end() :]

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """Return status and text if the person may not make this request; None if they may."""
        staff = staff_of(request.state.session)
        if staff is None:
            return None  # its path is public
        path = str(request.scope["path"])
        why = staff.refusal(request.method, path)
        if why is None:
            return None
        logger.warning(
            "%s was refused %s %s",
            staff.name,
            request.method,
            path_for_log(path),
            extra={"staff": staff.subject, "refusal": why},
        )
        return (404, "trouble_not_found") if why == "hidden" else (403, "read_only")

    async def sign_in(self, request: Request, staff: Staff, id_token: Secret) -> None:
        """Sign a person in, in a new session of this browser.

        Raises:
            InputError: the database cannot be used.
        """
        visit: Visit = request.state.visit
        visit.id, visit.session = await self._sessions.begin(visit.id, staff, id_token)
        visit.sets_session_cookie = True
        request.state.session = visit.session

    async def sign_out(self, request: Request) -> None:
        """End this browser's session.

        Raises:
            InputError: the database cannot be used.
        """
        visit: Visit = request.state.visit
        await self._sessions.end(visit.id)
        visit.id, visit.session = self._sessions.new()
        visit.sets_session_cookie = True
        request.state.session = visit.session


def path_for_log(path: str) -> str:
    """Return a path without the secret of a link for an owner of a mailbox."""
    return f"{PREFIX}/…" if path.startswith(f"{PREFIX}/") else path
