"""The server's side of SASL (RFC 4422): each mechanism gives challenges and takes responses."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.wire.secret import MASK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping

    from mailslot_plugins.sandbox.connection import Connection
    from mailslot_plugins.sandbox.personality import ProtocolBehavior
    from mailslot_plugins.sandbox.state import SandboxState

    Exchange = Generator[bytes, bytes, str]
    Answer = Callable[[str, str | None], Awaitable[None]]

_XOAUTH2: Final = re.compile(rb"user=([^\x00-\x1f\x7f]+)\x01auth=Bearer ([!-~]+)\x01\x01")
_OAUTHBEARER: Final = re.compile(rb"n,a=((?:[^\x00-\x1f\x7f,=]|=2C|=3D)+),\x01((?:[A-Za-z]+=[^\x00\x01]*\x01)+)\x01")
_ITERATIONS: Final = 4_096


class Refused(Exception):  # noqa: N818 - it is the answer to a sign-in and no error
    """The sign-in is refused.

    Attributes:
        occasion: which of the personality's words say so.
    """

    def __init__(self, occasion: str) -> None:
        super().__init__(occasion)
        self.occasion = occasion


@dataclass(frozen=True, slots=True)
class SaslExchange:
    """One attempt to sign in on a connection."""

    office: SandboxState
    manners: ProtocolBehavior
    connection: Connection

    async def run(self, argument: str, prompt: str, answer: Answer) -> None:
        """Go through AUTH.

        Args:
            argument: what follows AUTH: a mechanism and perhaps an initial response, ``=`` for an
                empty one (RFC 4954 section 4, RFC 5034 section 4).
            prompt: what stands before a challenge, ``"334 "`` or ``"+ "``.
            answer: lets the user in, if there is one, and says so.

        Raises:
            Hangup: the connection ends.
        """
        user: str | None = None
        occasion = "signed_in"
        try:
            user = await self._exchange(argument, prompt)
        except Refused as refused:
            occasion = refused.occasion
        await self.connection.during("sign_in", lambda: answer(occasion, user))

    async def run_password(self, user: str, password: str, answer: Answer) -> None:
        """Go through USER and PASS."""
        occasion = "signed_in" if self._knows(user, password) else "password"
        known = user if occasion == "signed_in" else None
        await self.connection.during("sign_in", lambda: answer(occasion, known))

    async def _exchange(self, argument: str, prompt: str) -> str:
        name, _, initial = argument.partition(" ")
        mechanism = _MECHANISMS.get(name.upper())
        if mechanism is None or name.upper() not in self.office.personality.mechanisms:
            raise Refused("mechanism")
        if initial and not self.manners.initial_response:
            raise Refused("one_line")
        exchange = mechanism(self)
        challenge = next(exchange)
        try:
            if initial:
                challenge = exchange.send(_decode("" if initial == "=" else initial))
            while True:
                await self._challenge(prompt + base64.b64encode(challenge).decode())
                challenge = exchange.send(await self._response())
        except StopIteration as end:
            return str(end.value)
        finally:
            exchange.close()

    async def _challenge(self, text: str) -> None:
        async def say() -> None:
            self.connection.say(text)

        await self.connection.during("challenge", say)

    async def _response(self) -> bytes:
        if self.connection.waiting:
            self.connection.dialogue.flaw("a response before its challenge")
        line = await self.connection.line()
        # The three responses that hold no secret tell most about a client.
        shown = line.decode() if line in {b"", b"*", b"AQ=="} else MASK
        self.connection.dialogue.transcript.client(shown)
        if line == b"*":
            raise Refused("cancelled")
        if len(line) > self.manners.response_limit:
            raise Refused("long_response")
        return _decode(line.decode("ascii", "replace"))

    def check_bearer(
        self, user: bytes, token: bytes, reasons: Mapping[str, str] | None, acknowledgement: bytes
    ) -> Exchange:
        """Let a user in by token, or give reasons, have them acknowledged, and refuse."""
        name = _text(user)
        provider = self.office.provider
        refusal = provider.check(_text(token), name, self.manners.scope)
        if refusal is None and name.lower() in self.office.maildrops:
            return name
        if refusal != "unavailable" and reasons is not None:
            challenge = {key: value.replace("{issuer}", provider.issuer) for key, value in reasons.items()}
            if (yield json.dumps(challenge, separators=(",", ":")).encode()) != acknowledgement:
                self.connection.dialogue.flaw("the reasons of a refusal were not acknowledged")
        raise Refused(refusal or "token")

    def check_password(self, user: str, password: str) -> str:
        """Let a user in by password, or refuse."""
        if not self._knows(user, password):
            raise Refused("password")
        return user

    def _knows(self, user: str, password: str) -> bool:
        known = self.office.passwords.get(user.lower())
        return self.office.personality.passwords and known is not None and known == password


def _xoauth2(sign_in: SaslExchange) -> Exchange:
    """Google's and Microsoft's mechanism; a refusal's JSON is answered with an empty line."""
    match = _XOAUTH2.fullmatch((yield b""))
    if match is None:
        raise Refused("malformed")
    reasons = sign_in.office.personality.xoauth2
    return (yield from sign_in.check_bearer(match[1], match[2], reasons, b""))


def _oauthbearer(sign_in: SaslExchange) -> Exchange:
    """RFC 7628; a refusal's JSON is answered with one 0x01."""
    match = _OAUTHBEARER.fullmatch((yield b""))
    if match is None:
        raise Refused("malformed")
    pairs = dict(pair.split(b"=", 1) for pair in match[2].split(b"\x01") if pair)
    scheme, _, token = pairs.get(b"auth", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise Refused("malformed")
    port = str(sign_in.connection.port).encode()
    if pairs.get(b"host") not in {b"localhost", b"127.0.0.1"} or pairs.get(b"port") != port:
        sign_in.connection.dialogue.flaw("OAUTHBEARER names another host or port")
    user = match[1].replace(b"=2C", b",").replace(b"=3D", b"=")
    reasons = sign_in.office.personality.oauthbearer
    return (yield from sign_in.check_bearer(user, token, reasons, b"\x01"))


def _plain(sign_in: SaslExchange) -> Exchange:
    """RFC 4616; nobody may act as somebody else."""
    fields = _text((yield b"")).split("\0")
    if len(fields) != 3 or fields[0] not in {"", fields[1]}:
        raise Refused("malformed")
    return sign_in.check_password(fields[1], fields[2])


def _login(sign_in: SaslExchange) -> Exchange:
    """LOGIN, which was never standardised: a user name, then a password."""
    user = yield b"Username:"
    password = yield b"Password:"
    return sign_in.check_password(_text(user), _text(password))


def _scram(sign_in: SaslExchange) -> Exchange:
    """SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677)."""
    first = re.fullmatch(r"([ny],(?:a=[^,]*)?,)(n=([^,]+),r=([!-+\--~]+))", _text((yield b"")))
    if first is None:
        raise Refused("malformed")
    user = first[3].replace("=2C", ",").replace("=3D", "=")
    password = sign_in.office.passwords.get(user.lower())
    if password is None or not sign_in.office.personality.passwords:
        raise Refused("password")
    salt, nonce = secrets.token_bytes(16), first[4] + secrets.token_urlsafe(18)
    challenge = f"r={nonce},s={base64.b64encode(salt).decode()},i={_ITERATIONS}"
    final = re.fullmatch(r"(c=([^,]+),r=([^,]+)),p=([^,]+)", _text((yield challenge.encode())))
    if final is None or final[3] != nonce or _decode(final[2]) != first[1].encode():
        raise Refused("malformed")
    salted = hashlib.pbkdf2_hmac("sha256", password.reveal().encode(), salt, _ITERATIONS)
    message = f"{first[2]},{challenge},{final[1]}".encode()
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    if not hmac.compare_digest(proof, _decode(final[4])):
        raise Refused("password")
    verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
    if (yield b"v=" + base64.b64encode(verifier)):
        raise Refused("malformed")
    return user


_MECHANISMS: Final[Mapping[str, Callable[[SaslExchange], Exchange]]] = {
    "XOAUTH2": _xoauth2,
    "OAUTHBEARER": _oauthbearer,
    "PLAIN": _plain,
    "LOGIN": _login,
    "SCRAM-SHA-256": _scram,
}


def masked(command: str) -> str:
    """Return an AUTH line without its response, or what is no mechanism."""
    verb, space, argument = command.partition(" ")
    name, _, initial = argument.partition(" ")
    if space and name.upper() not in _MECHANISMS:
        return f"{verb} {MASK}"
    return f"{verb} {name} {MASK}" if initial else command


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("malformed") from None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refused("malformed") from None
