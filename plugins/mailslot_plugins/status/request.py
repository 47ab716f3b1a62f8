"""Parses a status request: a word or two in the subject or the first lines, in forms that office devices use.

Nothing can be changed by mail.

- ``status``, ``status supplies``, ``status counters jobs``, ``status all``, as subject or first line
- ``devicestatus?request=sysconfig``, as subject (Ricoh)
- ``#Status``, as a line of the body (Xerox, Fuji Xerox, Epson); a password before it is skipped
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Topic = Literal["device", "supplies", "counters", "jobs"]

ALL_TOPICS: Final[tuple[Topic, ...]] = get_args(Topic)

HELP: Final = """Write one of these as the subject, or as the first line of the mail:

    status
    status supplies
    status counters
    status jobs
    status all

Nothing can be changed by mail.
"""

_TOPIC_WORDS: Final[Mapping[str, tuple[Topic, ...]]] = {
    "device": ("device",),
    "config": ("device",),
    "supplies": ("supplies",),
    "supply": ("supplies",),
    "counters": ("counters",),
    "counter": ("counters",),
    "jobs": ("jobs",),
    "all": ALL_TOPICS,
}
_RICOH_REQUESTS: Final[Mapping[str, tuple[Topic, ...]]] = {
    "sysconfig": ("device",),
    "netconfig": ("device",),
    "prtconfig": ("device",),
    "supply": ("supplies",),
    "status": ("device", "jobs"),
}
_PREFIX: Final = re.compile(r"(?:(?:re|fwd?|aw|wg|antw|sv|vs|tr|rv|res|ref|odp)\s*(?:\[\d+\])?\s*:\s*)+", re.IGNORECASE)
_MAX_LINES: Final = 20
_MAX_WORDS: Final = 8


@dataclass(frozen=True, slots=True)
class Request:
    """A status request.

    Attributes:
        topics: in the order of the answer; empty if nothing was understood.
        unknown: words that were not understood, as written.
    """

    topics: tuple[Topic, ...] = ()
    unknown: tuple[str, ...] = ()


def parse_request(subject: str, lines: Iterable[str]) -> Request:
    """Parse a mail's request; never fails.

    Args:
        subject: its subject, decoded.
        lines: the first lines of its text, decoded.
    """
    plain = _PREFIX.sub("", " ".join(subject.split()), count=1).strip()
    ricoh = re.fullmatch(r"devicestatus\?(\S{1,200})", plain, re.IGNORECASE)
    if ricoh:
        return _parse_ricoh(ricoh[1])
    if (found := _parse_words(plain)) is not None:
        return found
    written = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith(">")][:_MAX_LINES]
    commands = [line for line in written if line.startswith("#")]
    if commands:
        return _parse_commands(commands)
    if written and (found := _parse_words(written[0])) is not None:
        return found
    shown = plain or (written[0] if written else "")
    return Request(unknown=(shown[:80],) if shown else ())


def _parse_words(line: str) -> Request | None:
    """Parse a line ``status …``; None for any other line."""
    first, *words = re.split(r"[\s,;]+", line.strip(" \t.!?").casefold())[: _MAX_WORDS + 1]
    if first != "status":
        return None
    known = [_TOPIC_WORDS[word] for word in words if word in _TOPIC_WORDS]
    unknown = tuple(word[:40] for word in words if word not in _TOPIC_WORDS)
    if not known and not unknown:
        return Request(("device",))
    return Request(_in_order(known), unknown)


def _parse_ricoh(query: str) -> Request:
    fields = {key: value for key, _, value in (part.partition("=") for part in query.casefold().split("&"))}
    request = fields.get("request", "")
    topics = _RICOH_REQUESTS.get(request)
    return Request(unknown=(f"request={request[:40]}",)) if topics is None else Request(topics)


def _parse_commands(lines: Sequence[str]) -> Request:
    """Parse lines ``#Command``; a repeated one counts once."""
    topics: list[tuple[Topic, ...]] = []
    unknown: list[str] = []
    for line in lines:
        name = line[1:].split(maxsplit=1)[0].casefold() if line[1:].strip() else ""
        if name == "status":
            topics.append(ALL_TOPICS)
        elif name == "networkinfo":
            topics.append(("device",))
        elif name != "password":  # the password is ignored and not repeated
            unknown.append(f"#{name[:40]}")
    return Request(_in_order(topics), tuple(dict.fromkeys(unknown)))


def _in_order(topics: Iterable[tuple[Topic, ...]]) -> tuple[Topic, ...]:
    wanted = {topic for some in topics for topic in some}
    return tuple(topic for topic in ALL_TOPICS if topic in wanted)
