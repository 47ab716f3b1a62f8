"""Parsing scripts into steps."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

_LINE: Final = re.compile(r"(?P<kind>S:|S~|C:) ?(?P<text>.*)|!(?P<action>tls|starttls|close|reset|silence)")

_PLACEHOLDER: Final = re.compile(
    rb"\{(?:(?P<count>\d+)\*(?P<what>[^{}]+)|b64:(?P<b64>.*)|(?P<name>[a-z]\w*(?::\d)?))\}", re.DOTALL
)

_ANY: Final = b"{any}"


@dataclass(frozen=True)
class Step:
    """One step of a dialogue.

    Attributes:
        kind: `send` for the server's octets, `expect` for the client's, or the name of an action.
        text: the lines of the script.
        octets: the octets of the lines. `{any}` is not replaced; they are empty for `C: {message}` without a message.
    """

    kind: Literal["send", "expect", "tls", "starttls", "close", "reset", "silence"]
    text: str
    octets: bytes = b""

    def matches(self, sent: bytes) -> bool:
        """Whether these octets are what the client has to send."""
        if self.text == "C: {message}" and not self.octets:
            return True
        return re.fullmatch(re.escape(self.octets).replace(re.escape(_ANY), rb"[^\r\n]*"), sent) is not None


def parse_script(
    script: str, *, message: bytes | None = None, placeholders: Mapping[str, str] | None = None, port: int = 0
) -> list[list[Step]]:
    """Parse a script, to play it differently, for example to a protocol core without I/O.

    Args:
        script: its lines.
        message: as in `scripted_server`.
        placeholders: as in `scripted_server`.
        port: the value of `{port}`.

    Returns:
        the steps of each connection.

    Raises:
        ValueError: a line is malformed, or a placeholder is unknown.
    """
    values = {"port": str(port), **(placeholders or {})}
    if message is not None:
        values["size"] = str(len(message))
    connections: list[list[Step]] = [[]]
    for number, line in enumerate(dedent(script).split("\n"), 1):
        steps = connections[-1]
        if line == "!connection":
            connections.append([])
        elif line and not line.startswith("#"):
            try:
                step = _step(line, message, values)
            except ValueError as error:
                raise ValueError(f"line {number} of the script, {line!r}: {error}") from None
            if step.kind == "send" and steps and steps[-1].kind == "send":
                before = steps.pop()
                step = Step("send", f"{before.text}\n{line}", before.octets + step.octets)
            steps.append(step)
    return connections


def _step(line: str, message: bytes | None, values: Mapping[str, str]) -> Step:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("it is not a valid line of a script")
    if match["action"]:
        return Step(match["action"], line)  # type: ignore[arg-type]  # one of them
    kind: Literal["send", "expect"] = "expect" if match["kind"] == "C:" else "send"
    if kind == "expect" and match["text"] == "{message}":
        return Step(kind, line, b"" if message is None else _stuffed(message))
    if kind == "expect" and match["text"] == "{octets}":
        return Step(kind, line, _given(message))
    octets = _fill(unescape(match["text"]), message, values)
    return Step(kind, line, octets if match["kind"] == "S~" else octets + b"\r\n")


def _fill(octets: bytes, message: bytes | None, values: Mapping[str, str]) -> bytes:
    """Replace the placeholders."""

    def value(match: re.Match[bytes]) -> bytes:
        if match["count"]:
            return match["what"] * int(match["count"])
        if match["b64"] is not None:
            return base64.b64encode(_fill(match["b64"], message, values))
        name = match["name"].decode()
        if name == "message":
            return _stuffed(_given(message)).removesuffix(b"\r\n")
        if name in values:
            return _fill(values[name].encode(), message, values)
        if match[0] != _ANY:
            raise ValueError(f"{{{name}}} is unknown")
        return _ANY

    return _PLACEHOLDER.sub(value, octets)


def _given(message: bytes | None) -> bytes:
    if message is None:
        raise ValueError("no message is given")
    return message


def unescape(text: str) -> bytes:
    r"""Return the octets of a text, with `\xNN` replaced."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes.fromhex(match[1].decode()), text.encode())


def _stuffed(message: bytes) -> bytes:
    """Return a message with stuffed dots and the final dot."""
    return re.sub(rb"^\.", b"..", message, flags=re.MULTILINE) + b".\r\n"
