"""Sessions of staff, for the guard that every request passes (`mailslot_plugins.panel.security.guard`)."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, ClassVar, Final

from mailslot.fleet.consent import PREFIX
from mailslot_plugins.panel.fleet.staff import Staff
from mailslot_plugins.panel.security.addresses import ascii_name
from mailslot_plugins.panel.security.security import Visit
from mailslot_plugins.panel.security.session import Session, Sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from mailslot.fleet.postgres.database import DeviceId
    from mailslot.wire.secret import Secret
    from mailslot_plugins.panel.fleet.settings import FleetPanelSettings
    from mailslot_plugins.panel.security.certificate import ServerCertificate
    from mailslot_plugins.panel.security.keys import ApiKey

SIGN_IN: Final = "/sign-in"
START: Final = "/sign-in/start"
SIGNED_IN: Final = "/sign-in/callback"
"""The redirect URI's path."""

PUBLIC: Final = frozenset({SIGN_IN, START, SIGNED_IN, "/oauth/callback", "/preferences", "/healthz"})
"""Paths that need no sign-in. Both callbacks check the session in which the sign-in was begun."""

MAX_SIGNED_IN: Final = 2000
"""Sessions of staff at the same time; a new one ends the one that was unused for longest."""

_STAFF: Final = "staff"
_DEVICE: Final = re.compile(r"/tenants/[^/]+/devices/[^/]+(?=/)")

logger = logging.getLogger(__name__)


class FleetSecurity:
    """The sessions of staff; pages have it as ``request.state.security``.

    Args:
        settings: the settings of the panel.
        monotonic: seconds of a monotonic clock.

    Attributes:
        certificate: the certificate in use; None without TLS.
        accepts_keys: whether programs may use API keys; those of devices are for their own panels.
    """

    accepts_keys: ClassVar[bool] = False

    def __init__(self, settings: FleetPanelSettings, monotonic: Callable[[], float]) -> None:
        self.certificate: ServerCertificate | None = None
        self._names = tuple(ascii_name(name) for name in (settings.host, *settings.names))
        self._idle = 60.0 * settings.idle_minutes
        self._monotonic = monotonic
        self._sessions = Sessions(MAX_SIGNED_IN)

    @property
    def names(self) -> tuple[str, ...]:
        """The panel's host names, in the form that browsers and certificates use."""
        return self._names

    async def is_claimed(self) -> bool:
        """Return True: there is no password to be set."""
        return True

    async def try_key(self, request: Request, key: Secret) -> ApiKey | None:  # noqa: ARG002 - no key is accepted
        """Return None: devices' keys are for their own panels."""
        return None

    def visit(self, id_: str, *, person: bool, known: str = "") -> Visit:  # noqa: ARG002 - there is nothing to guess
        """Return the visit of a request; see `mailslot_plugins.panel.security.security.Security.visit`."""
        now = self._monotonic()
        session = self._sessions.find(id_, now, self._idle)
        if session is None:
            return Visit(*self._sessions.new(), sets_session_cookie=True, session_ended=bool(id_))
        if person:
            session.last_used = now
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
        """Return the path on the device's panel that a path leads to, or the path itself."""
        found = _DEVICE.match(path)
        return path if found is None else path[found.end() :]

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """Return status and text if the person may not do what a request asks for; None if they may."""
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

    def sign_in(self, request: Request, staff: Staff) -> None:
        """Sign a person in, in a new session of this browser."""
        visit: Visit = request.state.visit
        visit.id, visit.session = self._sessions.sign_in(visit.id, self._monotonic())
        visit.session.data[_STAFF] = staff
        visit.sets_session_cookie = True
        request.state.session = visit.session

    def sign_out(self, request: Request) -> None:
        """End this browser's session."""
        visit: Visit = request.state.visit
        self._sessions.end(visit.id)
        visit.id, visit.session = self._sessions.new()
        visit.sets_session_cookie = True
        request.state.session = visit.session


def path_for_log(path: str) -> str:
    """Return a path without the secret of a link for an owner of a mailbox."""
    return f"{PREFIX}/…" if path.startswith(f"{PREFIX}/") else path


def staff_of(session: Session) -> Staff | None:
    """Return who has signed in; None if nobody has."""
    found = session.data.get(_STAFF) if session.signed_in else None
    return found if isinstance(found, Staff) else None


def device_session(session: Session, device: DeviceId) -> Session:
    """Return the session of a signed-in person on the panel of one device.

    Drafts and notices on one device's pages must not appear on another's. It ends with the session itself.
    """
    key = f"device {device.number}"
    found = session.data.get(key)
    if not isinstance(found, Session):
        found = session.data[key] = Session(session.csrf, signed_in=True)
    return found
