"""The device flow: a person enters a code in another browser, and we poll for the token (RFC 8628)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import DEVICE_CODE_GRANT, TokenServiceError, classify_error, shorten
from mailslot.oauth.token_response import parse_number
from mailslot.plugin import InputError, RefreshTokenFlow, Secret, UserCode, check_endpoint_url, new_grant, request_token
from mailslot_plugins.tokens.authorization import sign_in_incomplete_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import TypeGuard

    from mailslot.plugin import CodeDisplay, Grant, OAuthClient, TokenHttp, TokenResponse


_DEFAULT_LIFETIME: Final = 600.0  # seconds, if the service does not send expires_in
_MAX_LIFETIME: Final = 3600.0  # seconds that a code is accepted as valid; services send 10 to 30 minutes
_MIN_INTERVAL: Final = 0.05  # seconds between two polls, even if the service sends less
_SLOW_DOWN: Final = 5.0  # seconds added by each slow_down (RFC 8628 section 3.5)
_MAX_INTERVAL: Final = 60.0  # seconds between two polls of a service that does not respond
_TEMPORARY: Final = frozenset({"token_service_unreachable", "not_a_token_service", "token_service_busy"})


@dataclass(frozen=True)
class DeviceFlow(RefreshTokenFlow):
    """The flow ``device``.

    Attributes:
        interval: seconds between two polls if the service does not send it (RFC 8628 section 3.2: 5).
        sleep: sleeps for a number of seconds.
    """

    interval: float = 5.0
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    name: str = "device"

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: CodeDisplay) -> Grant:
        """Show a code, and poll the token service until a person has entered it.

        Raises:
            InputError: the provider does not allow this flow.
            TokenError: there is no token; with its cause.
        """
        client.provider.check_flow(self.name)
        device_code, prompt, interval = await self._request_codes(client, http)
        await person.show_code(prompt)
        response = await self._poll(client, http, device_code, interval, prompt.expires_at)
        return new_grant(self.name, client, http, response)

    async def _request_codes(self, client: OAuthClient, http: TokenHttp) -> tuple[Secret, UserCode, float]:
        """Request the device code and the user code (RFC 8628 section 3.1)."""
        endpoint = client.provider.endpoints.device_authorization
        if endpoint is None:
            raise InputError(
                f"{client.provider.name} has no endpoint for device codes; use another flow.",
                stage="token",
                cause="not_configured",
            )
        requested_at = anyio.current_time()
        response = await http.post(endpoint, {"scope": " ".join(client.scopes)}, client=client)
        members = response.json or {}
        if not response.ok or members.get("error"):
            raise classify_error(response, DEVICE_CODE_GRANT)
        device_code, user_code = members.get("device_code"), shorten(members.get("user_code"), 60)
        # Google sends verification_url.
        address = _url(members, "verification_uri") or _url(members, "verification_url")
        if not _is_code(device_code) or not user_code or address is None:
            raise TokenServiceError(
                f"The token service {response.host} answered without a code, or without an address to enter it at.",
                cause="unknown",
                remedy=Remedy.UNKNOWN,
                status=response.status,
                detail=f"the answer holds {shorten(', '.join(members)) or 'nothing'}",
            )
        prompt = UserCode(
            user_code,
            address,
            _url(members, "verification_uri_complete"),
            requested_at + min(_seconds(members.get("expires_in")) or _DEFAULT_LIFETIME, _MAX_LIFETIME),
        )
        interval = _seconds(members.get("interval")) or self.interval
        return Secret(device_code), prompt, max(interval, _MIN_INTERVAL)

    async def _poll(
        self, client: OAuthClient, http: TokenHttp, device_code: Secret, interval: float, expires_at: float
    ) -> TokenResponse:
        """Poll until the sign-in is finished or the code has expired (RFC 8628 sections 3.4 and 3.5)."""
        form: dict[str, str | Secret] = {"grant_type": DEVICE_CODE_GRANT, "device_code": device_code}
        while True:
            left = expires_at - anyio.current_time()
            is_last = left <= interval
            await self.sleep(max(min(interval, left), 0))
            try:
                return await request_token(client, http, form)
            except TokenServiceError as error:
                if error.error == "slow_down":
                    interval += _SLOW_DOWN
                elif error.error != "authorization_pending":
                    if error.cause not in _TEMPORARY:
                        raise
                    interval = max(interval, min(2 * interval, _MAX_INTERVAL), error.retry_after or 0)
                if is_last:
                    raise sign_in_incomplete_error(
                        "The code has expired before the sign-in was finished.", error.detail
                    ) from error


def _is_code(value: object) -> TypeGuard[str]:
    """Whether a value can be a device code, which is sent in a form."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and value != ""


def _url(members: Mapping[str, object], name: str) -> str | None:
    """Return a URL for a person to open; None if it is missing or not acceptable."""
    value = members.get(name)
    if not isinstance(value, str):
        return None
    try:
        check_endpoint_url(value, name)
    except InputError:
        return None
    return value


def _seconds(value: object) -> float | None:
    """Return a number of seconds above 0; None for anything else."""
    seconds = parse_number(value)
    return seconds if seconds is not None and seconds > 0 else None


flow = DeviceFlow()
