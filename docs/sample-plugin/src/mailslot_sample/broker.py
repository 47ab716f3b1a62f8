"""Tokens from a broker: a service, usually on this machine, that obtains tokens and serves them over HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio

from mailslot.plugin import AccessToken, TokenHttp, check_endpoint_url, parse_token_response

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MARGIN = 60.0
"""Seconds that a cached token must still be valid to be used."""


class BrokerToken:
    """Requests tokens from the broker, and caches the last one in memory.

    Args:
        address: the broker's address; it responds to GET like a token endpoint (RFC 6749 section 5.1).
        ca_file: certificate authorities that are trusted in addition to the system's.
        timeout: seconds for each step.
    """

    def __init__(self, address: str, ca_file: Path | None = None, timeout: float = 30.0) -> None:
        self._address = address
        self._ca_file = ca_file
        self._timeout = timeout
        self._lock = anyio.Lock()
        self._last: AccessToken | None = None

    async def token(self, *, force: bool = False) -> AccessToken:
        """Return a valid token.

        Args:
            force: the mail server refused the last token, so a new one is needed.

        Raises:
            TokenError: the broker has no token, or cannot be reached.
        """
        refused = self._last if force else None
        async with self._lock:  # only one task requests a token at a time
            last = self._last
            expires_at = last.expires_at if last is not None else None
            if last is None or last is refused or (expires_at is not None and expires_at - MARGIN <= time.time()):
                self._last = last = await self._request_token()
            return last

    async def forget(self) -> None:
        """Delete the cached token; the broker keeps its own."""
        self._last = None

    async def _request_token(self) -> AccessToken:
        sent_at = time.time()
        async with TokenHttp(ca_file=self._ca_file, timeout=self._timeout) as http:
            answer = await http.get(self._address)
        response = parse_token_response(answer, ())
        return AccessToken(response.access_token, None if response.lifetime is None else sent_at + response.lifetime)


def source(settings: Mapping[str, Any]) -> BrokerToken:
    """Return the source for ``token_source = "broker ADDRESS"``.

    Raises:
        InputError: the address cannot be used.
    """
    check_endpoint_url(settings["broker"], "broker's address")
    return BrokerToken(settings["broker"], settings.get("ca_file"), settings.get("timeout", 30.0))
