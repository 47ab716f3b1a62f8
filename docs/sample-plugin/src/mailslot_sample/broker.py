"""Tokens from a broker: a service, mostly on this machine, that signs in by itself and hands tokens out over HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio

from mailslot.plugin import AccessToken, TokenHttp, check_endpoint_url, parse_token_response

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MARGIN = 60.0
"""Seconds that a token must still live to be given again."""


class BrokerToken:
    """Asks the broker when it has to, and keeps the token in memory meanwhile.

    Args:
        address: the broker's; it answers a GET as a token endpoint does (RFC 6749 section 5.1).
        ca_file: certificate authorities that are trusted besides the system's.
        timeout: seconds for each step.
    """

    def __init__(self, address: str, ca_file: Path | None = None, timeout: float = 30.0) -> None:
        self._address = address
        self._ca_file = ca_file
        self._timeout = timeout
        self._lock = anyio.Lock()
        self._last: AccessToken | None = None

    async def token(self, *, force: bool = False) -> AccessToken:
        """Give a token that is valid now.

        Args:
            force: the mail server refused the last one, so that another is wanted.

        Raises:
            TokenError: the broker gives none, or was not reached.
        """
        refused = self._last if force else None
        async with self._lock:  # of several tasks at once, one asks
            last = self._last
            ends = last.expires_at if last is not None else None
            if last is None or last is refused or (ends is not None and ends - MARGIN <= time.time()):
                self._last = last = await self._ask()
            return last

    async def forget(self) -> None:
        """Drop the token; what the broker keeps is its own."""
        self._last = None

    async def _ask(self) -> AccessToken:
        asked = time.time()
        async with TokenHttp(ca_file=self._ca_file, timeout=self._timeout) as http:
            answer = await http.get(self._address)
        response = parse_token_response(answer, ())
        return AccessToken(response.access_token, None if response.lifetime is None else asked + response.lifetime)


def source(settings: Mapping[str, Any]) -> BrokerToken:
    """Return the source for ``token_source = "broker ADDRESS"``.

    Raises:
        InputError: the address cannot be used.
    """
    check_endpoint_url(settings["broker"], "broker's address")
    return BrokerToken(settings["broker"], settings.get("ca_file"), settings.get("timeout", 30.0))
