"""The panel's sessions, password, keys, and the throttling of guesses."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.security import known_browser
from mailslot_plugins.panel.security.addresses import ascii_name, client_address, client_network, is_local
from mailslot_plugins.panel.security.keys import ApiKeys
from mailslot_plugins.panel.security.limits import DisconnectedError
from mailslot_plugins.panel.security.password import Password
from mailslot_plugins.panel.security.paths import METRICS, PUBLIC
from mailslot_plugins.panel.security.session import Session, Sessions
from mailslot_plugins.panel.security.throttle import TRUSTED_GUESSES, Throttle, ThrottledError, WrongGuesses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from mailslot.service.device import Device
    from mailslot.wire.secret import Secret
    from mailslot_plugins.panel.security.certificate import ServerCertificate
    from mailslot_plugins.panel.security.keys import ApiKey

_LETTERS: Final = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Without similar ones."""

_CODE: Final = 10
"""Characters of the setup code: 49 bits, and few guesses."""


@dataclass(slots=True)
class Visit:
    """The session and cookies of a request.

    Attributes:
        id: the id of the session.
        session: the session.
        sets_session_cookie: whether the response must set the id as a cookie.
        session_ended: whether the request came with a session that has ended.
        known_cookie: the value of the cookie for known browsers.
        sets_known_cookie: whether the response must set `known_cookie`.
        verified: the stamp of the password that was verified for it; None if none was.
    """

    id: str
    session: Session
    sets_session_cookie: bool
    session_ended: bool = False
    known_cookie: str = ""
    sets_known_cookie: bool = False
    verified: bytes | None = None


class Security:
    """Authentication for the panel; pages have it as ``request.state.security``.

    Attributes:
        password: the administrator's password.
        keys: the API keys.
        first_start_code: the setup code, which the first start asks for on other machines.
        certificate: the certificate in use; None without TLS.
        accepts_keys: whether programs may use API keys.
    """

    accepts_keys: ClassVar[bool] = True

    def __init__(self, device: Device) -> None:
        self._device = device
        self.password = Password(device.records.place)
        self.keys = ApiKeys(device.records.place, device.now)
        self.first_start_code = "-".join("".join(secrets.choice(_LETTERS) for _ in range(_CODE // 2)) for _ in range(2))
        self.certificate: ServerCertificate | None = None
        self._sessions = Sessions()
        self._guesses = Throttle(device.monotonic, device.sleep)
        self._wrong_keys = Throttle(device.monotonic, device.sleep)
        self._wrong_by_browser = WrongGuesses(device.monotonic)
        self._password_lock = anyio.Lock()
        self._key_lock = anyio.Lock()
        self._stamp_lock = anyio.Lock()
        self._stamp: bytes | None = None
        self._browser_key = b""

    @property
    def names(self) -> tuple[str, ...]:
        """The panel's host names in the settings, in the form that browsers and certificates use."""
        return tuple(ascii_name(name) for name in self._device.settings(PANEL)["names"] or ())

    async def is_claimed(self) -> bool:
        """Return whether a password is set; if it has changed, end all sessions.

        Raises:
            VaultError: it cannot be read.
        """
        # Run in parallel, a check with the old stamp would end sessions that have just begun.
        async with self._stamp_lock:
            stamp = await run_sync(self.password.stamp)
            if stamp != self._stamp:
                self._browser_key = await run_sync(self.password.derive_key)
                self._sessions.end_all()
                self._stamp = stamp
        return stamp is not None

    def cookie_port(self, request: Request) -> int:
        """Return the port that the panel listens on: one machine may serve two devices."""
        return int((request.scope.get("server") or ("", 0))[1] or 0)

    async def visit(self, id_: str, *, person: bool, known: str = "") -> Visit:
        """Return the visit of a request.

        Args:
            id_: the value of the session cookie.
            person: whether a person caused the request, and not a page that updates itself.
            known: the value of the cookie for known browsers.
        """
        now = self._device.monotonic()
        session = self._sessions.find(id_, now, 60.0 * self._device.settings(PANEL)["idle_minutes"])
        if session is None:
            return Visit(*self._sessions.new(), sets_session_cookie=True, session_ended=bool(id_), known_cookie=known)
        if person:
            session.last_used = now
        return Visit(id_, session, sets_session_cookie=False, known_cookie=known)

    def save(self, visit: Visit) -> None:
        """Save the session of a visit."""
        self._sessions.save(visit.id, visit.session)

    def is_public(self, request: Request) -> bool:
        """Return whether a request needs no sign-in."""
        path = request.scope["path"]
        return path in PUBLIC or (path == METRICS and is_local(request.scope))

    def path_on_panel(self, path: str) -> str:
        """Return the path, which has no prefix."""
        return path

    def refusal(self, request: Request) -> tuple[int, str] | None:  # noqa: ARG002 - there is one role
        """Return None: the administrator may do everything."""
        return None

    async def try_password(self, request: Request, password: Secret) -> bool:
        """Return whether this is the administrator's password; after wrong guesses this waits.

        Raises:
            ThrottledError: there are too many guesses at present.
            DisconnectedError: the client has disconnected.
            VaultError: the password cannot be read.
        """
        visit: Visit = request.state.visit
        browser = self._known_browser(visit)
        if browser is None:
            return await self._take_turn(request, lambda: self._verify(visit, password))
        right = await self._verify(visit, password)
        (self._wrong_by_browser.forget if right else self._wrong_by_browser.add)(browser)
        return right

    async def try_code(self, request: Request, code: str) -> bool:
        """Return whether the first start is allowed: from this machine, or with the setup code.

        Raises:
            ThrottledError: there are too many guesses at present.
        """
        if is_local(request.scope):
            return True

        async def check() -> bool:
            given = "".join(character for character in code.upper() if character.isalnum())
            return hmac.compare_digest(given.encode(), self.first_start_code.replace("-", "").encode())

        return await self._take_turn(request, check)

    async def try_key(self, request: Request, key: Secret) -> ApiKey | None:
        """Return an API key's data; None if it is not valid. Valid keys never wait; refusals are throttled.

        Raises:
            ThrottledError: there are too many requests with wrong keys at present.
            VaultError: the keys cannot be read.
        """
        async with self._key_lock:
            found = await run_sync(self.keys.check, key)
        if found is None:
            # Programs have no session. One refusal per address waits, and further ones are refused at once.
            address = client_network(client_address(request.scope))
            async with self._wrong_keys.turn(address, address):
                self._wrong_keys.count(address, address, right=False)
        return found

    async def sign_in(self, request: Request) -> bool:
        """Sign the administrator in, in a new session of this browser, after `try_password`.

        Returns:
            False, and nobody is signed in, if that password is not the administrator's any more.

        Raises:
            VaultError: the password cannot be read.
        """
        visit: Visit = request.state.visit
        await self.is_claimed()
        # Nothing is awaited from here on: a change of the password ends this session as well.
        if visit.verified is None or visit.verified != self._stamp:
            return False
        self._begin_session(request)
        return True

    def _begin_session(self, request: Request) -> None:
        visit: Visit = request.state.visit
        visit.id, visit.session = self._sessions.sign_in(visit.id, self._device.monotonic())
        visit.sets_session_cookie = visit.sets_known_cookie = True
        visit.known_cookie = known_browser.make_cookie(self._browser_key)
        request.state.session = visit.session

    def sign_out(self, request: Request, *, everywhere: bool = False) -> None:
        """End this browser's session; with `everywhere`, all sessions."""
        visit: Visit = request.state.visit
        if everywhere:
            self._sessions.end_all()
        self._sessions.end(visit.id)
        visit.id, visit.session = self._sessions.new()
        visit.sets_session_cookie = True
        request.state.session = visit.session

    async def change_password(self, request: Request, password: Secret, *, first: bool = False) -> None:
        """Set the password, which ends all sessions, and sign this browser in.

        Raises:
            InputError: the password is not valid.
            VaultError: it cannot be stored.
        """
        async with self._password_lock:
            await run_sync(lambda: self.password.set(password, first=first))
        await self.is_claimed()
        self._begin_session(request)

    def _known_browser(self, visit: Visit) -> str | None:
        """Return the name of a known browser, which need not wait; None for any other."""
        browser = (
            visit.id if visit.session.signed_in else known_browser.check_cookie(self._browser_key, visit.known_cookie)
        )
        return browser if browser is not None and self._wrong_by_browser[browser] < TRUSTED_GUESSES else None

    async def _verify(self, visit: Visit, password: Secret) -> bool:
        async with self._password_lock:
            visit.verified = await run_sync(self.password.verify, password)
        return visit.verified is not None

    async def _take_turn(self, request: Request, check: Callable[[], Awaitable[bool]]) -> bool:
        who = client_network(client_address(request.scope)), request.state.visit.id
        right = waits = None
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_once_left, request, group.cancel_scope)
            try:
                async with self._guesses.turn(*who):
                    right = await check()
                    self._guesses.count(*who, right=right)
            except (ThrottledError, MailError) as error:
                waits = error  # raised below, outside of the task group
            group.cancel_scope.cancel()
        if waits is not None:
            raise waits
        if right is None:
            raise DisconnectedError
        return right


async def _cancel_once_left(request: Request, scope: anyio.CancelScope) -> None:
    """Cancel a guess whose client has disconnected: places in the queue are few."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
