"""A server that says secrets back, in every place and every form: they are seen nowhere on our side."""

from __future__ import annotations

import base64
import io
import json
import logging
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from mailslot import MailError, OAuth, Password, SignInError, StaticToken, Transcript, connect_pop3
from pop3.hostile_server import run_hostile_server

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from pop3.hostile_server import ServerConnection

pytestmark = pytest.mark.virtual_time

USER = "scanner@example.com"
TOKEN = "ya29.A0aRd-QmTc2Nvb3Rlcg_xyz"
PASSWORD = "Hunter2"


def b64(octets: bytes) -> bytes:
    return base64.b64encode(octets)


def forms(secret: str) -> list[bytes]:
    """How a server may say it."""
    plain = secret.encode()
    return [plain, plain.upper(), *(b64(b"x" * lead + plain + b"y" * 3) for lead in range(3))]


def traces(secret: str) -> list[str]:
    """What must be seen nowhere: the secret in any case, and what base64 makes of it at each alignment."""
    coded = [b64(b"x" * lead + secret.encode() + b"y" * 3).decode()[4 : -4 or None] for lead in range(3)]
    return [secret.lower(), *coded]


def everything(error: BaseException, notes: Transcript, logs: str) -> str:
    shown = [str(notes), logs, repr(error), str(error), *traceback.format_exception(error)]
    if isinstance(error, MailError):
        shown += [error.detail, str(error.reply), repr(error.reply)]
    if isinstance(error, SignInError):
        shown.append(json.dumps(dict(error.challenge or {})))
    return "\n".join(shown)


def assert_unseen(secret: str, shown: str) -> None:
    for trace in traces(secret):
        seen = shown if trace != secret.lower() else shown.lower()
        assert trace not in seen, f"{trace!r} in {seen[max(0, seen.index(trace) - 200) :][:400]!r}"


Say = "Callable[[bytes], bytes]"

PLACES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "refusal": ("sign_in", lambda secret: b"-ERR no " + secret + b" here\r\n"),
    "response code": ("sign_in", lambda secret: b"-ERR [" + secret.replace(b"=", b"")[:60] + b"] no\r\n"),
    "detail of a response code": (
        "sign_in",
        lambda secret: b"-ERR [AUTH/" + secret.replace(b"=", b"")[:50] + b"] no\r\n",
    ),
    "no answer at all": ("sign_in", lambda secret: secret + b"\r\n"),
    "garbled challenge": ("sign_in", lambda secret: b"+ (" + secret + b")\r\n"),
    "challenge": ("sign_in", lambda secret: b"+ " + b64(secret) + b"\r\n"),
    "reasons": ("sign_in", lambda secret: b"+ " + b64(b'{"status":"401","scope":"' + secret + b'"}') + b"\r\n"),
    "reasons' names": ("sign_in", lambda secret: b"+ " + b64(b'{"' + secret + b'":"x"}') + b"\r\n"),
    "acceptance": ("in", lambda secret: b"+OK welcome " + secret + b"\r\n"),
}


@pytest.mark.parametrize("form", range(5), ids=["plain", "capitals", "base64", "base64 +1", "base64 +2"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["token", "PLAIN", "PASS"])
async def test_secrets_echoed_during_authentication(
    kind: str,
    place: str,
    form: int,
    client_context: ssl.SSLContext,
    server_context: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = TOKEN if kind == "token" else PASSWORD
    say = PLACES[place][1](forms(secret)[form])
    caplog.set_level(logging.DEBUG)

    async def part(client: ServerConnection) -> None:
        sasl = {"token": b"SASL XOAUTH2\r\n", "PLAIN": b"SASL PLAIN\r\n", "PASS": b"USER\r\n"}[kind]
        await client.send(b"+OK\r\n")
        while line := await client.read_line():
            if line == "CAPA":
                await client.send(b"+OK\r\n", sasl, b".\r\n")
            elif line == "AUTH XOAUTH2":
                await client.send(b"+ \r\n")
                await client.read_line()
                await client.send(say)
                if say.startswith(b"+ "):
                    await client.read_line()
                    await client.send(b"-ERR and again ", forms(secret)[form], b"\r\n")
            elif line.startswith(("AUTH", "PASS")):
                await client.send(say)
            else:
                await client.send(b"-ERR\r\n" if line in {"*", ""} else b"+OK\r\n")

    notes = Transcript()
    auth: Any = OAuth(USER, StaticToken(TOKEN)) if kind == "token" else Password(USER, PASSWORD)
    async with run_hostile_server(part, part, context=server_context) as server:
        error: BaseException = RuntimeError("none")
        try:
            async with connect_pop3(server.endpoint, auth, ssl_context=client_context, timeout=2, transcript=notes):
                assert PLACES[place][0] == "in"
        except MailError as caught:
            error = caught
            assert error.stage == PLACES[place][0]
    assert any("AUTH" in line or "PASS" in line for line in notes.lines)
    assert_unseen(secret, everything(error, notes, caplog.text))


@pytest.mark.parametrize("form", range(5), ids=["plain", "capitals", "base64", "base64 +1", "base64 +2"])
async def test_secrets_echoed_after_authentication(
    form: int, client_context: ssl.SSLContext, server_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    said = forms(TOKEN)[form]
    caplog.set_level(logging.DEBUG)

    async def part(client: ServerConnection) -> None:
        await client.send(b"+OK\r\n")
        while line := await client.read_line():
            if line == "CAPA":
                await client.send(b"+OK ", said, b"\r\nIMPLEMENTATION ", said, b"\r\n.\r\n")
            elif line == "AUTH XOAUTH2":
                await client.send(b"+ \r\n")
                await client.read_line()
                await client.send(b"+OK\r\n")
            elif line == "LIST":
                await client.send(b"+OK ", said, b"\r\n", said, b" 1\r\n.\r\n")
            else:
                await client.send(b"-ERR ", said, b"\r\n")

    notes = Transcript()
    auth = OAuth(USER, StaticToken(TOKEN))
    shown = io.StringIO()
    async with run_hostile_server(part, context=server_context) as server:
        with pytest.raises(MailError) as caught:  # noqa: PT012 - any of it may be where it fails
            # What came before the sign-in cannot be known for what it is, and is not looked at here.
            async with connect_pop3(server.endpoint, auth, ssl_context=client_context, timeout=2) as session:
                session._dialogue.transcript = notes
                for use in (session.stat, session.noop, session.listing):
                    try:
                        await use()
                    except MailError as error:
                        shown.write(everything(error, notes, ""))
                await session.stat()
    assert "IMPLEMENTATION" in str(notes)
    assert_unseen(TOKEN, everything(caught.value, notes, caplog.text) + shown.getvalue())
