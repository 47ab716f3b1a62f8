"""The provider's HTTP face: discovery, tokens, device codes, revocation and introspection, as an ASGI app.

A grant type is one function in `TokenService.grants`; `TokenService.refuse` renders every refusal.
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
from mailslot_plugins.sandbox.provider import Client, GrantError, Issued
from mailslot_plugins.sandbox.sign_in_pages import SignInPages
from mailslot_plugins.sandbox.sign_ins import SignIns

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot_plugins.sandbox.provider import Provider
    from mailslot_plugins.sandbox.web_faults import WebFault

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

Form = dict[str, str]
GrantType = Callable[[Client, Form], Issued]
Handler = Callable[[Client, Form], Awaitable[Response]]

_NO_STORE = {"Cache-Control": "no-store"}


class TokenService:
    """The endpoints of one provider.

    Attributes:
        grants: what the token endpoint does for each grant type (RFC 6749 section 4.5).
        sign_ins: what persons are doing.
        assertions: what applications have signed.
        faults: what goes wrong; of several that fit, the first counts.
        requests: what was asked for and how it was answered, such as ``"token refresh_token 200"``.
        app: the ASGI application.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.sign_ins = SignIns(provider)
        self.assertions = Assertions(provider)
        self.faults: list[WebFault] = []
        self.requests: list[str] = []
        self._asked: dict[tuple[str, str], int] = {}
        self.grants: dict[str, GrantType] = {
            "authorization_code": self._authorization_code,
            "client_credentials": self._client_credentials,
            "refresh_token": self._refresh_token,
            DEVICE_CODE: self._device_code,
        }
        posts: dict[str, Handler] = {
            "token": self._token,
            "revoke": self._revoke,
            "introspect": self._introspect,
            "device_authorization": self._device_authorization,
        }
        documents = ("openid-configuration", "oauth-authorization-server")
        self.app = Starlette(
            routes=[
                *(Route(f"/.well-known/{name}", self._metadata) for name in documents),
                *(Route(f"/{name}", self._endpoint(name, handle), methods=["POST"]) for name, handle in posts.items()),
                *SignInPages(provider, self.sign_ins).routes,
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

        return await self._amiss("metadata", "", answer)

    def _endpoint(self, name: str, handle: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Read the form, authenticate the client, answer a refusal, and note what happened."""

        async def endpoint(request: Request) -> Response:
            body = (await request.body()).decode("utf-8", "replace")
            form: Form = dict(parse_qsl(body, keep_blank_values=True))
            kind = form.get("grant_type", "")
            shown = kind if kind in {*self.grants, JWT_BEARER} else ""

            async def answer() -> Response:
                try:
                    if kind == JWT_BEARER:
                        return self._answer(self._jwt_bearer(form))
                    return await handle(self._client(request, form), form)
                except GrantError as error:
                    return self.refuse(error)

            response = await self._amiss(name, shown, answer)
            self.requests.append(" ".join(filter(None, (name, shown, str(response.status_code)))))
            return response

        return endpoint

    async def _amiss(self, at: str, grant: str, act: Callable[[], Awaitable[Response]]) -> Response:
        """Answer with the fault that is planned, and with the date by the provider's own clock."""
        nth = self._asked[at, grant] = self._asked.get((at, grant), 0) + 1
        fitting = (f for f in self.faults if f.at == at and f.grant in {"", grant} and f.nth in {0, nth})
        fault = next(fitting, None)
        if fault is None:
            response = await act()
        else:
            response = fault.applied(await act() if fault.act else Response(status_code=503))
            await anyio.sleep(fault.delay)
        response.headers["Date"] = formatdate(self._provider.now(), usegmt=True)
        return response

    def refuse(self, error: GrantError) -> Response:
        """Render a refusal (RFC 6749 section 5.2)."""
        headers = dict(_NO_STORE)
        if error.status == 401:
            headers["WWW-Authenticate"] = "Basic"
        body = {"error": error.error, "error_description": error.description}
        return JSONResponse(body, error.status, headers)

    def _client(self, request: Request, form: Form) -> Client:
        """Authenticate the client, by header or in the form (RFC 6749 section 2.3.1)."""
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
        return self._answer(grant(client, form))

    def _answer(self, issued: Issued) -> Response:
        """RFC 6749 section 5.1."""
        answer = {
            "access_token": issued.token.value.reveal(),
            "token_type": "Bearer",
            "expires_in": int(self._provider.lifetime),
            "scope": " ".join(sorted(issued.scopes)),
        }
        if issued.renewal is not None:
            answer["refresh_token"] = issued.renewal.reveal()
        if issued.id_token is not None:
            answer["id_token"] = issued.id_token.reveal()
        return JSONResponse(answer, headers=_NO_STORE)

    def _authorization_code(self, client: Client, form: Form) -> Issued:
        return self.sign_ins.redeem(
            client, form.get("code", ""), form.get("redirect_uri", ""), form.get("code_verifier", "")
        )

    def _device_code(self, client: Client, form: Form) -> Issued:
        return self.sign_ins.fetch(client, form.get("device_code", ""))

    def _jwt_bearer(self, form: Form) -> Issued:
        """RFC 7523 section 2.1: the assertion is all of the proof."""
        if not self._provider.available:
            raise GrantError("temporarily_unavailable", "Try again later.", 503)
        return self._provider.act_for(*self.assertions.delegated(form.get("assertion", "")))

    def _client_credentials(self, client: Client, form: Form) -> Issued:
        return self._provider.client_credentials(client, form.get("scope", ""))

    def _refresh_token(self, client: Client, form: Form) -> Issued:
        return self._provider.refresh(client, form.get("refresh_token", ""), form.get("scope", ""))

    async def _device_authorization(self, client: Client, form: Form) -> Response:
        """RFC 8628 section 3.2."""
        device = self.sign_ins.begin(client, form.get("scope", ""))
        address = f"{self._provider.issuer}/device"
        answer = {
            "device_code": device.code,
            "user_code": device.user_code,
            "verification_uri": address,
            "verification_uri_complete": f"{address}?user_code={device.user_code}",
            "expires_in": self.sign_ins.device_lifetime,
            "interval": self.sign_ins.interval,
        }
        return JSONResponse(answer, headers=_NO_STORE)

    async def _revoke(self, client: Client, form: Form) -> Response:
        """RFC 7009: a token that is unknown, or another client's, is no error."""
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
