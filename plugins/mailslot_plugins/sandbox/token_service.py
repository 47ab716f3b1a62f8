"""The provider's HTTP endpoints as an ASGI app: metadata, tokens, device codes, revocation and introspection.

A grant type is one function in `TokenService.grants`; `TokenService.error_response` renders every error.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote_plus

import anyio
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mailslot_plugins.sandbox.assertions import Assertions
from mailslot_plugins.sandbox.authorizations import PendingAuthorizations
from mailslot_plugins.sandbox.provider import Client, GrantError, IssuedToken
from mailslot_plugins.sandbox.sign_in_pages import SignInPages

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot_plugins.sandbox.provider import Provider
    from mailslot_plugins.sandbox.web_faults import WebFault

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

Form = dict[str, str]
GrantType = Callable[[Client, Form], IssuedToken]
Handler = Callable[[Client, Form], Awaitable[Response]]

_NO_STORE = {"Cache-Control": "no-store"}


class TokenService:
    """The endpoints of one provider.

    Attributes:
        grants: the functions of the token endpoint by grant type (RFC 6749 section 4.5).
        authorizations: the pending authorizations.
        assertions: the verified assertions.
        faults: the faults to inject; the first one that matches counts.
        requests: the requests and their statuses, for example ``"token refresh_token 200"``.
        app: the ASGI application.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.authorizations = PendingAuthorizations(provider)
        self.assertions = Assertions(provider)
        self.faults: list[WebFault] = []
        self.requests: list[str] = []
        self._request_counts: dict[tuple[str, str], int] = {}
        self.grants: dict[str, GrantType] = {
            "authorization_code": self._authorization_code,
            "client_credentials": self._client_credentials,
            "refresh_token": self._refresh_token,
            DEVICE_CODE: self._device_code,
        }
        post_handlers: dict[str, Handler] = {
            "token": self._token,
            "revoke": self._revoke,
            "introspect": self._introspect,
            "device_authorization": self._device_authorization,
        }
        documents = ("openid-configuration", "oauth-authorization-server")
        self.app = Starlette(
            routes=[
                *(Route(f"/.well-known/{name}", self._metadata) for name in documents),
                *(
                    Route(f"/{name}", self._endpoint(name, handle), methods=["POST"])
                    for name, handle in post_handlers.items()
                ),
                *SignInPages(provider, self.authorizations).routes,
            ]
        )

    async def _metadata(self, _request: Request) -> Response:
        """RFC 8414 section 2."""
        issuer = self._provider.issuer

        async def answer() -> Response:
            return JSONResponse(
                {
                    "issuer": issuer,
                    "authorization_endpoint": f"{issuer}/authorize",
                    "token_endpoint": f"{issuer}/token",
                    "device_authorization_endpoint": f"{issuer}/device_authorization",
                    "revocation_endpoint": f"{issuer}/revoke",
                    "introspection_endpoint": f"{issuer}/introspect",
                    "grant_types_supported": [*sorted(self.grants), JWT_BEARER],
                    "response_types_supported": ["code"],
                    "code_challenge_methods_supported": ["S256"],
                    "authorization_response_iss_parameter_supported": True,
                    "scopes_supported": sorted(self._provider.scopes),
                    "token_endpoint_auth_methods_supported": [
                        "client_secret_basic",
                        "client_secret_post",
                        "private_key_jwt",
                        "none",
                    ],
                }
            )

        return await self._with_faults("metadata", "", answer)

    def _endpoint(self, name: str, handle: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that parses the form, authenticates the client, and records the request."""

        async def endpoint(request: Request) -> Response:
            body = (await request.body()).decode("utf-8", "replace")
            form: Form = dict(parse_qsl(body, keep_blank_values=True))
            grant_type = form.get("grant_type", "")
            logged_grant = grant_type if grant_type in {*self.grants, JWT_BEARER} else ""

            async def answer() -> Response:
                try:
                    if grant_type == JWT_BEARER:
                        return self._token_response(self._jwt_bearer(form))
                    return await handle(self._client(request, form), form)
                except GrantError as error:
                    return self.error_response(error)

            response = await self._with_faults(name, logged_grant, answer)
            self.requests.append(" ".join(filter(None, (name, logged_grant, str(response.status_code)))))
            return response

        return endpoint

    async def _with_faults(self, at: str, grant: str, respond: Callable[[], Awaitable[Response]]) -> Response:
        """Respond with the planned fault, if any, and with the date of the provider's clock."""
        nth = self._request_counts[at, grant] = self._request_counts.get((at, grant), 0) + 1
        matching = (f for f in self.faults if f.at == at and f.grant in {"", grant} and f.nth in {0, nth})
        fault = next(matching, None)
        if fault is None:
            response = await respond()
        else:
            response = fault.apply(await respond() if fault.act else Response(status_code=503))
            await anyio.sleep(fault.delay)
        response.headers["Date"] = formatdate(self._provider.now(), usegmt=True)
        return response

    def error_response(self, error: GrantError) -> Response:
        """Render an error (RFC 6749 section 5.2)."""
        headers = dict(_NO_STORE)
        if error.status == 401:
            headers["WWW-Authenticate"] = "Basic"
        body = {"error": error.error, "error_description": error.description}
        return JSONResponse(body, error.status, headers)

    def _client(self, request: Request, form: Form) -> Client:
        """Authenticate the client, by header or form (RFC 6749 section 2.3.1)."""
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        if scheme.lower() == "basic":
            try:
                pair = base64.b64decode(credentials, validate=True).decode()
            except (binascii.Error, ValueError):
                pair = ""
            client_id, secret = map(unquote_plus, pair.partition(":")[::2])
        if form.get("client_assertion"):
            return self.assertions.authenticate(form["client_assertion"])
        client = self._provider.clients.get(client_id)
        if client is None or client.key is not None or (client.secret or "") != secret:
            raise GrantError("invalid_client", "The client is unknown or its secret is wrong.", 401)
        return client

    async def _token(self, client: Client, form: Form) -> Response:
        if not self._provider.available:
            raise GrantError("temporarily_unavailable", "Try again later.", 503)
        grant = self.grants.get(form.get("grant_type", ""))
        if grant is None:
            raise GrantError("unsupported_grant_type", "This grant type is not supported.")
        return self._token_response(grant(client, form))

    def _token_response(self, issued: IssuedToken) -> Response:
        """RFC 6749 section 5.1."""
        answer = {
            "access_token": issued.token.value.reveal(),
            "token_type": "Bearer",
            "expires_in": int(self._provider.lifetime),
            "scope": " ".join(sorted(issued.scopes)),
        }
        if issued.refresh_token is not None:
            answer["refresh_token"] = issued.refresh_token.reveal()
        if issued.id_token is not None:
            answer["id_token"] = issued.id_token.reveal()
        return JSONResponse(answer, headers=_NO_STORE)

    def _authorization_code(self, client: Client, form: Form) -> IssuedToken:
        return self.authorizations.redeem(
            client, form.get("code", ""), form.get("redirect_uri", ""), form.get("code_verifier", "")
        )

    def _device_code(self, client: Client, form: Form) -> IssuedToken:
        return self.authorizations.redeem_device_code(client, form.get("device_code", ""))

    def _jwt_bearer(self, form: Form) -> IssuedToken:
        """RFC 7523 section 2.1: no client authentication besides the assertion."""
        if not self._provider.available:
            raise GrantError("temporarily_unavailable", "Try again later.", 503)
        return self._provider.issue_delegated(*self.assertions.verify_delegation(form.get("assertion", "")))

    def _client_credentials(self, client: Client, form: Form) -> IssuedToken:
        return self._provider.client_credentials(client, form.get("scope", ""))

    def _refresh_token(self, client: Client, form: Form) -> IssuedToken:
        return self._provider.refresh(client, form.get("refresh_token", ""), form.get("scope", ""))

    async def _device_authorization(self, client: Client, form: Form) -> Response:
        """RFC 8628 section 3.2."""
        device = self.authorizations.authorize_device(client, form.get("scope", ""))
        address = f"{self._provider.issuer}/device"
        answer = {
            "device_code": device.code,
            "user_code": device.user_code,
            "verification_uri": address,
            "verification_uri_complete": f"{address}?user_code={device.user_code}",
            "expires_in": self.authorizations.device_lifetime,
            "interval": self.authorizations.interval,
        }
        return JSONResponse(answer, headers=_NO_STORE)

    async def _revoke(self, client: Client, form: Form) -> Response:
        """RFC 7009: an unknown token, or one of another client, is not an error."""
        self._provider.revoke(form.get("token", ""), client)
        return Response(headers=_NO_STORE)

    async def _introspect(self, _client: Client, form: Form) -> Response:
        """RFC 7662 section 2."""
        issued = self._provider.find(form.get("token", ""))
        if issued is None:
            return JSONResponse({"active": False}, headers=_NO_STORE)
        answer = {
            "active": True,
            "client_id": issued.grant.client.id,
            "sub": issued.grant.subject,
            "username": issued.grant.subject,
            "scope": " ".join(sorted(issued.scopes)),
            "exp": int(issued.expires_at),
            "token_type": "Bearer",
        }
        return JSONResponse(answer, headers=_NO_STORE)
