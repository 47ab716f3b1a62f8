"""What servers, clients and panels really say, with its source and its cause.

It is read from the tables, the transcripts, and the half of the collection of real texts that row writers may read.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mailslot.causes.rules import table as rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ROOT: Final = Path(__file__).parents[2]
_COLLECTION: Final = _ROOT / "tests" / "diagnosis" / "collection"
_REPLY: Final = re.compile(r"([45]\d\d)(?:[ -]([45]\.\d{1,3}\.\d{1,3})\b)?[ -]?(.*)", re.DOTALL)
_REFUSING: Final = re.compile(r"^S: ([45]\d\d[ -].*|-ERR.*)$", re.MULTILINE)
_EXPECT: Final = re.compile(r"^# Expect: .*", re.MULTILINE)
_EXPECTED: Final = re.compile(r"\b(cause|code|enhanced)=(\S+)")
_SOURCE: Final = re.compile(r"^# Source: (?!RFC |draft-)(.+)$", re.MULTILINE)
"""Where words were really said: not a dialogue of ours that shows what an RFC demands."""


class Quotation(NamedTuple):
    """A text that was really said.

    Attributes:
        kind: ``smtp``, ``pop3``, ``token`` or ``shown``.
        cause: what it means.
        code: SMTP's reply code and enhanced status code; empty elsewhere.
        text: the words.
        source: where they can be read.
        who: the program or the maker, of ``shown``.
    """

    kind: str
    cause: str
    code: str
    text: str
    source: str
    who: str = ""


@cache
def quotations() -> tuple[Quotation, ...]:
    """Return all quotations, each once."""
    unique: dict[tuple[str, str, str], Quotation] = {}
    for each in (*_collected(), *_of_rules(), *_of_transcripts()):
        unique.setdefault((each.cause, each.code, each.text.casefold()), each)
    return tuple(sorted(unique.values()))


def _collected() -> Iterator[Quotation]:
    for kind in ("smtp", "pop3", "token", "shown"):
        entries: list[dict[str, Any]] = tomllib.loads((_COLLECTION / f"seen-{kind}.toml").read_text("utf-8"))["entry"]
        for entry in entries:
            code = f"{entry['code']} {entry['enhanced']}".strip() if kind == "smtp" else ""
            text = entry.get("text") or entry.get("line") or entry.get("body") or ""
            if kind == "pop3" and "text" in entry:
                text = f"-ERR {text}"
            if kind == "token":
                text = f"{entry['status']} {text}"
            yield Quotation(kind, entry["cause"], code, _one_line(text), entry["source"], entry.get("where", ""))


def _of_rules() -> Iterator[Quotation]:
    for rule in rules().rules:
        for example in rule.examples:
            yield _of_reply(example, rule.cause, rule.source)


def _of_transcripts() -> Iterator[Quotation]:
    for path in sorted((_ROOT / "fixtures").glob("*/*.txt")):
        text = path.read_text("utf-8")
        expected = dict(_EXPECTED.findall(" ".join(_EXPECT.findall(text))))
        source = _SOURCE.search(text)
        said = list(dict.fromkeys(reply for reply in _REFUSING.findall(text) if _is_expected(reply, expected)))
        # Of several refusals in a dialogue, nobody can tell here which one the cause is about.
        if "cause" in expected and source and len(said) == 1:
            yield _of_reply(said[0], expected["cause"], source[1])


def _is_expected(reply: str, expected: Mapping[str, str]) -> bool:
    match = _REPLY.fullmatch(reply)
    named = ("", "") if match is None else (match[1], match[2] or "")
    return "{" not in reply and all(
        expected.get(name, value) == value for name, value in zip(("code", "enhanced"), named, strict=True) if value
    )


def _of_reply(line: str, cause: str, source: str) -> Quotation:
    if match := _REPLY.fullmatch(line):
        return Quotation("smtp", cause, f"{match[1]} {match[2] or ''}".strip(), _one_line(match[3]), source)
    return Quotation("pop3", cause, "", _one_line(line), source)


def _one_line(text: str) -> str:
    return " ".join(text.split())
