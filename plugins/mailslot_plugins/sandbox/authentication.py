"""The server side of SASL (RFC 4422): each mechanism sends challenges and receives responses."""

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

    MechanismSteps = Generator[bytes, bytes, str]
    ResultCallback = Callable[[str, str | None], Awaitable[None]]

_XOAUTH2: Final = re.compile(rb"user=([^\x00-\x1f\x7f]+)\x01auth=Bearer ([!-~]+)\x01\x01")
_OAUTHBEARER: Final = re.compile(rb"n,a=((?:[^\x00-\x1f\x7f,=]|=2C|=3D)+),\x01((?:[A-Za-z]+=[^\x00\x01]*\x01)+)\x01")
_ITERATIONS: Final = 4_096


class AuthenticationRefused(Exception):  # noqa: N818 - it is the answer to a sign-in and no error
    """The authentication is refused.

    Attributes:
        reply_key: the key of the personality's reply.
    """

    def __init__(self, reply_key: str) -> None:
        super().__init__(reply_key)
        self.reply_key = reply_key


@dataclass(frozen=True, slots=True)
class SaslExchange:
    """One SASL exchange on a connection."""

    state: SandboxState
    behavior: ProtocolBehavior
    connection: Connection

    async def run(self, argument: str, prompt: str, on_result: ResultCallback) -> None:
        """Run an AUTH command.

        Args:
            argument: the argument of AUTH: a mechanism and optionally an initial response, ``=`` for an
                empty one (RFC 4954 section 4, RFC 5034 section 4).
            prompt: the prefix of a challenge, ``"334 "`` or ``"+ "``.
            on_result: called with the key of the reply and the authenticated user, or None.

        Raises:
            ConnectionEndedError: the connection ends.
        """
        user: str | None = None
        reply_key = "signed_in"
        try:
            user = await self._exchange(argument, prompt)
        except AuthenticationRefused as refused:
            reply_key = refused.reply_key
        await self.connection.perform("sign_in", lambda: on_result(reply_key, user))

    async def run_password(self, user: str, password: str, on_result: ResultCallback) -> None:
        """Run USER and PASS."""
        reply_key = "signed_in" if self._password_matches(user, password) else "password"
        expected = user if reply_key == "signed_in" else None
        await self.connection.perform("sign_in", lambda: on_result(reply_key, expected))

    async def _exchange(self, argument: str, prompt: str) -> str:
        name, _, initial = argument.partition(" ")
        mechanism = _MECHANISMS.get(name.upper())
        if mechanism is None or name.upper() not in self.state.personality.mechanisms:
            raise AuthenticationRefused("mechanism")
        if initial and not self.behavior.initial_response:
            raise AuthenticationRefused("one_line")
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
            self.connection.reply(text)

        await self.connection.perform("challenge", say)

    async def _response(self) -> bytes:
        if self.connection.buffered:
            self.connection.dialogue.add_violation("a response before its challenge")
        line = await self.connection.read_line()
        # These three responses contain no secret and are useful in the transcript.
        logged = line.decode() if line in {b"", b"*", b"AQ=="} else MASK
        self.connection.dialogue.transcript.client(logged)
        if line == b"*":
            raise AuthenticationRefused("cancelled")
        if len(line) > self.behavior.response_limit:
            raise AuthenticationRefused("long_response")
        return _decode(line.decode("ascii", "replace"))

    def check_bearer(
        self, user: bytes, token: bytes, reasons: Mapping[str, str] | None, acknowledgement: bytes
    ) -> MechanismSteps:
        """Accept a token, or send the reasons, await the acknowledgement, and refuse."""
        name = _decode_text(user)
        provider = self.state.provider
        refusal = provider.check(_decode_text(token), name, self.behavior.scope)
        if refusal is None and name.lower() in self.state.maildrops:
            return name
        if refusal != "unavailable" and reasons is not None:
            challenge = {key: value.replace("{issuer}", provider.issuer) for key, value in reasons.items()}
            if (yield json.dumps(challenge, separators=(",", ":")).encode()) != acknowledgement:
                self.connection.dialogue.add_violation("the reasons of a refusal were not acknowledged")
        raise AuthenticationRefused(refusal or "token")

    def check_password(self, user: str, password: str) -> str:
        """Accept a password, or refuse."""
        if not self._password_matches(user, password):
            raise AuthenticationRefused("password")
        return user

    def _password_matches(self, user: str, password: str) -> bool:
        expected = self.state.passwords.get(user.lower())
        return self.state.personality.passwords and expected is not None and expected == password


def _xoauth2(exchange: SaslExchange) -> MechanismSteps:
    """Google's and Microsoft's mechanism; a refusal's JSON is answered with an empty line."""
    match = _XOAUTH2.fullmatch((yield b""))
    if match is None:
        raise AuthenticationRefused("malformed")
    reasons = exchange.state.personality.xoauth2
    return (yield from exchange.check_bearer(match[1], match[2], reasons, b""))


def _oauthbearer(exchange: SaslExchange) -> MechanismSteps:
    """RFC 7628; a refusal's JSON is answered with one 0x01."""
    match = _OAUTHBEARER.fullmatch((yield b""))
    if match is None:
        raise AuthenticationRefused("malformed")
    pairs = dict(pair.split(b"=", 1) for pair in match[2].split(b"\x01") if pair)
    scheme, _, token = pairs.get(b"auth", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise AuthenticationRefused("malformed")
    port = str(exchange.connection.port).encode()
    if pairs.get(b"host") not in {b"localhost", b"127.0.0.1"} or pairs.get(b"port") != port:
        exchange.connection.dialogue.add_violation("OAUTHBEARER names another host or port")
    user = match[1].replace(b"=2C", b",").replace(b"=3D", b"=")
    reasons = exchange.state.personality.oauthbearer
    return (yield from exchange.check_bearer(user, token, reasons, b"\x01"))


def _plain(exchange: SaslExchange) -> MechanismSteps:
    """RFC 4616; nobody may act as somebody else."""
    fields = _decode_text((yield b"")).split("\0")
    if len(fields) != 3 or fields[0] not in {"", fields[1]}:
        raise AuthenticationRefused("malformed")
    return exchange.check_password(fields[1], fields[2])


def _login(exchange: SaslExchange) -> MechanismSteps:
    """LOGIN, which was never standardised: a user name, then a password."""
    user = yield b"Username:"
    password = yield b"Password:"
    return exchange.check_password(_decode_text(user), _decode_text(password))


def _scram(exchange: SaslExchange) -> MechanismSteps:
    """SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677)."""
    first = re.fullmatch(r"([ny],(?:a=[^,]*)?,)(n=([^,]+),r=([!-+\--~]+))", _decode_text((yield b"")))
    if first is None:
        raise AuthenticationRefused("malformed")
    user = first[3].replace("=2C", ",").replace("=3D", "=")
    password = exchange.state.passwords.get(user.lower())
    if password is None or not exchange.state.personality.passwords:
        raise AuthenticationRefused("password")
    salt, nonce = secrets.token_bytes(16), first[4] + secrets.token_urlsafe(18)
    challenge = f"r={nonce},s={base64.b64encode(salt).decode()},i={_ITERATIONS}"
    final = re.fullmatch(r"(c=([^,]+),r=([^,]+)),p=([^,]+)", _decode_text((yield challenge.encode())))
    if final is None or final[3] != nonce or _decode(final[2]) != first[1].encode():
        raise AuthenticationRefused("malformed")
    salted = hashlib.pbkdf2_hmac("sha256", password.reveal().encode(), salt, _ITERATIONS)
    message = f"{first[2]},{challenge},{final[1]}".encode()
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    if not hmac.compare_digest(proof, _decode(final[4])):
        raise AuthenticationRefused("password")
    verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
    if (yield b"v=" + base64.b64encode(verifier)):
        raise AuthenticationRefused("malformed")
    return user


_MECHANISMS: Final[Mapping[str, Callable[[SaslExchange], MechanismSteps]]] = {
    "XOAUTH2": _xoauth2,
    "OAUTHBEARER": _oauthbearer,
    "PLAIN": _plain,
    "LOGIN": _login,
    "SCRAM-SHA-256": _scram,
}


def mask_auth_command(command: str) -> str:
    """Return an AUTH command with its initial response, or an unknown mechanism, masked."""
    verb, space, argument = command.partition(" ")
    name, _, initial = argument.partition(" ")
    if space and name.upper() not in _MECHANISMS:
        return f"{verb} {MASK}"
    return f"{verb} {name} {MASK}" if initial else command


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise AuthenticationRefused("malformed") from None


def _decode_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise AuthenticationRefused("malformed") from None
