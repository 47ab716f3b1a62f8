"""How a grant is obtained and renewed: what a flow is, and how it speaks with the person who is there.

A flow is found by entry point in the group `mailslot.token_sources`, as a module-level object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp


@dataclass(frozen=True, slots=True)
class UserCode:
    """What a person needs to sign in on another device (RFC 8628 section 3.2). The device code itself is not here.

    Attributes:
        user_code: what is typed there; always shown (RFC 8628 section 3.3.1).
        verification_uri: the address to open there.
        verification_uri_complete: the address that holds the code already, for a QR code; None where the provider
            gave none.
        expires_at: when the code ends, on `anyio.current_time`'s clock, in seconds.
    """

    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_at: float


class AddressDisplay(Protocol):
    """Shows where to sign in."""

    async def show_address(self, address: str) -> None:
        """Show an address that is to be opened in a browser on this machine."""
        ...


class CodeDisplay(Protocol):
    """Shows what to enter on another device."""

    async def show_code(self, code: UserCode) -> None:
        """Show a code that is to be entered on another device, and return at once."""
        ...


class AddressPrompt(Protocol):
    """Asks for the address at which a sign-in elsewhere ended."""

    async def ask_pasted_address(self, address: str) -> str:
        """Show an address to be opened in a browser elsewhere, and return the one that failed to open there.

        Returns:
            what was pasted, as it was; it may be anything.
        """
        ...

    async def show_message(self, text: str) -> None:
        """Say why what was pasted is of no use, in one sentence."""
        ...


class Person(AddressDisplay, CodeDisplay, AddressPrompt, Protocol):
    """Whoever signs in, at a terminal or at the panel, by whichever flow. Leaving is cancellation, as everywhere.

    A flow names the abilities that it needs; one that needs nobody takes any object.
    """


@runtime_checkable
class Flow(Protocol):
    """A way to a grant.

    Attributes:
        name: ``"browser"``, ``"device"``, ``"paste"``, ``"app"``, ``"service_account"``, or one of one's own.
    """

    @property
    def name(self) -> str:
        """What it is called in settings, and in the grants that it obtained."""
        ...

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: Person) -> Grant:
        """Obtain a grant.

        Raises:
            TokenError: there is none, with its cause; nothing is kept.
        """
        ...

    async def refresh(self, client: OAuthClient, http: TokenHttp, grant: Grant) -> Grant:
        """Return the grant with a new access token, and whatever renewal token belongs to it now.

        Nothing is kept here: whoever calls this writes the result down before it is used.

        Raises:
            TokenServiceError: it could not be renewed; its `kind` says whether another try makes sense.
            TokenError: cause `token_not_renewable`: there is nothing to renew it with.
        """
        ...
