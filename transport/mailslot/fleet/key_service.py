"""Requests to a key service: JSON over HTTP, with limits on time and memory for every response.

Addresses are https, or http on a loopback address, for which no proxy is used. Redirects are not followed, since the
token would be sent to another server.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from mailslot.errors import InputError, MailError
from mailslot.oauth.endpoint_url import host_of, is_loopback
from mailslot.vault import durable
from mailslot.wire.redact import Redactor
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import httpx2

TIMEOUT: Final = 10.0
"""Seconds for each step of a request; the whole takes at most twice as long once the response has begun."""

_KEPT_OPEN: Final = 2.0
"""Seconds for which a connection is kept open for the next request."""

_MAX_BODY: Final = 64 * 1024
_MAX_TOKEN_FILE: Final = 16 * 1024


class KeyServiceError(MailError):
    """A key service does not respond, or refuses. Nothing was changed.

    Attributes:
        is_away: whether it is unavailable, so that earlier responses are still valid.
    """

    def __init__(self, message: str, *, is_away: bool, detail: str = "") -> None:
        super().__init__(message, stage="token", cause="token_store_unreachable", retryable=True, detail=detail)
        self.is_away = is_away


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of a key service.

    Attributes:
        status: the HTTP status.
        members: the JSON object; empty if there is none.
        errors: its error messages, without secrets of the request.
    """

    status: int
    members: Mapping[str, Any]
    errors: str


class KeyServiceClient:
    """Sends requests with a token. It is thread-safe.

    Args:
        token_file: the file with the token, read for each request, since an agent may replace it.
        ca_file: a file of further trusted certificate authorities, in PEM.
        timeout: seconds for each step.
    """

    def __init__(self, token_file: Path, ca_file: Path | None = None, *, timeout: float = TIMEOUT) -> None:
        self.token_file: Final = token_file
        self._ca_file = ca_file
        self._timeout = timeout
        self._mutex = threading.Lock()
        self._http: httpx2.Client | None = None

    def send(self, method: Literal["GET", "POST"], url: str, body: Mapping[str, str] | None = None) -> Answer:
        """Send a request, and return the response with any status.

        Args:
            method: the method.
            url: the address.
            body: the members of the JSON object to send; its values are secret.

        Raises:
            KeyServiceError: there was no response, or the token or the authorities cannot be read.
        """
        import httpx2  # noqa: PLC0415 - a fleet without a key service does without it

        from mailslot.oauth import transport_errors  # noqa: PLC0415

        token, host = self._read_token(), host_of(url)
        redactor = Redactor()
        for secret in (token, *map(Secret, (body or {}).values())):
            redactor.add(secret)
        octets = bytearray()
        try:
            headers = {"X-Vault-Token": token.reveal(), "Accept": "application/json", "Accept-Encoding": "identity"}
            with self._client(url).stream(method, url, json=body, headers=headers) as response:
                self._read_body(response, octets)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            transport_errors.mask(error, redactor)
            _, sentence, detail = transport_errors.explain(error, f"key service {host}")
            raise KeyServiceError(sentence, is_away=True, detail=detail) from error
        return _parse(response.status_code, bytes(octets), redactor)

    def _client(self, url: str) -> httpx2.Client:
        import httpx2  # noqa: PLC0415 - as above

        from mailslot.oauth.http import make_ssl_context  # noqa: PLC0415

        with self._mutex:
            if self._http is None:
                try:
                    self._http = httpx2.Client(
                        verify=make_ssl_context(self._ca_file),
                        timeout=self._timeout,
                        follow_redirects=False,
                        trust_env=not is_loopback(url),
                        # The server may have closed a connection that was idle for long.
                        limits=httpx2.Limits(max_connections=16, keepalive_expiry=_KEPT_OPEN),
                        headers={"User-Agent": "mailslot"},
                    )
                except InputError as error:
                    raise KeyServiceError(str(error), is_away=False, detail=error.detail) from error
                except (ValueError, ImportError, httpx2.InvalidURL) as error:
                    sentence = "A proxy named in the environment cannot be used."
                    raise KeyServiceError(sentence, is_away=False, detail=str(error)) from None
            return self._http

    def _read_body(self, response: httpx2.Response, octets: bytearray) -> None:
        end = time.monotonic() + self._timeout
        for piece in response.iter_raw():
            octets += piece
            if len(octets) > _MAX_BODY or time.monotonic() > end:
                raise OSError("its answer does not end")

    def _read_token(self) -> Secret:
        try:
            octets = durable.read(self.token_file, _MAX_TOKEN_FILE)
            token = "" if octets is None else octets.decode("ascii").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise self._token_error(f"cannot be read: {reason}") from error
        if not token.isprintable() or not token:
            raise self._token_error("is missing or empty")
        return Secret(token)

    def _token_error(self, reason: str) -> KeyServiceError:
        # An agent may be replacing it at this moment.
        return KeyServiceError(f"The token for the key service, {self.token_file}, {reason}.", is_away=True)


def _parse(status: int, octets: bytes, redactor: Redactor) -> Answer:
    from mailslot.oauth.response_body import parse_json_object  # noqa: PLC0415 - as above
    from mailslot.oauth.token_errors import shorten  # noqa: PLC0415

    members = parse_json_object(octets) or {}
    errors = members.get("errors")
    texts = cast("list[object]", errors) if isinstance(errors, list) else []
    return Answer(status, members, shorten(redactor.mask(" ".join(map(str, texts)))))
