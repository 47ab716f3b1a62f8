"""Dialogues written down in ``fixtures/``: read from their files. The format is described in ``fixtures/README.md``."""

from __future__ import annotations

import base64
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

FIXTURES: Final = Path(__file__).parent.parent / "fixtures"

MESSAGE: Final = b"Subject: Greetings\r\n\r\nHello.\r\n.\r\n..two dots\r\n"
"""The message of every transcript that has no ``M:`` lines of its own."""

Happening = Literal["tls", "starttls", "close", "reset", "silence"]


@dataclass(frozen=True)
class Server:
    """Octets that the server sends: all that it says at once."""

    octets: bytes


@dataclass(frozen=True)
class Client:
    """A line, or a message, that the client has to send."""

    text: str
    octets: bytes
    pattern: re.Pattern[bytes]

    @property
    def is_message(self) -> bool:
        """Whether it is no line: ``{message}`` or ``{octets}``."""
        return self.text in {"{message}", "{octets}"}


Step = Server | Client | Happening


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
        port: the server's port, which OAUTHBEARER names.
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
        happenings = {step for steps in self.connections for step in steps if isinstance(step, str)}
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

    def at(self, port: int) -> Transcript:
        """Return the same dialogue with a server at another port."""
        return parse(self.name, self.text, port)


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
        transcript.message = b"".join(_unescape(line) + b"\r\n" for line in own)
    for line in lines:
        if line.startswith("#"):
            _header(transcript, line[1:])
    transcript.connections.append([])
    for number, line in enumerate(lines, 1):
        steps = transcript.connections[-1]
        if not line or line.startswith("#") or re.match("M:( |$)", line):
            continue
        if line == "!connection":
            transcript.connections.append([])
        elif line in {"!tls", "!starttls", "!close", "!reset", "!silence"}:
            steps.append(line[1:])  # type: ignore[arg-type]  # one of those five
        elif match := re.fullmatch("(S[:~]) ?(.*)", line):
            octets = _fill(transcript, match[2]) + (b"\r\n" if match[1] == "S:" else b"")
            if steps and isinstance(steps[-1], Server):
                octets = steps.pop().octets + octets  # type: ignore[union-attr]  # it is one
            steps.append(Server(octets))
        elif match := re.fullmatch("C: ?(.*)", line):
            steps.append(_client(transcript, match[1]))
        else:
            raise ValueError(f"{name}, line {number}: {line!r}")
    for wanted in ("source", "protocol"):
        if wanted not in transcript.header:
            raise ValueError(f"{name}: no '# {wanted.capitalize()}:'")
    if not transcript.calls:
        raise ValueError(f"{name}: no '# Call:' or '# Expect:'")
    return transcript


def stuffed(message: bytes) -> bytes:
    """Return a message with CRLF line ends as it travels, final dot included."""
    return re.sub(rb"^\.", b"..", message, flags=re.MULTILINE) + b".\r\n"


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


def _client(transcript: Transcript, text: str) -> Client:
    if text == "{message}":
        octets = stuffed(transcript.message)
    elif text == "{octets}":
        octets = transcript.message
    else:
        octets = _fill(transcript, text) + b"\r\n"
    return Client(text, octets, re.compile(re.escape(octets).replace(re.escape(b"{any}"), b"[^\r\n]*")))


_PLACEHOLDER: Final = re.compile(
    rb"\{(?:(?P<count>\d+)\*(?P<what>[^{}]+)"
    rb"|b64:(?P<b64>.*)"
    rb"|(?P<mechanism>xoauth2|oauthbearer)(?::(?P<nth>\d))?"
    rb"|(?P<name>plain|message|size))\}",
    re.DOTALL,
)


def _fill(transcript: Transcript, text: str) -> bytes:
    """Return octets, with placeholders and escaped octets made what they stand for."""

    def value(match: re.Match[bytes]) -> bytes:
        if match["count"]:
            return match["what"] * int(match["count"])
        if match["b64"] is not None:
            return base64.b64encode(match["b64"])
        if match["name"] == b"message":
            return stuffed(transcript.message).removesuffix(b"\r\n")
        if match["name"] == b"size":
            return b"%d" % len(transcript.message)
        user = transcript.auth["user"]
        if match["name"] == b"plain":
            return base64.b64encode(f"\0{user}\0{transcript.auth['password']}".encode())
        token = transcript.tokens[int(match["nth"] or 1) - 1]
        first = f"user={user}"
        if match["mechanism"] == b"oauthbearer":
            first = f"n,a={user},\x01host=127.0.0.1\x01port={transcript.port}"
        return base64.b64encode(f"{first}\x01auth=Bearer {token}\x01\x01".encode())

    return _PLACEHOLDER.sub(value, _unescape(text))


def _unescape(text: str) -> bytes:
    return re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes.fromhex(match[1].decode()), text.encode())
