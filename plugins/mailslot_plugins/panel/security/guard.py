"""The checks that every request has to pass before it reaches a page.

Pages find in ``request.state``: ``session``, ``form`` (the submitted fields, Starlette's `FormData`), ``by_key``
(whether the request was authenticated with an API key), ``key`` (its `ApiKey`, or None), and ``security``. The body of
an upload is not read here, see `mailslot_plugins.panel.security.upload`.
"""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING, ClassVar, Final, Protocol
from urllib.parse import parse_qsl

from starlette.datastructures import FormData, MutableHeaders, UploadFile
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from mailslot.errors import MailError
from mailslot.exit_guard import ExitGuard
from mailslot.service.log import describe_error
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.cookies import cookie
from mailslot_plugins.panel.problem import mail_error_response, problem_response
from mailslot_plugins.panel.render import render
from mailslot_plugins.panel.security import limits
from mailslot_plugins.panel.security.addresses import is_own_host
from mailslot_plugins.panel.security.headers import STATIC, SecurityHeaders
from mailslot_plugins.panel.security.known_browser import LIFETIME
from mailslot_plugins.panel.security.paths import API, FIRST_START, METRICS, is_poll, sign_in_address
from mailslot_plugins.panel.security.security import Visit
from mailslot_plugins.panel.security.session import Session
from mailslot_plugins.panel.security.throttle import ThrottledError
from mailslot_plugins.panel.security.upload import CsrfError, UploadBody, is_upload
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mailslot_plugins.panel.security.certificate import ServerCertificate
    from mailslot_plugins.panel.security.keys import ApiKey

_SAFE: Final = frozenset({"GET", "HEAD"})
_METHODS: Final = _SAFE | {"POST", "PUT", "PATCH", "DELETE"}
_FORM: Final = "application/x-www-form-urlencoded"

_REFUSALS: Final[dict[type[Exception], tuple[int, str]]] = {
    limits.TooLargeError: (413, "too_large"),
    limits.TooSlowError: (408, "too_slow"),
    CsrfError: (403, "old_page"),
}
"""The status and the text of the response to each error of reading a request."""

logger = logging.getLogger(__name__)


class Authority(Protocol):
    """Authentication and authorization of requests; a device's panel and a fleet's panel each have their own.

    Attributes:
        accepts_keys: whether programs may use API keys.
    """

    accepts_keys: ClassVar[bool]

    @property
    def certificate(self) -> ServerCertificate | None:
        """The certificate in use; None without TLS."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The host names of the panel, in the form that browsers and certificates use."""
        ...

    async def is_claimed(self) -> bool:
        """Return whether anybody can sign in."""
        ...

    def cookie_port(self, request: Request) -> int:
        """Return the port in the names of cookies, which are not bound to a port themselves."""
        ...

    async def try_key(self, request: Request, key: Secret) -> ApiKey | None:
        """Return an API key's data; None if it is not valid."""
        ...

    async def visit(self, id_: str, *, person: bool, known: str = "") -> Visit:
        """Return the visit of a request, from its cookies.

        Raises:
            MailError: nobody can tell now who is signed in.
        """
        ...

    def save(self, visit: Visit) -> None:
        """Save the session of a visit."""
        ...

    def is_public(self, request: Request) -> bool:
        """Return whether a request needs no sign-in."""
        ...

    def path_on_panel(self, path: str) -> str:
        """Return the path within the panel of a device for a request's path."""
        ...

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """Return status and text if the signed-in person may not make this request; None if they may."""
        ...


def middleware(security: Authority) -> list[Middleware]:
    """Return the middleware for every page, in this order; the `LanguageMiddleware` comes before it."""
    return [
        Middleware(SecurityHeaders, trusted=lambda: security.certificate is not None and security.certificate.is_own),
        Middleware(Guard, security=security),
    ]


class Guard:
    """Middleware that refuses requests that are malformed or not permitted."""

    def __init__(self, app: ASGIApp, security: Authority) -> None:
        self._app = app
        self._security = security

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        if limits.head_size(scope) > limits.MAX_HEAD:
            await PlainTextResponse(translate("security", "too_large", request.state.language), 431)(
                scope, receive, send
            )
            return
        if {"content-length", "transfer-encoding"} <= set(request.headers):
            # A proxy may see another request in the data that follows, so the connection is closed (RFC 9112 section
            # 6.3).
            sentence = translate("security", "two_lengths", request.state.language)
            await PlainTextResponse(sentence, 400, {"connection": "close"})(scope, receive, send)
            return
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not is_own_host(hosts[0], self._security.names):
            await PlainTextResponse(translate("security", "host", request.state.language), 421)(scope, receive, send)
        elif scope["path"].startswith(STATIC):
            # The page for a missing file needs a session.
            request.state.session = Session("")
            await self._app(scope, receive, send)
        else:
            await _GuardedRequest(self._app, self._security, request, send).handle()


class _GuardedRequest:
    """The handling of one request."""

    def __init__(self, app: ASGIApp, security: Authority, request: Request, send: Send) -> None:
        self._app = app
        self._security = security
        self._request = request
        self._send = send
        self._started = False
        # The path used for routing. The one in `request.url` ends at a percent-encoded question mark.
        self._path: str = request.scope["path"]
        self._for_api = self._path.startswith(API)
        self._is_poll = is_poll(request)
        path = security.path_on_panel(self._path)
        self._upload = UploadBody(request.receive) if is_upload(request, path) else None
        port = security.cookie_port(request)
        # The prefix prevents others from setting one.
        prefix = "__Host-" if request.url.scheme == "https" else ""
        self._cookie, self._known = f"{prefix}mailslot-{port}", f"{prefix}mailslot-known-{port}"
        self._visit = Visit("", Session(""), sets_session_cookie=False)

    async def handle(self) -> None:
        """Handle it."""
        request, state = self._request, self._request.state
        state.security, state.by_key, state.key, state.form = self._security, False, None, FormData()
        state.needs_token = False
        state.visit, state.session = self._visit, self._visit.session
        scope, receive = request.scope, request.receive
        try:
            claimed = await self._security.is_claimed()
            self._visit = await self._security.visit(
                cookie(request, self._cookie), person=not self._is_poll, known=cookie(request, self._known)
            )
            if request.method not in _SAFE:
                # A form on another site is sent without the cookie, which must then not be overwritten.
                self._visit.sets_session_cookie = False
            state.visit, state.session = self._visit, self._visit.session
            if self._upload is not None:
                receive = self._upload.receive
            else:
                body = await limits.read_body(receive)
                state.form = self._form(body)
                receive = limits.replay_body(body, receive)
            refusal = await self._refusal(claimed=claimed)
            if refusal is None:
                with ExitGuard():
                    await self._app(scope, receive, self._send_with_cookies)
            else:
                await refusal(scope, receive, self._send_with_cookies)
        except limits.DisconnectedError:
            return
        except ThrottledError as wait:
            sentence = translate("security", "key_wait", self._language, seconds=wait.seconds)
            await problem_response(429, sentence, headers={"Retry-After": str(wait.seconds)})(
                scope, receive, self._send_with_cookies
            )
        except tuple(_REFUSALS) as error:
            await self._refuse(*_REFUSALS[type(error)])(scope, receive, self._send_with_cookies)
        except Exception as error:
            # The message may contain a secret, so the log says only the type of the error and where it was raised.
            logger.error("A page has failed: %s", describe_error(error))  # noqa: TRY400 - see above
            if self._started:
                raise
            await self._failure_response(error)(scope, receive, self._send_with_cookies)
        finally:
            self._security.save(self._visit)

    def _form(self, body: bytes) -> FormData:
        """Return the submitted fields; none if they have another content type than our own forms."""
        if self._request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            return FormData()
        fields: list[tuple[str, str | UploadFile]] = [
            *parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        ]
        return FormData(fields)

    async def _refusal(self, *, claimed: bool) -> Response | None:
        """Return the response if the request is refused; None if it may pass."""
        request = self._request
        # The API checks methods itself, after authentication.
        if request.method not in _METHODS and not self._for_api:
            return self._refuse(405, "method")
        if self._security.accepts_keys and await self._has_key():
            return None
        if not self._is_allowed(claimed=claimed):
            return self._to_sign_in(claimed=claimed)
        if (refusal := self._security.refusal(request)) is not None:
            return self._refuse(*refusal)
        return None if request.method in _SAFE else self._forgery_refusal()

    def _forgery_refusal(self) -> Response | None:
        """Return the response to a change that no page of this panel has requested."""
        if not self._is_same_site():
            return self._refuse(403, "other_site")
        if self._upload is not None and not self._for_api:
            # The token is in the form, which is not read yet.
            self._request.state.needs_token = True
        elif not self._has_csrf_token():
            return self._refuse(403, "old_page")
        return None

    async def _has_key(self) -> bool:
        """Return whether the request has a valid API key, on a path that accepts keys."""
        request = self._request
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not (self._for_api or self._path == METRICS):
            return False
        request.state.key = await self._security.try_key(request, Secret(key.strip()))
        request.state.by_key = request.state.key is not None
        return bool(request.state.by_key)

    def _is_allowed(self, *, claimed: bool) -> bool:
        return self._security.is_public(self._request) or (claimed and self._visit.session.signed_in)

    def _is_same_site(self) -> bool:
        """Return whether the request comes from a page of this panel, according to the browser.

        Browsers send these headers over https and on loopback, and the panel uses nothing else. ``Origin`` is ``null``
        for our forms, since our pages send no referrer; any other value must be our own.
        """
        headers = self._request.headers
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return False
        origin = headers.get("origin", "null")
        return origin == "null" or origin.partition("://")[2].lower() == headers["host"].lower()

    def _has_csrf_token(self) -> bool:
        given = self._request.headers.get("x-csrf-token") or str(self._request.state.form.get("csrf", ""))
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._visit.session.csrf.encode())

    def _to_sign_in(self, *, claimed: bool) -> Response:
        request = self._request
        if self._for_api or self._path == METRICS:
            return problem_response(401, self._text("key"), headers={"WWW-Authenticate": "Bearer"})
        page = sign_in_address(request, ended=self._visit.session_ended) if claimed else FIRST_START
        if self._is_poll:
            return Response(status_code=401, headers={"HX-Redirect": page})
        return RedirectResponse(page, 303)

    def _refuse(self, status: int, key: str) -> Response:
        return self._error_response(status, self._text(key))

    def _failure_response(self, error: Exception) -> Response:
        if not isinstance(error, MailError):
            return self._error_response(500, translate("layout", "trouble_other", self._language))
        return (
            mail_error_response(error)
            if self._for_api
            else self._error_response(503, translated(str(error), self._language))
        )

    def _error_response(self, status: int, sentence: str) -> Response:
        if self._for_api:
            return problem_response(status, sentence)
        return render(self._request, "layout/trouble.html", status=status, sentence=sentence)

    def _text(self, key: str) -> str:
        return translate("security", key, self._language)

    @property
    def _language(self) -> str:
        return str(self._request.state.language)

    async def _send_with_cookies(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            if self._upload is not None:
                await self._upload.discard()
            secure = "; Secure" if self._request.url.scheme == "https" else ""
            headers = MutableHeaders(scope=message)
            if self._upload is not None and not self._upload.complete:
                headers["connection"] = "close"
            if self._visit.sets_session_cookie and not self._request.state.by_key:
                headers.append("set-cookie", f"{self._cookie}={self._visit.id}; Path=/; HttpOnly; SameSite=Lax{secure}")
            if self._visit.sets_known_cookie:
                attributes = f"Max-Age={LIFETIME}; Path=/; HttpOnly; SameSite=Strict{secure}"
                headers.append("set-cookie", f"{self._known}={self._visit.known_cookie}; {attributes}")
        await self._send(message)
