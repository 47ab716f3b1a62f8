"""The HTTP client for token services, with limits on time and memory for every response.

Addresses are https, or http on a loopback address, for which no proxy is used. Redirects are not followed, cookies are
not stored, bodies are read up to 64 KiB, and only JSON is accepted.
"""

from __future__ import annotations

import ssl
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote_plus

import anyio
import httpx2

from mailslot.errors import InputError
from mailslot.net.tls import context_trusting
from mailslot.oauth import response_body, transport_errors
from mailslot.oauth.endpoint_url import check_endpoint_url, host_of, is_loopback
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.timing import Clocks
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import NOTABLE_SKEW, TokenServiceError
from mailslot.wire.redact import Redactor
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path
    from types import TracebackType

    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.request import TokenRequest

MAX_BODY: Final = 64 * 1024
"""The maximum octets of a response's body; more are an error."""

MAX_RETRY_AFTER: Final = 86_400.0
"""Seconds; a longer ``Retry-After`` is reduced to this."""

_LEAST_STEP: Final = 5.0
"""Seconds by which a clock is set at least; less is the difference between two clocks."""

_TOKENS: Final = ("access_token", "refresh_token", "id_token")


class TokenHttp:
    """An HTTP client for token services; use it with ``async with``.

    Args:
        ca_file: a file of certificate authorities in PEM to trust besides the system's.
        timeout: seconds for each step: connecting, sending, each wait for octets. A whole exchange takes at most twice
            as long.
        trust_env: whether to use the proxies in the environment (``HTTPS_PROXY``, ``NO_PROXY``).
        clocks: the device's clocks.

    Raises:
        InputError: `ca_file` cannot be read.
    """

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        timeout: float = 30.0,
        trust_env: bool = True,
        clocks: Clocks | None = None,
    ) -> None:
        self._clocks = clocks or Clocks()
        self.skew = 0.0
        self._timeout = timeout
        self._context = make_ssl_context(ca_file)
        self._via_proxy = _http_client(self._context, timeout, trust_env=trust_env)
        self._direct: httpx2.AsyncClient | None = None

    @property
    def skew(self) -> float:
        """Seconds that the clock of the last service is ahead of ours; 0.0 if unknown.

        If our clock was set since then, the skew has changed with it.
        """
        if self._skew == 0:
            return 0.0
        set_by = self._clock_offset() - self._offset
        return self._skew - set_by if abs(set_by) > _LEAST_STEP else self._skew

    @skew.setter
    def skew(self, seconds: float) -> None:
        self._skew, self._offset = seconds, self._clock_offset()

    def _clock_offset(self) -> float:
        """Return a number that changes only if the clock is set."""
        return self._clocks.wall() - self._clocks.monotonic()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.move_on_after(1, shield=True):
            await self._via_proxy.aclose()
            if self._direct is not None:
                await self._direct.aclose()

    async def post(
        self, url: str, form: Mapping[str, str | Secret], *, client: OAuthClient | None = None
    ) -> TokenServiceResponse:
        """Post a form.

        Args:
            url: the endpoint.
            form: the form; empty members are left out.
            client: the OAuth client, whose authentication is added (`mailslot.oauth.request.prepare_request`).

        Returns:
            the response, successful or not.

        Raises:
            InputError: the URL, or the client's certificate, cannot be used.
            TokenServiceError: there was no response, it was a redirect or a web page, or it was too long.
        """
        check_endpoint_url(url, "token service's address")
        # authlib is loaded for the first request, since a service without tokens does not need it.
        from mailslot.oauth.request import prepare_request  # noqa: PLC0415 - see above

        assumed = self.skew
        response = await self._exchange(url, prepare_request(url, form, client, now=self._clocks.wall() + assumed))
        refused = response.json is not None and response.json.get("error") == "invalid_client"
        if refused and client is not None and client.signs_assertions and abs(self.skew - assumed) > NOTABLE_SKEW:
            # The assertion's times were wrong because our clock is; the Date of the refusal shows by how much.
            response = await self._exchange(
                url, prepare_request(url, form, client, now=self._clocks.wall() + self.skew)
            )
        return response

    async def get(self, url: str) -> TokenServiceResponse:
        """Get a JSON document, under the rules of `post`."""
        check_endpoint_url(url, "token service's address")
        return await self._exchange(url, None)

    async def _exchange(self, url: str, request: TokenRequest | None) -> TokenServiceResponse:
        """Send a POST request, or a GET request if `request` is None."""
        method, content = ("GET", None) if request is None else ("POST", request.body)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **(request.headers if request else {})}
        host = host_of(url)
        http = self._client_for(url)
        redactor = Redactor()
        for secret in request.secrets if request else ():
            redactor.add(secret)
            redactor.add(Secret(quote_plus(secret.reveal())))  # as the form has it
        body, status = bytearray(), 0
        try:
            with anyio.fail_after(2 * self._timeout):
                async with http.stream(method, url, content=content, headers=headers) as response:
                    received_at, status = self._clocks.wall(), response.status_code
                    await read_body(response, host, body)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError, TokenServiceError) as error:
            transport_errors.mask(error, redactor)
            failure = error if isinstance(error, TokenServiceError) else transport_errors.transport_error(error, host)
            if 200 <= status < 300:
                failure.refresh_token = response_body.find_refresh_token(bytes(body))
            raise failure from (None if failure is error else error)
        return self._parse_response(response, bytes(body), received_at, host, redactor)

    def _client_for(self, url: str) -> httpx2.AsyncClient:
        if not is_loopback(url):
            return self._via_proxy
        if self._direct is None:
            # Few devices need it, and making it takes a while.
            self._direct = _http_client(self._context, self._timeout, trust_env=False)
        return self._direct

    def _parse_response(
        self, response: httpx2.Response, body: bytes, received_at: float, host: str, redactor: Redactor
    ) -> TokenServiceResponse:
        status, headers = response.status_code, response.headers
        date = _http_date(headers.get("date"))
        if date is not None:
            self.skew = date - received_at
        # A portal may put what was sent to it into an address.
        shown = {name: redactor.mask(headers.get(name, "")) for name in ("location", "content-type")}
        response_body.reject_foreign_page(status, shown, body, host)
        found = (
            None if headers.get("content-encoding", "identity") != "identity" else response_body.parse_json_object(body)
        )
        ok = 200 <= status < 300
        if found is not None and (found.get("error") or not ok):
            found = _mask_refusal(found, redactor, kept=_TOKENS if ok else ())
        return TokenServiceResponse(
            status,
            found,
            _retry_after(headers.get("retry-after"), received_at if date is None else date),
            None if date is None else date - received_at,
            host,
            response_body.find_refresh_token(body) if found is None and ok else None,
        )


def _mask_refusal(members: Mapping[str, object], redactor: Redactor, kept: Collection[str]) -> dict[str, object]:
    """Mask secrets of the request, and tokens beside them, that a refusal repeats, except in the members in `kept`."""
    for token in map(members.get, _TOKENS):
        if isinstance(token, str):
            redactor.add(Secret(token))
    return {
        name: redactor.mask(value) if isinstance(value, str) and name not in kept else value
        for name, value in members.items()
    }


def make_ssl_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the system's certificate authorities, and those in a file, TLS 1.2 or newer.

    Without a file, it is the same one each time.

    Raises:
        InputError: the file cannot be used.
    """
    return _default_context() if ca_file is None else context_trusting(ca_file, stage="token")


@lru_cache(maxsize=1)
def _default_context() -> ssl.SSLContext:
    # Not the one for mail servers: the client offers the protocols of the web in it.
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _http_client(context: ssl.SSLContext, timeout: float, *, trust_env: bool) -> httpx2.AsyncClient:
    try:
        return httpx2.AsyncClient(
            verify=context,
            timeout=timeout,
            follow_redirects=False,
            trust_env=trust_env,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            # Requests are minutes apart, and most connections would be closed before the next one.
            limits=httpx2.Limits(max_connections=8, max_keepalive_connections=0),
            headers={"User-Agent": "mailslot"},
        )
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        raise InputError("A proxy named in the environment cannot be used.", stage="token", detail=str(error)) from None


async def read_body(response: httpx2.Response, host: str, body: bytearray) -> None:
    """Append the response's body to `body` as it arrives.

    Raises:
        TokenServiceError: it has more than `MAX_BODY` octets.
    """
    with anyio.CancelScope() as scope:
        async for octets in response.aiter_raw():
            body += octets
            if len(body) > MAX_BODY:
                # A `break` would leave generators of httpx unfinished, which trio reports as errors.
                scope.cancel()
    if len(body) > MAX_BODY:
        raise TokenServiceError(
            f"The token service {host} answered with more than 64 KiB, which no token service does.",
            cause="token_service_unreachable",
            remedy=Remedy.WAIT,
            status=response.status_code,
            response_lost=True,
        )


def _http_date(value: str | None) -> float | None:
    """Return the seconds since the epoch of an HTTP date (RFC 9110 section 5.6.7)."""
    try:
        return None if value is None else parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds in ``Retry-After``: a number or a date (RFC 9110 section 10.2.3)."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        seconds = float(value[:12])
    else:
        date = _http_date(value)
        if date is None:
            return None
        seconds = date - now
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
