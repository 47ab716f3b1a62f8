"""What MSAL asks for tokens: a simulated Azure machine, and the sandbox as Entra, with TLS."""

from __future__ import annotations

import json
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
from hypercorn.config import Sockets
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from mailslot_plugins.sandbox.http_server import SocketConfig, serve_http
from mailslot_plugins.sandbox.provider import IssuedToken, Provider
from mailslot_plugins.sandbox.token_service import TokenService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import trustme
    from starlette.requests import Request
    from starlette.types import ASGIApp

RESOURCE = "https://outlook.office365.com"
IDENTITY_HEADER = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"  # Microsoft's own example has it so
ARC_KEY = "arc-challenge-key-0123456789"


@dataclass
class AzureMachine:
    """What Azure offers on a machine, in the words of Microsoft's documents.

    The virtual machine: "How to use managed identities for Azure resources on an Azure VM to acquire an access token".
    App Service: "How to use managed identities for App Service and Azure Functions", its REST endpoint reference.
    Arc: "Authenticate against Azure resources with Azure Arc-enabled servers".

    Attributes:
        identities: the client ids of the user-assigned identities.
        answers: what is answered instead, in order: a status with JSON or a text.
        silent: whether it never answers.
        asked: the query of each request.
        tokens: what was given.
        lifetime: seconds that a token lives.
        keys: where Arc's agent puts its key.
        address: where it answers.
        ends: set once it is to end.
    """

    identities: tuple[str, ...] = ("5E29463D-71DA-4FE0-8E69-999B57DB23B0",)
    answers: list[tuple[int, object]] = field(default_factory=list)
    silent: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    lifetime: int = 3599
    keys: Path | None = None
    address: str = ""
    ends: anyio.Event = field(default_factory=anyio.Event)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/metadata/identity/oauth2/token", self._virtual_machine),
                Route("/msi/token", self._app_service),
                Route("/arc", self._arc),
            ]
        )

    async def _virtual_machine(self, request: Request) -> Response:
        if (instead := await self._instead(request)) is not None:
            return instead
        query = request.query_params
        if request.headers.get("Metadata") != "true":
            return refused(400, error="invalid_request", error_description="Required metadata header not specified")
        if query.get("client_id", self.identities[0]) not in self.identities:
            return refused(400, error="invalid_request", error_description="Identity not found")
        return JSONResponse(
            {
                "access_token": self._token(),
                "refresh_token": "",
                "expires_in": str(self.lifetime),
                "expires_on": str(int(time.time()) + self.lifetime),
                "not_before": str(int(time.time())),
                "resource": query["resource"],
                "token_type": "Bearer",
            }
        )

    async def _app_service(self, request: Request) -> Response:
        if (instead := await self._instead(request)) is not None:
            return instead
        query = request.query_params
        if request.headers.get("X-IDENTITY-HEADER") != IDENTITY_HEADER:
            return refused(401, statusCode=401, message="The header X-IDENTITY-HEADER is missing or wrong.")
        if query.get("client_id", self.identities[0]) not in self.identities:
            message = (
                "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."
            )
            return refused(400, statusCode=400, message=message)
        return JSONResponse(
            {
                "access_token": self._token(),
                "expires_on": str(int(time.time()) + self.lifetime),
                "resource": query["resource"],
                "token_type": "Bearer",
                "client_id": self.identities[0],
            }
        )

    async def _arc(self, request: Request) -> Response:
        if request.headers.get("Authorization") != f"Basic {ARC_KEY}":
            assert self.keys is not None
            file = anyio.Path(self.keys, "challenge.key")
            await file.write_text(ARC_KEY)
            return Response(status_code=401, headers={"WWW-Authenticate": f"Basic realm={file}"})
        if (instead := await self._instead(request)) is not None:
            return instead
        return JSONResponse({"access_token": self._token(), "expires_in": self.lifetime, "token_type": "Bearer"})

    async def _instead(self, request: Request) -> Response | None:
        self.asked.append(dict(request.query_params))
        if self.silent:
            await self.ends.wait()  # to the end of the server, whose own end must not have to wait for it
        if not self.answers:
            return None
        status, said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return Response(said if isinstance(said, str) else json.dumps(said), status, media_type="application/json")

    def _token(self) -> str:
        self.tokens.append(f"eyJ0eXAi.{len(self.tokens):04}.QkFTRTY0-of-a-managed-identity")
        return self.tokens[-1]


@asynccontextmanager
async def run_machine() -> AsyncIterator[AzureMachine]:
    machine = AzureMachine()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        machine.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with answering(machine.app, SocketConfig(listener, 0.1)):
            try:
                yield machine
            finally:
                machine.ends.set()


@dataclass
class EntraServer:
    """The sandbox's token service under addresses as Entra's, with TLS.

    Attributes:
        address: of its token endpoint.
        provider: its memory.
        service: its HTTP face.
        ca_file: what its certificate is trusted by.
    """

    address: str
    provider: Provider
    service: TokenService
    ca_file: Path

    @property
    def app(self) -> Starlette:
        tenant, _, _ = self.address.removesuffix("/token").rpartition("/oauth2")
        known = {"authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize", "token_endpoint": self.address}

        async def metadata(_: Request) -> Response:
            return await self.service._with_faults("metadata", "", lambda: said(JSONResponse(known)))

        async def said(response: Response) -> Response:
            return response

        return Starlette(
            routes=[
                Route("/contoso/v2.0/.well-known/openid-configuration", metadata),
                Mount("/contoso/oauth2/v2.0", self.service.app),
            ]
        )


class _EntraTokenService(TokenService):
    """Says nothing of scopes, as Entra to an application (entra-docs v2-oauth2-client-creds-grant-flow.md)."""

    def _token_response(self, issued: IssuedToken) -> JSONResponse:
        members = json.loads(bytes(super()._token_response(issued).body))
        del members["scope"]
        return JSONResponse(members)


class _WithTls(SocketConfig):
    """`SocketConfig`, with TLS."""

    def create_sockets(self) -> Sockets:
        return Sockets([self._listener.dup()], [], [])


@asynccontextmanager
async def run_entra(folder: Path, ca: trustme.CA, certificate: trustme.LeafCert) -> AsyncIterator[EntraServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        issuer = f"https://localhost:{listener.getsockname()[1]}/contoso/oauth2/v2.0"
        provider = Provider(issuer, {"mail"})
        entra = EntraServer(f"{issuer}/token", provider, _EntraTokenService(provider), folder / "ca.pem")
        ca.cert_pem.write_to_path(str(entra.ca_file))
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        settings = _WithTls(listener, 0.1)
        settings.certfile = settings.keyfile = str(folder / "server.pem")
        async with answering(entra.app, settings):
            yield entra


@asynccontextmanager
async def answering(app: ASGIApp, settings: SocketConfig) -> AsyncIterator[None]:
    stop = anyio.Event()
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve_http, app, settings, stop)
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
            failure = error
        finally:
            stop.set()
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def refused(status: int, **members: Any) -> Response:
    return JSONResponse(members, status)
