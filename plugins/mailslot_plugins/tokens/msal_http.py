"""HTTP clients for MSAL, which call our asynchronous HTTP client from its thread, so that cancellation works.

MSAL accepts any client with ``get`` and ``post`` and responses like those of requests (``oauth2cli/http.py``).
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import anyio
import anyio.from_thread
import httpx2

from mailslot.oauth import response_body, transport_errors
from mailslot.oauth.http import read_body
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.token_errors import TokenServiceError
from mailslot.plugin import Secret, TokenHttp
from mailslot.wire.redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SECRET_FIELDS: Final = frozenset({"client_secret", "client_assertion"})
_SECRET_HEADERS: Final = frozenset({"x-identity-header", "secret", "authorization"})


@dataclass(frozen=True, slots=True)
class MsalResponse:
    """A response as MSAL reads it."""

    status_code: int
    text: str = field(repr=False)
    headers: Mapping[str, str]


class MsalHttp(Protocol):
    """The interface of both clients.

    Attributes:
        last_response: the last response; None before the first.
    """

    last_response: TokenServiceResponse | None

    def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> MsalResponse:
        """Return the response to a GET request."""
        ...

    def redact(self, text: str) -> str:
        """Return a text in which sent secrets and received tokens are masked."""
        ...


class EntraHttp:
    """The client for Entra's token service, with the limits of `TokenHttp`."""

    def __init__(self, ca_file: Path | None, timeout: float) -> None:
        self._http = TokenHttp(ca_file=ca_file, timeout=timeout)
        self.last_response: TokenServiceResponse | None = None

    def get(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002 - MSAL's own User-Agent is not sent
    ) -> MsalResponse:
        """Return the response to a GET request, without parameters.

        Raises:
            MailError: as `TokenHttp.get` does.
        """
        assert not params  # noqa: S101 - only instance discovery has parameters, and it is switched off
        return self._msal_response(anyio.from_thread.run(self._http.get, url))

    def post(self, url: str, data: Mapping[str, str | bytes | int], **_how: object) -> MsalResponse:
        """Return the response to a posted form.

        Raises:
            MailError: as `TokenHttp.post` does.
        """
        texts = {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in data.items()}
        form = {name: Secret(text) if name in _SECRET_FIELDS else text for name, text in texts.items()}
        return self._msal_response(anyio.from_thread.run(self._http.post, url, form))

    def redact(self, text: str) -> str:
        """Return the text unchanged: `TokenHttp` has masked it."""
        return text

    def _msal_response(self, response: TokenServiceResponse) -> MsalResponse:
        self.last_response = response
        wait = {} if response.retry_after is None else {"Retry-After": str(round(response.retry_after))}
        return MsalResponse(response.status, "" if response.json is None else json.dumps(response.json), wait)


class ManagedIdentityHttp:
    """The client for the managed identity endpoint of a machine: plain http, reachable only from the machine.

    No proxy is used, and no redirect is followed.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._redactor = Redactor()
        self.last_response: TokenServiceResponse | None = None

    def get(
        self, url: str, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> MsalResponse:
        """Return the response to a GET request.

        Raises:
            TokenServiceError: there was no response, or it was too large.
        """
        for name, value in (headers or {}).items():
            if name.lower() in _SECRET_HEADERS:
                self._redactor.add(Secret(value))
        return anyio.from_thread.run(self._get, httpx2.URL(url, params=params), headers)

    def redact(self, text: str) -> str:
        """Return a text in which sent secrets and received tokens are masked."""
        return self._redactor.mask(text)

    async def _get(self, url: httpx2.URL, headers: Mapping[str, str] | None) -> MsalResponse:
        host = url.netloc.decode()
        empty_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without authorities, since it is not needed for http
        body = bytearray()
        try:
            with anyio.fail_after(self._timeout):
                async with (
                    httpx2.AsyncClient(trust_env=False, timeout=self._timeout, verify=empty_context) as http,
                    http.stream("GET", url, headers=headers) as response,
                ):
                    await read_body(response, host, body)
        except (httpx2.HTTPError, OSError) as error:
            unreachable = transport_errors.transport_error(error, host)
            raise TokenServiceError(
                f"No managed identity is offered on this machine. {unreachable}",
                cause=unreachable.cause,
                remedy=unreachable.remedy,
                detail=unreachable.detail,
            ) from None
        response_body.reject_foreign_page(response.status_code, response.headers, bytes(body), host)
        members = response_body.parse_json_object(bytes(body))
        token = (members or {}).get("access_token")
        if isinstance(token, str):
            self._redactor.add(Secret(token))
        self.last_response = TokenServiceResponse(response.status_code, members, host=host)
        return MsalResponse(response.status_code, body.decode("utf-8", "replace"), dict(response.headers))
