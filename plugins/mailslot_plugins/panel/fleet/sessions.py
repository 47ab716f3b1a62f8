"""The sessions of browsers on the fleet's panel: who is signed in is in the database, for all processes of the panel.

Drafts and notices of pages stay in the memory of the process, since they may contain passwords that are not stored yet.
Browsers that are not signed in need no query: the ids of signed-in sessions look different.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from typing import TYPE_CHECKING, Any, Final, cast

from anyio.to_thread import run_sync

from mailslot.wire.secret import Secret
from mailslot_plugins.panel.fleet.staff import Staff
from mailslot_plugins.panel.security.session import Session, Sessions, csrf_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.fleet.postgres.database import DeviceId
    from mailslot.fleet.postgres.staff_sessions import StaffSessions

MAX_KEPT: Final = 2000
"""Sessions whose drafts and notices a process keeps; beyond, those of the session that was unused for longest go."""

_STAFF: Final = "staff"
_HINT: Final = "id_token_hint"

_ID: Final = re.compile(r"staff-[A-Za-z0-9_-]{43}")  # 256 bits in base64url


class FleetSessions:
    """The sessions.

    Args:
        stored: the sessions in the database.
        idle: seconds without use after which drafts and notices are forgotten.
        monotonic: seconds of a monotonic clock.
    """

    def __init__(self, stored: StaffSessions, idle: float, monotonic: Callable[[], float]) -> None:
        self._stored = stored
        self._idle = idle
        self._monotonic = monotonic
        self._anonymous = Sessions()
        self._kept: dict[str, Session] = {}

    def new(self) -> tuple[str, Session]:
        """Return the id of a session that is not signed in, and the session."""
        return self._anonymous.new()

    def save(self, id_: str, session: Session) -> None:
        """Keep what a session that is not signed in has for its next page."""
        self._anonymous.save(id_, session)

    async def find(self, id_: str, *, person: bool) -> Session | None:
        """Return the session with an id; None if the id is not valid or the session has ended.

        Args:
            id_: the value of the cookie.
            person: whether a person caused the request.

        Raises:
            InputError: the database cannot be used.
        """
        if not _ID.fullmatch(id_):
            return self._anonymous.find(id_, 0.0, math.inf)
        document = await run_sync(lambda: self._stored.find(id_, used=person))
        # Nothing is awaited from here on, so that all requests of a session get the same one.
        kept = self._kept.pop(id_, None)
        if document is None:
            return None
        return self._keep(id_, kept or _opened(id_, document))

    async def begin(self, before: str, staff: Staff, id_token: Secret) -> tuple[str, Session]:
        """Return a signed-in session with a new id, which prevents session fixation.

        Args:
            before: the id of the session before; it ends, and only its notices are kept.
            staff: who has signed in.
            id_token: their ID token, with which they sign out at the provider.

        Raises:
            InputError: the database cannot be used.
        """
        id_, document = f"staff-{secrets.token_urlsafe(32)}", _document(staff, id_token)
        await run_sync(self._stored.begin, id_, staff.subject, staff.name, document)
        old = await self.end(before)
        session = _opened(id_, document)
        session.notices = [] if old is None else old.notices
        return id_, self._keep(id_, session)

    async def end(self, id_: str) -> Session | None:
        """End a session, and return what this process has kept of it.

        Raises:
            InputError: the database cannot be used.
        """
        if not _ID.fullmatch(id_):
            return self._anonymous.end(id_)
        await run_sync(self._stored.end, id_)
        return self._kept.pop(id_, None)

    def _keep(self, id_: str, session: Session) -> Session:
        """Keep a session as the one that was used last."""
        now = session.last_used = self._monotonic()
        self._kept[id_] = session
        while len(self._kept) > MAX_KEPT or now - next(iter(self._kept.values())).last_used >= self._idle:
            del self._kept[next(iter(self._kept))]
        return session


def staff_of(session: Session) -> Staff | None:
    """Return who has signed in; None if nobody has."""
    found = session.data.get(_STAFF) if session.signed_in else None
    return found if isinstance(found, Staff) else None


def id_token_of(session: Session) -> Secret | None:
    """Return the ID token with which somebody has signed in; None if nobody has."""
    found = session.data.get(_HINT) if session.signed_in else None
    return found if isinstance(found, Secret) else None


def device_session(session: Session, device: DeviceId) -> Session:
    """Return the session of a signed-in person on the panel of one device.

    Drafts and notices on one device's pages must not appear on another's. It ends with the session itself.
    """
    key = f"device {device.number}"
    found = session.data.get(key)
    if not isinstance(found, Session):
        found = session.data[key] = Session(session.csrf, signed_in=True)
    return found


def _document(staff: Staff, id_token: Secret) -> str:
    tenants = [None if each is None else sorted(each) for each in (staff.sees, staff.changes)]
    return json.dumps([staff.subject, staff.name, *tenants, id_token.reveal()])


def _opened(id_: str, document: str) -> Session:
    subject, name, sees, changes, id_token = cast("list[Any]", json.loads(document))
    staff = Staff(subject, name, *(None if each is None else frozenset(each) for each in (sees, changes)))
    return Session(csrf_token(id_), signed_in=True, data={_STAFF: staff, _HINT: Secret(id_token)})
