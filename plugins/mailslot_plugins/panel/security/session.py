"""Sessions of browsers, identified by a random id in a cookie.

A session that is not signed in uses no memory: its CSRF token is computed from the id, and it is stored only if it has
data. So nobody can displace other sessions with many requests.

The cookie is ``SameSite=Lax``, not ``Strict``: a redirect from a provider and a link in an alarm mail come from other
sites, and a strict cookie would not be sent with them. Lax is safe here: a GET changes nothing, and every other request
must come from one of our pages, with its CSRF token.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

MAX_AGE: Final = 12 * 3600.0
"""Seconds after which a session ends, even if it is used."""

MAX_SIGNED_IN: Final = 32
"""Signed-in sessions at the same time; a new one ends the session that was unused for longest."""

MAX_ANONYMOUS: Final = 256
"""Stored sessions that are not signed in."""

MAX_NOTICES: Final = 8

_ID: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits in base64url


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice at the top of the next page.

    Attributes:
        kind: ``"done"``, ``"warning"`` or ``"error"``.
        text: a sentence.
    """

    kind: str
    text: str


@dataclass(eq=False, slots=True)
class Session:
    """A session.

    Attributes:
        csrf: its CSRF token, which its forms contain.
        signed_in: whether the administrator is signed in.
        notices: notices for the next page.
        data: data of pages, such as a new API key.
        signed_in_at: when the administrator signed in, in seconds of a monotonic clock.
        last_used: when a person last used it.
    """

    csrf: str
    signed_in: bool = False
    notices: list[Notice] = field(default_factory=list[Notice])
    data: dict[str, object] = field(default_factory=dict[str, object])
    signed_in_at: float = 0.0
    last_used: float = 0.0

    def take_notices(self) -> list[Notice]:
        """Return the notices, and remove them."""
        taken, self.notices = self.notices[-MAX_NOTICES:], []
        return taken

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (self.signed_in or self.notices or self.data)


class Sessions:
    """All sessions of a panel. They are in memory, so a restart ends them."""

    def __init__(self) -> None:
        self._signed_in: dict[str, Session] = {}
        self._anonymous: dict[str, Session] = {}

    def find(self, id_: str, now: float, idle: float) -> Session | None:
        """Return the session with an id; None if the id is not valid or the session has ended.

        Args:
            id_: the value of the cookie.
            now: seconds of a monotonic clock.
            idle: seconds of inactivity after which a session ends.
        """
        if not _ID.fullmatch(id_):
            return None
        session = self._signed_in.get(id_)
        if session is None:
            return self._anonymous.get(id_) or Session(csrf_token(id_))
        if now - session.last_used >= idle or now - session.signed_in_at >= MAX_AGE:
            del self._signed_in[id_]
            return None
        return session

    def new(self) -> tuple[str, Session]:
        """Return a new id, and its session."""
        id_ = secrets.token_urlsafe(32)
        return id_, Session(csrf_token(id_))

    def save(self, id_: str, session: Session) -> None:
        """Store an anonymous session if it is not empty; forget the oldest if there are too many."""
        self._anonymous.pop(id_, None)
        if session.is_empty or session.signed_in:
            return
        self._anonymous[id_] = session
        while len(self._anonymous) > MAX_ANONYMOUS:
            del self._anonymous[next(iter(self._anonymous))]

    def sign_in(self, id_: str, now: float) -> tuple[str, Session]:
        """Return a signed-in session with a new id, which prevents session fixation.

        Args:
            id_: the id of the session before; its data are deleted, except notices.
            now: seconds of a monotonic clock.
        """
        before = self.end(id_)
        new, session = self.new()
        session.signed_in, session.signed_in_at, session.last_used = True, now, now
        session.notices = [] if before is None else before.notices
        self._signed_in[new] = session
        while len(self._signed_in) > MAX_SIGNED_IN:
            oldest = min(self._signed_in, key=lambda each: self._signed_in[each].last_used)
            del self._signed_in[oldest]
        return new, session

    def end(self, id_: str) -> Session | None:
        """End a session, and return it; None if it was not stored."""
        return self._signed_in.pop(id_, None) or self._anonymous.pop(id_, None)

    def end_all(self) -> None:
        """End every session."""
        self._signed_in.clear()
        self._anonymous.clear()

    def __len__(self) -> int:
        return len(self._signed_in)


def csrf_token(id_: str) -> str:
    """Return the CSRF token of the session with an id; the id cannot be computed from it."""
    return hmac.new(id_.encode(), b"csrf", hashlib.sha256).hexdigest()
