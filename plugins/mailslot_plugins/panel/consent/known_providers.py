"""The endpoints of providers, as they were a moment ago: whoever has a link can ask for them any number of times."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mailslot.oauth.discovery import complete_provider

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.oauth.http import TokenHttp
    from mailslot.oauth.providers import Provider

LIFETIME: Final = 300.0
"""Seconds after which a provider is asked again."""

MAX_KNOWN: Final = 200
"""Providers whose endpoints are kept."""


class KnownProviders:
    """What is known of providers.

    Args:
        monotonic: seconds of a monotonic clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known: dict[tuple[str, Path | None], tuple[float, Provider]] = {}

    async def complete(self, provider: Provider, ca_file: Path | None, http: TokenHttp) -> Provider:
        """Return a provider with its endpoints; see `mailslot.oauth.discovery.complete_provider`.

        Args:
            provider: the provider.
            ca_file: the authorities that `http` trusts besides the system's.
            http: the HTTP client.

        Raises:
            MailError: the provider does not answer, or its metadata cannot be used.
        """
        issuer = provider.endpoints.issuer
        if not provider.needs_discovery or issuer is None:
            return provider
        known = self._known.get((issuer, ca_file))
        if known is None or self._monotonic() - known[0] >= LIFETIME:
            known = self._monotonic(), await complete_provider(provider, http)
            self._known.pop((issuer, ca_file), None)
            self._known[issuer, ca_file] = known
            while len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]
        # All else, such as the scopes, is that of the settings.
        found = known[1]
        quirks = replace(provider.quirks, client_authentication=found.quirks.client_authentication)
        return replace(provider, endpoints=found.endpoints, quirks=quirks)
