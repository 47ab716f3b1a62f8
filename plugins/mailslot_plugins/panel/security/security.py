"""What guards the panel of one device: its sessions, its password, its keys, and how often somebody may guess."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.security import known_browser
from mailslot_plugins.panel.security.addresses import ascii_name, is_local, neighbourhood, peer
from mailslot_plugins.panel.security.keys import ApiKeys
from mailslot_plugins.panel.security.limits import LeftError
from mailslot_plugins.panel.security.password import Password
from mailslot_plugins.panel.security.session import Session, Sessions
from mailslot_plugins.panel.security.throttle import TRUSTED, Throttle, WaitError, WrongGuesses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from mailslot.service.device import Device
    from mailslot.wire.secret import Secret
    from mailslot_plugins.panel.security.certificate import Identity

_LETTERS: Final = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Without those that look alike."""

_CODE: Final = 10
"""Letters of the code for the first start: 49 bits, and few guesses."""


@dataclass(slots=True)
class Visit:
    """A browser's request.

    Attributes:
        id: of its session.
        session: its session.
        fresh: whether the browser has to be told the id.
        ended: whether it came with a session that has ended since.
        known: what its cookie says about an earlier sign-in in this browser.
        known_from_now: whether the browser has to be told a new `known`.
    """

    id: str
    session: Session
    fresh: bool
    ended: bool = False
    known: str = ""
    known_from_now: bool = False


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
        self._guesses = Throttle(device.monotonic, device.sleep)
        self._wrong_keys = Throttle(device.monotonic, device.sleep)
        self._wrong_by_browser = WrongGuesses(device.monotonic)
        self._one_at_a_time = anyio.Lock()
        self._one_key_at_a_time = anyio.Lock()
        self._one_look_at_a_time = anyio.Lock()
        self._stamp: object = None
        self._browser_key = b""

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the administrator has given the panel, as browsers and certificates have them."""
        return tuple(ascii_name(name) for name in self._device.settings(PANEL)["names"] or ())

    async def is_claimed(self) -> bool:
        """Return whether a password is set; one that was changed ends every session.

        Raises:
            VaultError: nobody can tell.
        """
        # In parallel, one that has seen the stamp of before would end the sessions that began since.
        async with self._one_look_at_a_time:
            stamp = await run_sync(self.password.stamp)
            if stamp != self._stamp:
                self._browser_key = await run_sync(self.password.derive_key)
                self._sessions.end_all()
                self._stamp = stamp
        return stamp is not None

    def visit(self, id_: str, *, person: bool, known: str = "") -> Visit:
        """Return a browser's visit.

        Args:
            id_: what the cookie of its session holds.
            person: whether a person did something, rather than a page that looks for news.
            known: what its cookie of an earlier sign-in holds.
        """
        now = self._device.monotonic()
        session = self._sessions.find(id_, now, 60.0 * self._device.settings(PANEL)["idle_minutes"])
        if session is None:
            return Visit(*self._sessions.new(), fresh=True, ended=bool(id_), known=known)
        if person:
            session.used = now
        return Visit(id_, session, fresh=False, known=known)

    def keep(self, visit: Visit) -> None:
        """Remember what a visit left to remember."""
        self._sessions.keep(visit.id, visit.session)

    async def try_password(self, request: Request, password: Secret) -> bool:
        """Return whether this is the administrator's password; who has been wrong often waits for that.

        Raises:
            WaitError: too many guess at present.
            LeftError: nobody waits for the answer any more.
            VaultError: the password cannot be read.
        """
        browser = self._known_browser(request.state.visit)
        if browser is None:
            return await self._take_turn(request, lambda: self._verify(password))
        right = await self._verify(password)
        (self._wrong_by_browser.forget if right else self._wrong_by_browser.add)(browser)
        return right

    async def try_code(self, request: Request, code: str) -> bool:
        """Return whether somebody may do the first start: at this machine, or with the code that the service told.

        Raises:
            WaitError: too many guess at present.
        """
        if is_local(request.scope):
            return True

        async def check() -> bool:
            given = "".join(letter for letter in code.upper() if letter.isalnum())
            return hmac.compare_digest(given.encode(), self.code.replace("-", "").encode())

        return await self._take_turn(request, check)

    async def try_key(self, request: Request, key: Secret) -> bool:
        """Return whether this is a key to the API. One that is waits for nobody; the refusal of others has its turn.

        Raises:
            WaitError: too many come with wrong keys at present.
            VaultError: the keys cannot be read.
        """
        async with self._one_key_at_a_time:
            right = await run_sync(self.keys.check, key) is not None
        if not right:
            # Whoever shows a key has no session; one refusal waits for each address, and others come at once.
            address = neighbourhood(peer(request.scope))
            async with self._wrong_keys.turn(address, address):
                self._wrong_keys.count(address, address, right=False)
        return right

    def sign_in(self, request: Request) -> None:
        """Make this browser's session the administrator's, under a new id."""
        visit: Visit = request.state.visit
        visit.id, visit.session = self._sessions.sign_in(visit.id, self._device.monotonic())
        visit.fresh = visit.known_from_now = True
        visit.known = known_browser.make(self._browser_key)
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
        async with self._one_at_a_time:
            await run_sync(lambda: self.password.set(password, first=first))
        await self.is_claimed()
        self.sign_in(request)

    def _known_browser(self, visit: Visit) -> str | None:
        """Return the name of a browser that may guess although others do; None for any other."""
        browser = visit.id if visit.session.signed_in else known_browser.check(self._browser_key, visit.known)
        return browser if browser is not None and self._wrong_by_browser[browser] < TRUSTED else None

    async def _verify(self, password: Secret) -> bool:
        async with self._one_at_a_time:
            return await run_sync(self.password.verify, password)

    async def _take_turn(self, request: Request, check: Callable[[], Awaitable[bool]]) -> bool:
        who = neighbourhood(peer(request.scope)), request.state.visit.id
        right = waits = None
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_once_left, request, group.cancel_scope)
            try:
                async with self._guesses.turn(*who):
                    right = await check()
                    self._guesses.count(*who, right=right)
            except (WaitError, MailError) as error:
                waits = error  # raised below, so that no group is made of it
            group.cancel_scope.cancel()
        if waits is not None:
            raise waits
        if right is None:
            raise LeftError
        return right


async def _cancel_once_left(request: Request, scope: anyio.CancelScope) -> None:
    """Give up a turn that nobody waits for any more: places in the queue are few."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
