"""The pages of a fleet, which are a plugin, so that the library needs no web server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from mailslot.registry import PluginGroup

if TYPE_CHECKING:
    import socket
    import ssl

    from mailslot.fleet.homes import FleetHomes


class SignInPages(Protocol):
    """Serves the pages where owners of mailboxes sign in."""

    async def __call__(
        self, homes: FleetHomes, address: str, listener: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        """Serve until cancelled.

        Args:
            homes: the homes of the fleet.
            address: the https address of the pages.
            listener: a listening TCP socket.
            context: the TLS context; None if a proxy does TLS.
        """
        ...


PAGES: Final = PluginGroup[SignInPages]("mailslot.fleet_pages", noun="set of pages", check=callable)
"""The plugins that serve pages of a fleet, by name; ``sign-in`` is a `SignInPages`."""
