"""A person who signs in at the sandbox's provider automatically, so that the demo starts with tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from mailslot.plugin import InputError

if TYPE_CHECKING:
    from mailslot.oauth.flow import UserCode


class ConsentingPerson:
    """A `mailslot.oauth.flow.Person` who allows everything."""

    def __init__(self, user: str) -> None:
        self._user = user

    async def show_address(self, address: str) -> None:
        """Open an address, sign in there, and follow redirects."""
        async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as browser:
            await browser.post(address, data={"user": self._user, "decision": "allow"})

    async def show_code(self, code: UserCode) -> None:
        """Refuse: there is no second device."""
        raise InputError("The demo has no second device.", stage="token", detail=code.verification_uri)

    async def ask_pasted_address(self, address: str) -> str:
        """Refuse: nobody can paste an address."""
        raise InputError("The demo cannot paste an address.", stage="token", detail=address)

    async def show_message(self, text: str) -> None:
        """Ignore the message."""
