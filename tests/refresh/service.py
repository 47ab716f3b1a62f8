"""A token service that rotates its refresh tokens, on loopback and in its own threads.

No event loop that a test cancels or stops can reach it, and processes of their own can ask it. It acts first, and may
then keep its answer for a while or lose it, as a real one does when the line breaks.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from base64 import b64decode
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from email.utils import formatdate
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Policy = Literal["strict", "lax", "fixed"]
"""What becomes of a refresh token that was used: ``strict``: using it again ends the whole grant, as RFC 9700 section
4.14.2 wants it (oidc-provider); ``lax``: it stays good (Entra); ``fixed``: no new one is given (Google)."""


def fingerprint(token: str) -> str:
    """Return a fingerprint of a token, which is not secret."""
    return sha256(token.encode()).hexdigest()[:16]


@dataclass
class ScriptedResponse:
    """A response that is sent once instead of the true one, without any effect."""

    status: int = 400
    body: dict[str, object] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    garble: Callable[[bytes], bytes] | None = None


@dataclass
class State:
    """What happened; tokens are given as fingerprints.

    Attributes:
        asked: requests to the token endpoint.
        refreshes: how many new access tokens were given out.
        reused: how many times a refresh token was used that had been used already.
        dead: whether the grant was ended for that.
        newest: the refresh token given out last.
        revoked: tokens that were given up, by their kind.
    """

    asked: int = 0
    refreshes: int = 0
    reused: int = 0
    dead: bool = False
    newest: str = ""
    revoked: list[str] = field(default_factory=list)


class Service:
    """The service of one grant; tests may change everything about it at any time.

    Attributes:
        policy: what becomes of used refresh tokens.
        lifetime: what ``expires_in`` says; None leaves it out.
        slow: seconds from acting to answering, unless it is `ending`.
        lose: how many of the next answers are lost after acting.
        ahead: seconds that its clock, by ``Date``, is ahead.
        say: answers given instead of the true ones.
        garble: what becomes of the octets of the next answers, whose Content-Length stays what it was.
        instead: members of the next answers instead of the true ones; what it does for them is done.
        issued: every token ever given out.
    """

    def __init__(self) -> None:
        self.policy: Policy = "strict"
        self.lifetime: object = 3600
        self.slow = 0.0
        self.ending = threading.Event()
        self.lose = 0
        self.ahead = 0.0
        self.say: list[ScriptedResponse] = []
        self.instead: list[dict[str, object]] = []
        self.garble: list[Callable[[bytes], bytes]] = []
        self.issued: list[str] = []
        self.secret: str | None = None
        self._state = State()
        self._good: set[str] = set()
        self._used: set[str] = set()
        self._access: set[str] = set()
        self._mutex = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def state(self) -> State:
        with self._mutex:
            return replace(self._state, revoked=list(self._state.revoked))

    def begin(self) -> tuple[str, str]:
        """Replace the grant by a new one; return its access and refresh token."""
        with self._mutex:
            self._state, self._good, self._used, self._access = State(), set(), set(), set()
            return self._issue(rotate=True)

    def accepts(self, access_token: str) -> bool:
        """Return whether a mail server would accept the token."""
        with self._mutex:
            return access_token in self._access and not self._state.dead

    def forget_newest(self) -> None:
        """Lose what was issued last, as a service does that comes back from a backup."""
        with self._mutex:
            self._good = {self.issued[-3]}
            self._used.clear()

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.01)

    def stop(self) -> None:
        self.ending.set()
        self._server.shutdown()

    def close(self) -> None:
        self._server.server_close()

    def renew(self, form: dict[str, str]) -> ScriptedResponse:
        with self._mutex:
            self._state.asked += 1
            if self.say:
                return self.say.pop(0)
            if self.secret is not None and form.get("client_secret") != self.secret:
                return ScriptedResponse(
                    401, {"error": "invalid_client", "error_description": f"not {form.get('client_secret')}"}
                )
            token = form.get("refresh_token", "")
            if token in self._used and self.policy == "strict":
                self._state.reused += 1
                self._state.dead = True
                self._good.clear()
            if token not in self._good:
                return ScriptedResponse(400, {"error": "invalid_grant", "error_description": f"{token} is not known"})
            if self.policy == "strict":
                self._good.discard(token)
                self._used.add(token)
            access, refresh = self._issue(rotate=self.policy != "fixed")
            self._state.refreshes += 1
            body: dict[str, object] = {"access_token": access, "token_type": "Bearer", "expires_in": self.lifetime}
            if self.policy != "fixed":
                body["refresh_token"] = refresh
            if self.instead:
                instead = self.instead.pop(0)
                return ScriptedResponse(200, body | instead)
            garble = self.garble.pop(0) if self.garble else None
            return ScriptedResponse(
                200, {name: value for name, value in body.items() if value is not None}, garble=garble
            )

    def revoke(self, form: dict[str, str]) -> ScriptedResponse:
        with self._mutex:
            if self.say:
                return self.say.pop(0)
            self._state.revoked.append(f"{form['token_type_hint']} {fingerprint(form['token'])}")
            self._good.clear()
            self._access.clear()
            return ScriptedResponse(200)

    def _issue(self, *, rotate: bool) -> tuple[str, str]:
        access = f"at-{secrets.token_urlsafe(24)}"
        refresh = f"rt-{secrets.token_urlsafe(24)}" if rotate else next(iter(self._good))
        self.issued += [access, refresh]
        self._access.add(access)
        self._good.add(refresh)
        self._state.newest = fingerprint(refresh)
        return access, refresh


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(ScriptedResponse(200, asdict(service.state)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if self.path in {"/begin", "/set"}:
                for name, value in json.loads(body).items():
                    setattr(service, name, [ScriptedResponse(**said) for said in value] if name == "say" else value)
                self._answer(ScriptedResponse(200, {"tokens": service.begin()} if self.path == "/begin" else {}))
                return
            form = {name: values[0] for name, values in parse_qs(body).items()}
            scheme, _, pair = self.headers.get("Authorization", "").partition(" ")
            if scheme == "Basic":
                names = b64decode(pair).decode().split(":")
                form["client_id"], form["client_secret"] = map(unquote_plus, names)
            answer = service.revoke(form) if self.path == "/revoke" else service.renew(form)
            service.ending.wait(service.slow)
            if service.lose > 0 and self.path == "/token":
                service.lose -= 1
                self.close_connection = True
                return
            self._answer(answer)

        def _answer(self, said: ScriptedResponse) -> None:
            octets = json.dumps(said.body).encode()
            self.send_response_only(said.status)
            headers = {"Date": formatdate(time.time() + service.ahead, usegmt=True), **said.headers}
            for name, value in {"Content-Type": "application/json", "Content-Length": len(octets), **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            if said.garble is not None:
                octets, self.close_connection = said.garble(octets), True
            try:
                self.wfile.write(octets)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serving() -> Iterator[Service]:
    """Run a service in threads until the context is left."""
    service = Service()
    thread = threading.Thread(target=service.serve)
    thread.start()
    try:
        yield service
    finally:
        service.stop()
        thread.join()
        service.close()
