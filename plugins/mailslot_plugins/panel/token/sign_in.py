"""A sign-in that is under way: what a flow shows to the person, kept until a page asks for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

import anyio

if TYPE_CHECKING:
    from mailslot.errors import MailError
    from mailslot.oauth.flow import UserCode
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.security.session import Session
    from mailslot_plugins.panel.token.authorization import Question
    from mailslot_plugins.panel.token.sign_in_methods import SignInMethod

Step = Literal["preparing", "address", "code", "fetching", "done", "failed", "left"]

RECENT: Final = 600.0
"""Seconds for which a page still tells how a sign-in ended."""


class SignIn:
    """A sign-in, as the `mailslot.oauth.flow.Person` that a flow speaks to.

    Args:
        slot: the slot that it was begun at.
        way: the way that was chosen.
        session: of the browser that began it, which alone sees it and may end it.
        origin: by which that browser called the panel, such as ``http://127.0.0.1:8080``.

    Attributes:
        slot: the same.
        way: the same.
        origin: the same.
        step: how far it has come.
        address: what is to be opened in a browser; empty where nothing is, or not yet. Its state is
            worth nothing without the session.
        code: what is to be entered on another device; None likewise.
        code_ends_at: until when, in seconds since the epoch.
        question: takes the answer; None where none is awaited.
        opened: whether the browser was sent to the address already.
        error: why there is no token; None where there is one, or may still be.
    """

    def __init__(self, slot: Slot, way: SignInMethod, session: Session, origin: str) -> None:
        self.slot = slot
        self.way = way
        self.origin = origin
        self.step: Step = "preparing"
        self.address = ""
        self.code: UserCode | None = None
        self.code_ends_at = 0.0
        self.question: Question | None = None
        self.opened = False
        self.error: MailError | None = None
        self._session = session
        self._ended_at: float | None = None

    def is_of(self, session: Session) -> bool:
        """Whether it was begun in this session."""
        return self._session is session

    @property
    def is_recent(self) -> bool:
        """Whether it goes on, or ended just now and left something to say."""
        if self.step == "left":
            return False
        return self._ended_at is None or time.monotonic() - self._ended_at < RECENT

    def ask(self, question: Question) -> None:
        """Await the answer to a question."""
        self.question = question

    def end(self, step: Step, error: MailError | None = None) -> None:
        """Note how it ended, ``done`` or ``failed``; the first end counts."""
        if self._ended_at is None:
            self._ended_at = time.monotonic()
            self.step, self.error, self.question = step, error, None

    def leave(self) -> None:
        """Note that the person has left it, or has read how it ended."""
        self._ended_at = time.monotonic()
        self.step, self.question = "left", None

    def go_on(self) -> None:
        """Note that the person has done their part."""
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
        """Be asked by no flow that is gone through here: `AnsweredFlow` takes what is pasted."""
        raise NotImplementedError

    async def show_message(self, text: str) -> None:
        """Be told what every step shows already."""
