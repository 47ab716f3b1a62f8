"""Sessions: what the device remembers of a browser, by a random id in a cookie.

A visitor who has not signed in costs no memory: the token of the forms is computed from the id, and only what somebody
put into a session is kept. So nobody can drive out others by asking often.

The cookie is ``SameSite=Lax``, not ``Strict``: the end of a sign-in at a provider comes from another site, as does
whoever follows the link in an alarm's mail, and a strict cookie would be withheld from both. Lax leaves nothing open: a
GET changes nothing here, and everything else has to come from a page of ours and to carry the token of its form.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

ABSOLUTE: Final = 12 * 3600.0
"""Seconds after which a session ends in any case."""

MOST_SIGNED_IN: Final = 32
"""Sessions of the administrator at a time; the one that was used longest ago ends for another."""

MOST_OTHERS: Final = 256
"""Sessions of others of which something is remembered."""

MOST_NOTICES: Final = 8

_ID: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits in base64url


@dataclass(frozen=True, slots=True)
class Notice:
    """What the next page says on top.

    Attributes:
        kind: ``"done"``, ``"warning"`` or ``"error"``.
        text: a sentence.
    """

    kind: str
    text: str


@dataclass(eq=False, slots=True)
class Session:
    """What is remembered of one browser.

    Attributes:
        csrf: the token that each form of this session carries, and nobody else can know.
        signed_in: whether the administrator has signed in here.
        notices: what the next page says.
        data: what is bound to this session, such as the state of a sign-in at a provider.
        began: when it was signed in, in seconds of a steady clock.
        used: when a person last did something in it.
    """

    csrf: str
    signed_in: bool = False
    notices: list[Notice] = field(default_factory=list[Notice])
    data: dict[str, object] = field(default_factory=dict[str, object])
    began: float = 0.0
    used: float = 0.0

    def take_notices(self) -> list[Notice]:
        """Return the notices, once, so that they are not said again."""
        taken, self.notices = self.notices[-MOST_NOTICES:], []
        return taken

    @property
    def empty(self) -> bool:
        """Whether there is nothing to remember."""
        return not (self.signed_in or self.notices or self.data)


class Sessions:
    """All sessions of a device; in memory, so that a restart ends them."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._signed_in: dict[str, Session] = {}
        self._others: dict[str, Session] = {}

    def find(self, id_: str, now: float, idle: float) -> Session | None:
        """Return the session with an id; None where the id is none, or its session has ended.

        Args:
            id_: from the cookie.
            now: seconds of a steady clock.
            idle: seconds without a person's doing after which a session ends.
        """
        if not _ID.fullmatch(id_):
            return None
        session = self._signed_in.get(id_)
        if session is None:
            return self._others.get(id_) or Session(self._token(id_))
        if now - session.used >= idle or now - session.began >= ABSOLUTE:
            del self._signed_in[id_]
            return None
        return session

    def new(self) -> tuple[str, Session]:
        """Return a new id, and its session."""
        id_ = secrets.token_urlsafe(32)
        return id_, Session(self._token(id_))

    def keep(self, id_: str, session: Session) -> None:
        """Remember a session if there is something to remember, and forget what is too much."""
        self._others.pop(id_, None)
        if session.empty or session.signed_in:
            return
        self._others[id_] = session
        while len(self._others) > MOST_OTHERS:
            del self._others[next(iter(self._others))]

    def sign_in(self, id_: str, now: float) -> tuple[str, Session]:
        """Return a session that is signed in, under a new id: one that somebody else may have planted is worth nothing.

        Args:
            id_: the id of the session before; what it holds is forgotten, save for notices.
            now: seconds of a steady clock.
        """
        before = self.end(id_)
        new, session = self.new()
        session.signed_in, session.began, session.used = True, now, now
        session.notices = [] if before is None else before.notices
        self._signed_in[new] = session
        while len(self._signed_in) > MOST_SIGNED_IN:
            oldest = min(self._signed_in, key=lambda each: self._signed_in[each].used)
            del self._signed_in[oldest]
        return new, session

    def end(self, id_: str) -> Session | None:
        """End a session, and return what it was."""
        return self._signed_in.pop(id_, None) or self._others.pop(id_, None)

    def end_all(self) -> None:
        """End every session."""
        self._signed_in.clear()
        self._others.clear()

    def __len__(self) -> int:
        return len(self._signed_in)

    def _token(self, id_: str) -> str:
        return hmac.new(self._key, id_.encode(), hashlib.sha256).hexdigest()
