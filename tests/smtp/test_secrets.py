"""Secrets that a server echoes are shown neither in clear nor in base64."""

from __future__ import annotations

import base64
import logging
import traceback
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from mailslot import MailError, OAuth, Password, Security, Transcript, connect_smtp
from mailslot_plugins.conformance.doubles import ListedTokenSource
from smtp.servers import MESSAGE, SENDER, TO, ServerConnection, serving

if TYPE_CHECKING:
    import ssl

    from mailslot.sasl.credentials import Credentials

pytestmark = pytest.mark.virtual_time

USER = "scanner@example.com"
TOKENS = ("ya29.A0ARrdaM-first-0123456789_abcdefghijklmnopqrstuvw", "eyJhbGciOiJub25lIn0.second.ABCDEFGHIJKLMNOPQRST")
PASSWORD = "correct-horse-battery-staple"

# What a server makes of the line that holds the secret, itself or decoded.
ECHOES = {
    "the line": lambda line: line,
    "what it says": lambda line: base64.b64decode(line.split()[-1]).decode().replace("\0", " ").replace("\x01", " "),
    "shifted": lambda line: base64.b64encode(b"x" + base64.b64decode(line.split()[-1])).decode(),
    "in capitals": lambda line: (
        base64.b64decode(line.split()[-1]).decode().replace("\0", " ").replace("\x01", " ").upper()
    ),
    "cut": lambda line: base64.b64decode(line.split()[-1])[30:60].decode(errors="replace"),
}

# Where it says it.
PLACES = {
    "refusal": "535 5.7.8 I do not like {}",
    "temporary": "454 4.7.0 later {}",
    "bare": "535 {}",
    "lines": "535-5.7.8 no\r\n535 5.7.8 {}",
    "farewell": "421 4.7.0 {}",
    "challenge": "334 {}",
    "garbage": "{}",
    "garbage behind a code": "535x{}",
    "mixed": "535-{}\r\n550 no",
    "success": "235 2.7.0 {}",
}


def traces(secrets: tuple[str, ...]) -> set[str]:
    """Return what must not be found: any twelve characters in a row, of a secret or its base64, in small letters."""
    forms = []
    for secret in secrets:
        forms.append(secret)
        for lead in range(3):
            coded = base64.b64encode(b"\0" * lead + secret.encode()).decode()
            forms.append(coded[4 if lead else 0 : -4])
    return {form[at : at + 12].lower() for form in forms for at in range(len(form) - 11)}


def chain(error: BaseException | None) -> str:
    """Return everything that can be read of an exception."""
    text = ""
    while error is not None:
        text += "".join(traceback.format_exception(error)) + repr(error) + str(error) + repr(vars(error))
        error = error.__cause__ or error.__context__
    return text


@pytest.mark.parametrize("kind", ["token", "password"])
@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("place", PLACES)
async def test_secrets_echoed_by_the_server_are_masked(
    place: str,
    echo: str,
    kind: str,
    client_context: ssl.SSLContext,
    server_context: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets: tuple[str, ...] = TOKENS if kind == "token" else (PASSWORD,)
    said = ""

    async def server(wire: ServerConnection) -> None:
        nonlocal said
        await wire.start_tls(server_context)
        await wire.greet("AUTH XOAUTH2 PLAIN", "PIPELINING")
        while (line := await wire.line()) != "QUIT":
            if line == "AUTH XOAUTH2":
                await wire.say("334 ")
                continue
            if line == "*":
                await wire.say(f"501 5.5.2 {said}")
                continue
            if line.startswith("MAIL"):
                await wire.lines(2)
                await wire.say(f"550 5.7.1 {said}", f"503 {said}", f"503 {said}")
                continue
            if line:
                said = ECHOES[echo](line)
            await wire.say(*PLACES[place].format(said).split("\r\n"))

    notes = Transcript()
    seen = ""
    auth: Credentials = (
        OAuth(USER, ListedTokenSource(*TOKENS), "XOAUTH2") if kind == "token" else Password(USER, PASSWORD)
    )
    async with serving(server, Security.TLS) as running:
        try:
            async with connect_smtp(
                running.endpoint, auth, ssl_context=client_context, transcript=notes, timeout=1
            ) as smtp:
                seen += repr(smtp) + repr(vars(smtp)) + repr(smtp.capabilities)
                await smtp.submit(SENDER, TO, MESSAGE)
        except MailError as error:
            seen += chain(error) + (repr(error.reply) + str(error.reply) if error.reply else "")
            seen += repr(getattr(error, "challenge", None))
        await anyio.lowlevel.checkpoint()
    assert said
    seen += str(notes) + caplog.text + repr(auth)
    lowered = seen.lower()
    assert "•••" in seen
    found = {trace for trace in traces(secrets) if trace in lowered}
    assert not found, seen
