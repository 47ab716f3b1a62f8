"""The provider's pages for persons: sign-in with consent, and the page where a device's code is entered."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from mailslot_plugins.sandbox.provider import GrantError

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot_plugins.sandbox.provider import Client, Provider
    from mailslot_plugins.sandbox.sign_ins import SignIns

Form = dict[str, str]

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
_ENTER: Final = """<p>{hint}</p>
<form method="get">
<label>Code <input name="user_code" required autofocus autocomplete="off"></label>
<button>Continue</button>
</form>
"""


class SignInPages:
    """The pages of one provider.

    Attributes:
        routes: where they are.
    """

    def __init__(self, provider: Provider, sign_ins: SignIns) -> None:
        self._provider = provider
        self._sign_ins = sign_ins
        self.routes = [
            Route("/authorize", self._authorize, methods=["GET", "POST"]),
            Route("/device", self._device, methods=["GET", "POST"]),
        ]

    async def _authorize(self, request: Request) -> Response:
        """The authorization endpoint (RFC 6749 section 3.1)."""
        asked = dict(request.query_params)
        client, target = self._provider.clients.get(asked.get("client_id", "")), asked.get("redirect_uri", "")
        if client is None or not _is_loopback(target):
            # Nobody is sent to an address that may be a stranger's (RFC 6749 section 4.1.2.1).
            return _page("This cannot be opened", "<p>The application or its redirect address is unknown.</p>", 400)
        try:
            scopes = self._sign_ins.check_scopes(asked.get("scope", ""))
            if asked.get("response_type") != "code":
                raise GrantError("unsupported_response_type", "Only codes are given out.")
            if asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge"):
                raise GrantError("invalid_request", "PKCE with S256 is required.")
        except GrantError as error:
            return self._back(asked, {"error": error.error, "error_description": error.description})
        if request.method == "GET":
            return _sign_in_page(client, scopes, user=asked.get("login_hint", ""))
        form = await _form(request)
        if form.get("decision") != "allow" or not form.get("user"):
            return self._back(asked, {"error": "access_denied", "error_description": "The person declined."})
        code = self._sign_ins.authorize(
            form["user"],
            client,
            form["scope"].split() if "scope" in form else scopes,
            redirect_uri=target,
            challenge=asked["code_challenge"],
            nonce=asked.get("nonce"),
        )
        return self._back(asked, {"code": code})

    def _back(self, asked: Form, answer: Form) -> Response:
        """Send the browser back, with the issuer's name (RFC 9207 section 2)."""
        answer |= {"state": asked["state"]} if "state" in asked else {}
        query = urlencode(answer | {"iss": self._provider.issuer})
        return RedirectResponse(f"{asked['redirect_uri']}?{query}", 303, {"Cache-Control": "no-store"})

    async def _device(self, request: Request) -> Response:
        """The verification address (RFC 8628 section 3.3)."""
        form = await _form(request) if request.method == "POST" else dict(request.query_params)
        user_code = form.get("user_code", "")
        device = self._sign_ins.find(user_code)
        if device is None:
            hint = "There is no such code, or it has expired." if user_code else "Enter the code that the device shows."
            return _page("Connect a device", _ENTER.format(hint=hint), 404 if user_code else 200)
        if request.method == "GET":
            return _sign_in_page(device.client, device.scopes, user_code=device.user_code)
        if form.get("decision") != "allow" or not form.get("user"):
            device.denied = True
            return _page("Declined", "<p>The device gets nothing. You can close this page.</p>")
        device.user = form["user"]
        return _page("Done", "<p>The device goes on by itself. You can close this page.</p>")


def _sign_in_page(client: Client, scopes: frozenset[str], *, user: str = "", user_code: str = "") -> Response:
    names = {"client": client.id, "scopes": " ".join(sorted(scopes)), "user": user, "user_code": user_code}
    return _page("Sign in", _SIGN_IN.format(**{name: html.escape(text) for name, text in names.items()}))


def _page(title: str, body: str, status: int = 200) -> Response:
    return HTMLResponse(_PAGE.format(title=title, body=body), status, {"Cache-Control": "no-store"})


async def _form(request: Request) -> Form:
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))


def _is_loopback(address: str) -> bool:
    """Whether an address is what installed applications are registered with: loopback, any port, no path."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"} and parts.path in {"", "/"}
