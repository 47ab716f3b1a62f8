"""What guards the panel of one device: its sessions, its password, its keys, and how often somebody may guess."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.security.addresses import ascii_name, is_local, peer
from mailslot_plugins.panel.security.keys import ApiKeys
from mailslot_plugins.panel.security.password import Password
from mailslot_plugins.panel.security.session import Session, Sessions
from mailslot_plugins.panel.security.throttle import Throttle

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot.service.device import Device
    from mailslot.wire.secret import Secret
    from mailslot_plugins.panel.security.certificate import Identity

_LETTERS: Final = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Without those that look alike."""

_CODE: Final = 10
"""Letters of the code for the first start: 49 bits, and few guesses."""

_WAITING: Final = 8
"""Guesses that wait for the one before them; each takes tens of megabytes and milliseconds."""


class WaitError(Exception):
    """Nobody may guess now.

    Attributes:
        seconds: after how many of them one may.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = max(1, round(seconds + 0.5))


@dataclass(slots=True)
class Visit:
    """A browser's request.

    Attributes:
        id: of its session.
        session: its session.
        fresh: whether the browser has to be told the id.
        ended: whether it came with a session that has ended since.
    """

    id: str
    session: Session
    fresh: bool
    ended: bool = False


class Security:
    """What guards the panel of a device; a request has it as ``request.state.security``.

    Attributes:
        password: the administrator's.
        keys: to the API.
        code: lets somebody at another machine do the first start; told to whoever started the service.
        identity: the certificate in use; None without TLS.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self.password = Password(device.home)
        self.keys = ApiKeys(device.home, device.now)
        self.code = "-".join("".join(secrets.choice(_LETTERS) for _ in range(_CODE // 2)) for _ in range(2))
        self.identity: Identity | None = None
        self._sessions = Sessions()
        self._throttle = Throttle(device.steady)
        self._one_at_a_time = anyio.Lock()
        self._stamp: object = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the administrator has given the panel, as browsers and certificates have them."""
        return tuple(ascii_name(name) for name in self._device.settings(PANEL)["names"] or ())

    async def is_claimed(self) -> bool:
        """Return whether a password is set; one that was changed ends every session.

        Raises:
            VaultError: nobody can tell.
        """
        stamp = await run_sync(self.password.stamp)
        if stamp != self._stamp:
            self._sessions.end_all()
            self._stamp = stamp
        return stamp is not None

    def visit(self, id_: str, *, person: bool) -> Visit:
        """Return a browser's visit.

        Args:
            id_: what its cookie holds.
            person: whether a person did something, rather than a page that looks for news.
        """
        now = self._device.steady()
        session = self._sessions.find(id_, now, 60.0 * self._device.settings(PANEL)["idle_minutes"])
        if session is None:
            return Visit(*self._sessions.new(), fresh=True, ended=bool(id_))
        if person:
            session.used = now
        return Visit(id_, session, fresh=False)

    def keep(self, visit: Visit) -> None:
        """Remember what a visit left to remember."""
        self._sessions.keep(visit.id, visit.session)

    async def try_password(self, request: Request, password: Secret) -> bool:
        """Return whether this is the administrator's password.

        Raises:
            WaitError: nobody may guess from there now.
            VaultError: the password cannot be read.
        """
        address = peer(request.scope)
        crowded = self._one_at_a_time.statistics().tasks_waiting >= _WAITING
        if crowded and not self._throttle.knows(address):
            raise WaitError(_WAITING)
        async with self._one_at_a_time:
            return self._counted(address, await self._verified(address, password))

    def try_code(self, request: Request, code: str) -> bool:
        """Return whether somebody may do the first start: at this machine, or with the code that the service told.

        Raises:
            WaitError: nobody may guess from there now.
        """
        if is_local(request.scope):
            return True
        address = peer(request.scope)
        if (seconds := self._throttle.wait(address)) > 0:
            raise WaitError(seconds)
        given = "".join(letter for letter in code.upper() if letter.isalnum())
        return self._counted(address, hmac.compare_digest(given.encode(), self.code.replace("-", "").encode()))

    def sign_in(self, request: Request) -> None:
        """Make this browser's session the administrator's, under a new id."""
        visit: Visit = request.state.visit
        visit.id, visit.session = self._sessions.sign_in(visit.id, self._device.steady())
        visit.fresh = True
        request.state.session = visit.session

    def sign_out(self, request: Request, *, everywhere: bool = False) -> None:
        """End this browser's session, and everybody's with `everywhere`."""
        visit: Visit = request.state.visit
        if everywhere:
            self._sessions.end_all()
        self._sessions.end(visit.id)
        visit.id, visit.session = self._sessions.new()
        visit.fresh = True
        request.state.session = visit.session

    async def change_password(self, request: Request, password: Secret, *, first: bool = False) -> None:
        """Set the password, which ends all sessions, and sign this browser in.

        Raises:
            InputError: it cannot be the password.
            VaultError: it cannot be kept.
        """
        await run_sync(lambda: self.password.set(password, first=first))
        await self.is_claimed()
        self.sign_in(request)

    async def _verified(self, address: str, password: Secret) -> bool:
        if (seconds := self._throttle.wait(address)) > 0:
            raise WaitError(seconds)
        return await run_sync(self.password.verify, password)

    def _counted(self, address: str, right: bool) -> bool:  # noqa: FBT001 - whether the guess was right
        (self._throttle.succeeded if right else self._throttle.failed)(address)
        return right
