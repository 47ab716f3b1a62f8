"""Somebody who signs in at the sandbox's provider by themselves, so that the demo begins with tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from mailslot.errors import InputError

if TYPE_CHECKING:
    from mailslot.oauth.flow import UserCode


class ConsentingPerson:
    """A `mailslot.oauth.flow.Person` who allows everything.

    Args:
        user: as whom they sign in.
    """

    def __init__(self, user: str) -> None:
        self._user = user

    async def show_address(self, address: str) -> None:
        """Open an address, sign in there, and follow where it leads."""
        async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as browser:
            await browser.post(address, data={"user": self._user, "decision": "allow"})

    async def show_code(self, code: UserCode) -> None:
        """Refuse: nobody is there with another device."""
        raise InputError("This visitor has no other device.", stage="token", detail=code.verification_uri)

    async def ask_pasted_address(self, address: str) -> str:
        """Refuse: nobody is there to paste anything."""
        raise InputError("This visitor has no keyboard.", stage="token", detail=address)

    async def show_message(self, text: str) -> None:
        """Take note of nothing."""
