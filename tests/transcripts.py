"""Dialogues written down in ``fixtures/``, read from their files and played. ``fixtures/README.md`` has the format."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from mailslot import Security
from mailslot.testing import parse_script, scripted_server
from mailslot.testing.script import unescape

if TYPE_CHECKING:
    import ssl
    from contextlib import AbstractAsyncContextManager

    from mailslot.testing import ScriptedServer, Step

FIXTURES: Final = Path(__file__).parent.parent / "fixtures"

MESSAGE: Final = b"Subject: Greetings\r\n\r\nHello.\r\n.\r\n..two dots\r\n"
"""The message of every transcript that has no ``M:`` lines of its own."""


@dataclass(frozen=True)
class Call:
    """What is asked of the session, and what comes of it.

    Attributes:
        verb: ``"connect"``, or a method of the session.
        arguments: what it is called with, as written.
        outcome: ``"ok"``, or ``"error"``.
        expected: what is known about the outcome, as written.
    """

    verb: str
    arguments: dict[str, str]
    outcome: str
    expected: dict[str, str]


@dataclass
class Transcript:
    """One file.

    Attributes:
        name: the file's name without its ending.
        header: the values of the ``#`` lines by name, in lower case; of the calls see below.
        calls: what is done, in order; empty where only a connection is made.
        connections: for each connection that the client makes, the dialogue.
        message: what ``{message}`` stands for.
        port: the server's port in these dialogues, which OAUTHBEARER names.
    """

    name: str
    text: str = field(repr=False)
    port: int
    header: dict[str, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    connections: list[list[Step]] = field(default_factory=list)
    message: bytes = MESSAGE

    @property
    def security(self) -> Literal["none", "starttls", "tls"]:
        """How the connection is encrypted, as `mailslot.Security` calls it."""
        if "security" in self.header:
            return self.header["security"]  # type: ignore[return-value]  # one of the three
        happenings = {step.kind for steps in self.connections for step in steps}
        return "tls" if "tls" in happenings else "starttls" if "starttls" in happenings else "none"

    @property
    def auth(self) -> dict[str, str]:
        """``kind`` (``oauth``, ``password`` or ``none``), ``user``, ``token``, ``password``, ``mechanism``."""
        kind, *rest = shlex.split(self.header.get("auth", "none"))
        return {"kind": kind, **_pairs(rest)}

    @property
    def tokens(self) -> list[str]:
        """The tokens that the source gives, one at each call; the last one again from then on."""
        return self.auth.get("token", "").split(",")

    @property
    def script(self) -> str:
        """The text without the lines of the message."""
        return re.sub("^M:( .*)?$", "#", self.text, flags=re.MULTILINE)

    @property
    def placeholders(self) -> dict[str, str]:
        """The credentials as each mechanism sends them."""
        user = self.auth.get("user")
        found = {"plain": f"{{b64:\0{user}\0{self.auth.get('password')}}}"}
        for number, token in enumerate(self.tokens, 1):
            nth, bearer = f":{number}" if number > 1 else "", f"auth=Bearer {token}\1\1"
            found[f"xoauth2{nth}"] = f"{{b64:user={user}\1{bearer}}}"
            found[f"oauthbearer{nth}"] = f"{{b64:n,a={user},\1host=127.0.0.1\1port={{port}}\1{bearer}}}"
        return found


def load(protocol: Literal["smtp", "pop3"]) -> list[Transcript]:
    """Return every transcript of a protocol."""
    return [read(path) for path in sorted((FIXTURES / protocol).glob("*.txt"))]


def read(path: Path) -> Transcript:
    """Read a transcript."""
    return parse(path.stem, path.read_text("utf-8"))


def parse(name: str, text: str, port: int = 587) -> Transcript:
    """Read a transcript from its text.

    Raises:
        ValueError: a line is none of the format's; the message names it.
    """
    transcript = Transcript(name, text, port)
    lines = text.split("\n")
    own = [line[3:] for line in lines if re.match("M:( |$)", line)]
    if own:
        transcript.message = b"".join(unescape(line) + b"\r\n" for line in own)
    for line in lines:
        if line.startswith("#"):
            _header(transcript, line[1:])
    for wanted in ("source", "protocol"):
        if wanted not in transcript.header:
            raise ValueError(f"{name}: no '# {wanted.capitalize()}:'")
    if not transcript.calls:
        raise ValueError(f"{name}: no '# Call:' or '# Expect:'")
    transcript.connections = parse_script(
        transcript.script, message=transcript.message, placeholders=transcript.placeholders, port=port
    )
    return transcript


def playing(
    transcript: Transcript, context: ssl.SSLContext | None = None, *, cut: bool = False
) -> AbstractAsyncContextManager[ScriptedServer]:
    """Play a transcript's server.

    Args:
        transcript: what is to be said.
        context: the server's certificate, for TLS.
        cut: whether each octet is sent by itself.
    """
    return scripted_server(
        transcript.script,
        message=transcript.message,
        placeholders=transcript.placeholders,
        ssl_context=context,
        security=Security(transcript.security),
        chunk_size=1 if cut else None,
    )


def _header(transcript: Transcript, line: str) -> None:
    name, colon, value = line.partition(":")
    name, value = name.strip().lower(), value.strip()
    if not colon or " " in name:
        return
    if name == "call":
        verb, *rest = shlex.split(value)
        transcript.calls.append(Call(verb, _pairs(rest), "", {}))
    elif name == "expect":
        first, *rest = shlex.split(value)
        outcome, pairs = ("ok", _pairs(rest)) if first == "ok" else ("error", _pairs([first, *rest]))
        call = transcript.calls.pop() if transcript.calls and not transcript.calls[-1].outcome else None
        call = call or Call("connect", {}, "", {})
        transcript.calls.append(Call(call.verb, call.arguments, outcome, pairs))
    else:
        transcript.header[name] = value


def _pairs(words: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in words)}
