"""Flows: how a grant is obtained and refreshed, and what a flow may show to the person who signs in.

A flow is found by entry point in the group `mailslot.token_sources`, as a module-level object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp

P = TypeVar("P", contravariant=True)  # noqa: PLC0105 - the name is used in every signature here


@dataclass(frozen=True, slots=True)
class UserCode:
    """What a person needs to sign in on another device (RFC 8628 section 3.2). The device code is not part of it.

    Attributes:
        user_code: the code to type there; always shown (RFC 8628 section 3.3.1).
        verification_uri: the address to open there.
        verification_uri_complete: the address that already contains the code, for a QR code; None if the provider gave
            none.
        expires_at: when the code expires, on `anyio.current_time`'s clock, in seconds.
    """

    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_at: float


class AddressDisplay(Protocol):
    """Shows where to sign in."""

    async def show_address(self, address: str) -> None:
        """Show an address to open in a browser on this machine."""
        ...


class CodeDisplay(Protocol):
    """Shows a code to enter on another device."""

    async def show_code(self, code: UserCode) -> None:
        """Show a code, and return at once."""
        ...


class AddressPrompt(Protocol):
    """Asks for the address at which a sign-in in another browser ended."""

    async def ask_pasted_address(self, address: str) -> str:
        """Show an address to open in a browser elsewhere, and return the one that failed to open there.

        Returns:
            the text that was pasted, unchanged; it may be anything.
        """
        ...

    async def show_message(self, text: str) -> None:
        """Show in one sentence why the pasted text cannot be used."""
        ...


class Person(AddressDisplay, CodeDisplay, AddressPrompt, Protocol):
    """The person who signs in, as a terminal or the panel presents them: all abilities, so that any flow can be used.

    To abort a sign-in, cancel the task.
    """


@runtime_checkable
class Flow(Protocol[P]):
    """A way to obtain a grant; `P` is the ability that it needs, such as `CodeDisplay`, or ``object`` for none.

    Attributes:
        name: ``"browser"``, ``"device"``, ``"paste"``, ``"app"``, ``"service_account"``, or a plugin's own name.
    """

    @property
    def name(self) -> str:
        """Its name in settings, and in the grants that it obtained."""
        ...

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: P) -> Grant:
        """Obtain a grant.

        Raises:
            TokenError: no grant was obtained; with its cause. Nothing is kept.
        """
        ...

    async def refresh(self, client: OAuthClient, http: TokenHttp, grant: Grant) -> Grant:
        """Return the grant with a new access token, and with the refresh token that belongs to it now.

        The flow stores nothing: the caller saves the grant before it uses the access token.

        Raises:
            TokenServiceError: the refresh failed; its `remedy` says whether another attempt makes sense.
            TokenError: cause `token_not_renewable`: the grant has no refresh token.
        """
        ...
