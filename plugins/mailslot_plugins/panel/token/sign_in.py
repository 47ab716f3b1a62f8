"""A running sign-in: what a flow shows to the person, stored for the pages that show it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

import anyio

if TYPE_CHECKING:
    from mailslot.errors import MailError
    from mailslot.oauth.flow import UserCode
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.security.session import Session
    from mailslot_plugins.panel.token.authorization import PendingAuthorization
    from mailslot_plugins.panel.token.sign_in_methods import SignInMethod

Step = Literal["preparing", "address", "code", "fetching", "done", "failed", "left"]

REMEMBERED_FOR: Final = 600.0
"""Seconds for which pages show the result of a sign-in."""


class SignIn:
    """A sign-in; it is the `mailslot.oauth.flow.Person` of its flow.

    Args:
        slot: the slot at which it was started.
        method: the chosen method.
        session: the session of the browser that started it; only this one sees it and may end it.
        origin: the origin of the panel in that browser, such as ``http://127.0.0.1:8080``.

    Attributes:
        slot: the slot.
        method: the method.
        origin: the origin.
        step: its progress.
        address: the address to open in a browser; empty if there is none, or none yet. Its state is useless without
            the session.
        code: the code to enter on another device; None if there is none, or none yet.
        code_ends_at: when the code expires, in seconds since 1970.
        pending: the authorization that waits for its response; None if there is none.
        opened: whether the browser was already redirected to the address.
        error: why it failed; otherwise None.
    """

    def __init__(self, slot: Slot, method: SignInMethod, session: Session, origin: str) -> None:
        self.slot = slot
        self.method = method
        self.origin = origin
        self.step: Step = "preparing"
        self.address = ""
        self.code: UserCode | None = None
        self.code_ends_at = 0.0
        self.pending: PendingAuthorization | None = None
        self.opened = False
        self.error: MailError | None = None
        self._session = session
        self._ended_at: float | None = None

    def is_of(self, session: Session) -> bool:
        """Return whether it was started in this session."""
        return self._session is session

    @property
    def is_recent(self) -> bool:
        """Whether it is running, or ended recently and has a result to show."""
        if self.step == "left":
            return False
        return self._ended_at is None or time.monotonic() - self._ended_at < REMEMBERED_FOR

    def set_pending(self, pending: PendingAuthorization) -> None:
        """Store the authorization that waits for its response."""
        self.pending = pending

    def end(self, step: Step, error: MailError | None = None) -> None:
        """Record its result, ``done`` or ``failed``; only the first one counts."""
        if self._ended_at is None:
            self._ended_at = time.monotonic()
            self.step, self.error, self.pending = step, error, None

    def leave(self) -> None:
        """Record that the person has cancelled it, or has closed its result."""
        self._ended_at = time.monotonic()
        self.step, self.pending = "left", None

    def mark_fetching(self) -> None:
        """Record that the person has finished their part."""
        if self._ended_at is None:
            self.step = "fetching"

    async def show_address(self, address: str) -> None:
        """Show an address to be opened in a browser."""
        self.address, self.step = address, "address"

    async def show_code(self, code: UserCode) -> None:
        """Show a code to be entered on another device."""
        self.code, self.step = code, "code"
        self.code_ends_at = time.time() + code.expires_at - anyio.current_time()

    async def ask_pasted_address(self, address: str) -> str:
        """Never called by the flows used here: `PanelFlow` accepts pasted addresses."""
        raise NotImplementedError

    async def show_message(self, text: str) -> None:
        """Do nothing: each step shows its progress already."""
