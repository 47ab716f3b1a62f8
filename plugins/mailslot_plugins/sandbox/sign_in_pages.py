"""The provider's HTML pages: sign-in with consent, and the page where a device's user code is entered."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from mailslot_plugins.sandbox.provider import GrantError

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot_plugins.sandbox.authorizations import PendingAuthorizations
    from mailslot_plugins.sandbox.provider import Client, Provider

Parameters = dict[str, str]

_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; font: 18px/1.5 system-ui, sans-serif; }}
  body {{ max-width: 26rem; margin: 10vh auto; padding: 0 1rem; }}
  input {{ font: inherit; width: 100%; box-sizing: border-box; padding: .4rem; margin: .2rem 0 1rem; }}
  button {{ font: inherit; padding: .4rem 1.2rem; margin-right: .5rem; }}
</style>
<h1>{title}</h1>
{body}
</html>
"""
_SIGN_IN: Final = """<p>{client} asks for: {scopes}</p>
<form method="post">
<input type="hidden" name="user_code" value="{user_code}">
<label>Sign in as <input name="user" type="email" required autofocus value="{user}"></label>
<button name="decision" value="allow">Allow</button>
<button name="decision" value="deny" formnovalidate>Decline</button>
</form>
"""
_ENTER_CODE: Final = """<p>{hint}</p>
<form method="get">
<label>Code <input name="user_code" required autofocus autocomplete="off"></label>
<button>Continue</button>
</form>
"""


class SignInPages:
    """The pages of one provider."""

    def __init__(self, provider: Provider, authorizations: PendingAuthorizations) -> None:
        self._provider = provider
        self._authorizations = authorizations
        self.routes = [
            Route("/authorize", self._authorize, methods=["GET", "POST"]),
            Route("/device", self._device, methods=["GET", "POST"]),
        ]

    async def _authorize(self, request: Request) -> Response:
        """The authorization endpoint (RFC 6749 section 3.1)."""
        parameters = dict(request.query_params)
        client, target = self._provider.clients.get(parameters.get("client_id", "")), parameters.get("redirect_uri", "")
        if client is None or not _is_loopback(target):
            # No redirect to an unregistered address (RFC 6749 section 4.1.2.1).
            return _page("This cannot be opened", "<p>The application or its redirect address is unknown.</p>", 400)
        try:
            scopes = self._authorizations.check_scopes(parameters.get("scope", ""))
            if parameters.get("response_type") != "code":
                raise GrantError("unsupported_response_type", "Only codes are given out.")
            if parameters.get("code_challenge_method") != "S256" or not parameters.get("code_challenge"):
                raise GrantError("invalid_request", "PKCE with S256 is required.")
        except GrantError as error:
            return self._redirect_back(parameters, {"error": error.error, "error_description": error.description})
        if request.method == "GET":
            return _sign_in_page(client, scopes, user=parameters.get("login_hint", ""))
        form = await _form(request)
        if form.get("decision") != "allow" or not form.get("user"):
            return self._redirect_back(
                parameters, {"error": "access_denied", "error_description": "The person declined."}
            )
        code = self._authorizations.authorize(
            form["user"],
            client,
            form["scope"].split() if "scope" in form else scopes,
            redirect_uri=target,
            challenge=parameters["code_challenge"],
            nonce=parameters.get("nonce"),
        )
        return self._redirect_back(parameters, {"code": code})

    def _redirect_back(self, parameters: Parameters, response: Parameters) -> Response:
        """Redirect the browser back, with the issuer's name (RFC 9207 section 2)."""
        response |= {"state": parameters["state"]} if "state" in parameters else {}
        query = urlencode(response | {"iss": self._provider.issuer})
        return RedirectResponse(f"{parameters['redirect_uri']}?{query}", 303, {"Cache-Control": "no-store"})

    async def _device(self, request: Request) -> Response:
        """The verification address (RFC 8628 section 3.3)."""
        form = await _form(request) if request.method == "POST" else dict(request.query_params)
        user_code = form.get("user_code", "")
        device = self._authorizations.find(user_code)
        if device is None:
            hint = "There is no such code, or it has expired." if user_code else "Enter the code that the device shows."
            return _page("Connect a device", _ENTER_CODE.format(hint=hint), 404 if user_code else 200)
        if request.method == "GET":
            return _sign_in_page(device.client, device.scopes, user_code=device.user_code)
        if form.get("decision") != "allow" or not form.get("user"):
            device.denied = True
            return _page("Declined", "<p>The device gets nothing. You can close this page.</p>")
        device.user = form["user"]
        return _page("Done", "<p>The device continues automatically. You can close this page.</p>")


def _sign_in_page(client: Client, scopes: frozenset[str], *, user: str = "", user_code: str = "") -> Response:
    names = {"client": client.id, "scopes": " ".join(sorted(scopes)), "user": user, "user_code": user_code}
    return _page("Sign in", _SIGN_IN.format(**{name: html.escape(text) for name, text in names.items()}))


def _page(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(_PAGE.format(title=title, body=body), status, {"Cache-Control": "no-store"})


async def _form(request: Request) -> Parameters:
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))


def _is_loopback(address: str) -> bool:
    """Return whether a redirect URI is one of installed applications: loopback, any port, no path."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"} and parts.path in {"", "/"}
