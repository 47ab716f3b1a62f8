"""The door: everything that a request has to pass before a page sees it, and what a page then knows of it.

A page finds in ``request.state``: ``session``, ``form`` (the fields that were sent, a `FormData` of Starlette's),
``by_key`` (whether a key to the API was shown), and ``security``.
"""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING, Final
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
from mailslot_plugins.panel.problem import problem, problem_of
from mailslot_plugins.panel.render import render
from mailslot_plugins.panel.security import limits
from mailslot_plugins.panel.security.addresses import is_local, is_ours
from mailslot_plugins.panel.security.headers import STATIC, Headers
from mailslot_plugins.panel.security.known_browser import LIFETIME
from mailslot_plugins.panel.security.paths import API, FIRST_START, METRICS, OPEN, is_poll, to_sign_in
from mailslot_plugins.panel.security.security import Security, Visit
from mailslot_plugins.panel.security.session import Session
from mailslot_plugins.panel.security.throttle import WaitError
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SAFE: Final = frozenset({"GET", "HEAD"})
_METHODS: Final = _SAFE | {"POST", "PUT", "PATCH", "DELETE"}
_FORM: Final = "application/x-www-form-urlencoded"

logger = logging.getLogger(__name__)


def middleware(security: Security) -> list[Middleware]:
    """Return what stands before every page, in this order, behind the `LanguageMiddleware`.

    Args:
        security: the device's.
    """
    return [
        Middleware(Headers, trusted=lambda: security.identity is not None and security.identity.own),
        Middleware(Guard, security=security),
    ]


class Guard:
    """Middleware that lets through what may pass.

    Args:
        app: what comes next.
        security: the device's.
    """

    def __init__(self, app: ASGIApp, security: Security) -> None:
        self._app = app
        self._security = security

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        if limits.head(scope) > limits.HEAD:
            await PlainTextResponse(translate("security", "too_large", request.state.language), 431)(
                scope, receive, send
            )
            return
        if {"content-length", "transfer-encoding"} <= set(request.headers):
            # A proxy may see another request in what follows, so nothing on this connection does (RFC 9112 6.3).
            sentence = translate("security", "two_lengths", request.state.language)
            await PlainTextResponse(sentence, 400, {"connection": "close"})(scope, receive, send)
            return
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not is_ours(hosts[0], self._security.names):
            await PlainTextResponse(translate("security", "host", request.state.language), 421)(scope, receive, send)
        elif scope["path"].startswith(STATIC):
            # Where there is no such file, a page says so to whomever it may be.
            request.state.session = Session("")
            await self._app(scope, receive, send)
        else:
            await _GuardedRequest(self._app, self._security, request, send).go()


class _GuardedRequest:
    """One request on its way."""

    def __init__(self, app: ASGIApp, security: Security, request: Request, send: Send) -> None:
        self._app = app
        self._security = security
        self._request = request
        self._send = send
        self._started = False
        # What routes go by. The path in `request.url` ends at a question mark that was percent-encoded.
        self._path: str = request.scope["path"]
        self._for_api = self._path.startswith(API)
        self._poll = is_poll(request)
        port = (request.scope.get("server") or ("", 0))[1]
        # Cookies know no ports, and one machine may serve two devices. The prefix keeps others from planting one.
        prefix = "__Host-" if request.url.scheme == "https" else ""
        self._cookie, self._known = f"{prefix}mailslot-{port}", f"{prefix}mailslot-known-{port}"
        self._visit = Visit("", Session(""), fresh=False)

    async def go(self) -> None:
        """Answer it."""
        request, state = self._request, self._request.state
        state.security, state.by_key, state.form = self._security, False, FormData()
        scope, receive = request.scope, request.receive
        try:
            claimed = await self._security.is_claimed()
            self._visit = self._security.visit(
                cookie(request, self._cookie), person=not self._poll, known=cookie(request, self._known)
            )
            if request.method not in _SAFE:
                # A form on another site comes without the cookie, and must not have it overwritten by an empty one.
                self._visit.fresh = False
            state.visit, state.session = self._visit, self._visit.session
            body = await limits.read_body(receive)
            state.form = self._form(body)
            refusal = await self._refusal(claimed=claimed)
            if refusal is None:
                with ExitGuard():
                    await self._app(scope, limits.again(body, receive), self._sending)
            else:
                await refusal(scope, receive, self._sending)
        except limits.LeftError:
            return
        except WaitError as wait:
            sentence = translate("security", "key_wait", self._language, seconds=wait.seconds)
            await problem(429, sentence, headers={"Retry-After": str(wait.seconds)})(scope, receive, self._sending)
        except limits.TooLargeError:
            await self._refused(413, "too_large")(scope, receive, self._sending)
        except limits.TooSlowError:
            await self._refused(408, "too_slow")(scope, receive, self._sending)
        except Exception as error:
            # Its words may quote what nobody may see, so the log says what kind of error it is and where it was raised.
            logger.error("A page has failed: %s", describe_error(error))  # noqa: TRY400 - see above
            if self._started:
                raise
            await self._failed(error)(scope, receive, self._sending)
        finally:
            self._security.keep(self._visit)

    def _form(self, body: bytes) -> FormData:
        """Return the fields that were sent, as our own pages send them; none where they come in another way."""
        if self._request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            return FormData()
        fields: list[tuple[str, str | UploadFile]] = [
            *parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        ]
        return FormData(fields)

    async def _refusal(self, *, claimed: bool) -> Response | None:
        """Return the answer to what may not pass; None for what may."""
        request = self._request
        # What may be asked for by which method, the API says itself, to those who may use it.
        if request.method not in _METHODS and not self._for_api:
            return self._refused(405, "method")
        if await self._shows_key():
            return None
        if not self._may_see(claimed=claimed):
            return self._to_sign_in(claimed=claimed)
        if request.method not in _SAFE:
            if not self._from_here():
                return self._refused(403, "other_site")
            if not self._carries_token():
                return self._refused(403, "old_page")
        return None

    async def _shows_key(self) -> bool:
        """Whether a key is shown where keys are good for something."""
        request = self._request
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not (self._for_api or self._path == METRICS):
            return False
        request.state.by_key = await self._security.try_key(request, Secret(key.strip()))
        return bool(request.state.by_key)

    def _may_see(self, *, claimed: bool) -> bool:
        if self._path in OPEN or (self._path == METRICS and is_local(self._request.scope)):
            return True
        return claimed and self._visit.session.signed_in

    def _from_here(self) -> bool:
        """Whether a browser says that a page of this panel sent it.

        Browsers say so over https and on loopback, where alone the panel answers. ``Origin`` is ``null`` for forms,
        since our pages send no referrer; whatever else it is must be us.
        """
        headers = self._request.headers
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return False
        origin = headers.get("origin", "null")
        return origin == "null" or origin.partition("://")[2].lower() == headers["host"].lower()

    def _carries_token(self) -> bool:
        given = self._request.headers.get("x-csrf-token") or str(self._request.state.form.get("csrf", ""))
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._visit.session.csrf.encode())

    def _to_sign_in(self, *, claimed: bool) -> Response:
        request = self._request
        if self._for_api or self._path == METRICS:
            return problem(401, self._say("key"), headers={"WWW-Authenticate": "Bearer"})
        page = to_sign_in(request, ended=self._visit.ended) if claimed else FIRST_START
        if self._poll:
            return Response(status_code=401, headers={"HX-Redirect": page})
        return RedirectResponse(page, 303)

    def _refused(self, status: int, key: str) -> Response:
        return self._trouble(status, self._say(key))

    def _failed(self, error: Exception) -> Response:
        if not isinstance(error, MailError):
            return self._trouble(500, translate("layout", "trouble_other", self._language))
        return problem_of(error) if self._for_api else self._trouble(503, str(error))

    def _trouble(self, status: int, sentence: str) -> Response:
        if self._for_api:
            return problem(status, sentence)
        if not self._visit.id:
            return PlainTextResponse(sentence, status)
        return render(self._request, "layout/trouble.html", status=status, sentence=sentence)

    def _say(self, key: str) -> str:
        return translate("security", key, self._language)

    @property
    def _language(self) -> str:
        return str(self._request.state.language)

    async def _sending(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            secure = "; Secure" if self._request.url.scheme == "https" else ""
            headers = MutableHeaders(scope=message)
            if self._visit.fresh and not self._request.state.by_key:
                headers.append("set-cookie", f"{self._cookie}={self._visit.id}; Path=/; HttpOnly; SameSite=Lax{secure}")
            if self._visit.known_from_now:
                attributes = f"Max-Age={LIFETIME}; Path=/; HttpOnly; SameSite=Strict{secure}"
                headers.append("set-cookie", f"{self._known}={self._visit.known}; {attributes}")
        await self._send(message)
