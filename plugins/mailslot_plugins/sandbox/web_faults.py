"""Faults of the token service, and error responses of real providers."""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

Members = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ScriptedResponse:
    """A complete HTTP response.

    Attributes:
        status: the HTTP status.
        body: JSON members, or octets.
        headers: the headers besides ``Content-Type``.
        source: where it was observed.
    """

    status: int
    body: Mapping[str, object] | bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    source: str = ""

    def response(self) -> Response:
        """Return it as a Starlette response."""
        if isinstance(self.body, bytes):
            return Response(self.body, self.status, dict(self.headers), "text/html")
        return Response(json.dumps(self.body), self.status, dict(self.headers), "application/json")


@dataclass(frozen=True, slots=True)
class WebFault:
    """A fault to inject into one kind of request.

    Attributes:
        at: the endpoint: ``metadata``, ``token``, ``revoke``, ``introspect`` or ``device_authorization``.
        grant: the grant type; empty for all.
        nth: the number of such a request, counted from 1; 0 for all.
        act: False to not handle the request, and to respond with 503 unless `answer` is given.
        delay: seconds to wait before the response is sent; ``math.inf`` for silence.
        answer: the response to send instead.
        alter: a function that changes the members of the real response.
        cut: whether the connection closes in the middle of the response.
    """

    at: str
    grant: str = ""
    nth: int = 0
    _: KW_ONLY
    act: bool = True
    delay: float = 0.0
    answer: ScriptedResponse | None = None
    alter: Callable[[Members], Members] | None = None
    cut: bool = False

    def apply(self, response: Response) -> Response:
        """Return the response to send instead of the real one."""
        if self.answer is not None:
            response = self.answer.response()
        elif self.alter is not None:
            response = ScriptedResponse(response.status_code, self.alter(json.loads(bytes(response.body)))).response()
        return _TruncatedResponse(response) if self.cut else response


class _TruncatedResponse(Response):
    """A response of which half the body is sent before the server closes the connection."""

    def __init__(self, whole: Response) -> None:
        super().__init__(whole.body, whole.status_code, media_type=whole.media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


def _entra(number: int, error: str, text: str, source: str, status: int = 400) -> ScriptedResponse:
    """An error of Entra's token endpoint (entra-docs v2-oauth2-auth-code-flow.md, "Error response example")."""
    times = {
        "timestamp": "2026-01-20 12:00:00Z",
        "trace_id": "255d1aef-8c98-452f-ac51-23d051240864",
        "correlation_id": "fb3d2015-bc17-4bb9-bb85-30c5cf1aaaa7",
    }
    description = f"AADSTS{number}: {text} Trace ID: {times['trace_id']} Timestamp: {times['timestamp']}"
    return ScriptedResponse(
        status,
        {"error": error, "error_description": description, "error_codes": [number], **times},
        source=source,
    )


_CODES: Final = "entra-docs reference-error-codes.md"

ENTRA: Final[Mapping[int, ScriptedResponse]] = {
    700082: _entra(
        700082,
        "invalid_grant",
        "The refresh token has expired due to inactivity. The token was issued on 2025-10-01T00:00:00.0000000Z and was "
        "inactive for 90.00:00:00.",
        "tarickb/sasl-xoauth2 issues 30 and 117",
    ),
    50173: _entra(50173, "invalid_grant", "The provided grant has expired due to it being revoked.", _CODES),
    50076: _entra(50076, "interaction_required", "You must use multi-factor authentication.", _CODES),
    53003: _entra(53003, "invalid_grant", "Access has been blocked by Conditional Access policies.", _CODES),
    65001: _entra(
        65001,
        "invalid_grant",
        "The user or administrator has not consented to use the application.",
        "getmail6 issue 203",
    ),
    7000215: _entra(
        7000215,
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not "
        "the client secret ID.",
        "getmail6 issue 124",
        401,
    ),
    7000222: _entra(
        7000222,
        "invalid_client",
        "The provided client secret keys are expired.",
        "Azure-Samples/ms-identity-python-webapp issue 67",
        401,
    ),
    7000218: _entra(
        7000218,
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        "mguessan/davmail issue 184",
        401,
    ),
    700025: _entra(
        700025,
        "invalid_client",
        "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
        "simonrob/email-oauth2-proxy issue 363",
        401,
    ),
    700016: _entra(700016, "unauthorized_client", "Application was not found in the directory.", _CODES),
    90033: _entra(90033, "temporarily_unavailable", "A transient error has occurred. Please try again.", _CODES, 503),
}
"""Entra's error responses, by AADSTS number."""

GOOGLE: Final[Mapping[str, ScriptedResponse]] = {
    "revoked": ScriptedResponse(
        400,
        {"error": "invalid_grant", "error_description": "Token has been expired or revoked."},
        source="tarickb/sasl-xoauth2 issue 29",
    ),
    "not delegated": ScriptedResponse(
        401,
        {
            "error": "unauthorized_client",
            "error_description": "Client is unauthorized to retrieve access tokens using this method, or client not "
            "authorized for any of the scopes requested.",
        },
        source="googleapis/google-api-php-client issue 1379",
    ),
    "no such client": ScriptedResponse(
        401,
        {"error": "invalid_client", "error_description": "The OAuth client was not found."},
        source="tarickb/sasl-xoauth2 issue 95",
    ),
    "device code for mail": ScriptedResponse(
        400,
        {"error": "invalid_scope", "error_description": "Invalid device flow scope: https://mail.google.com/"},
        source="googleapis/oauth2client issue 88",
    ),
}
"""Google's error responses."""

PORTAL: Final = ScriptedResponse(
    200,
    b"<!DOCTYPE html><html><title>Welcome</title><body>Please sign in to the network.</body></html>",
    source="any hotel",
)
"""The response of a captive portal to any request."""
