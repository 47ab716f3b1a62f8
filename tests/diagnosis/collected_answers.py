"""What POP3 servers, token services, panels and other clients really say, read from ``collection/``.

Its README tells the fields.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_args

from diagnosis.collected import FOLDER, Half, Part, key_of

HALVES: Final[tuple[Half, ...]] = get_args(Half)
PARTS: Final[tuple[Part, ...]] = get_args(Part)


@dataclass(frozen=True, kw_only=True)
class CollectedEntry:
    """The fields that every entry has."""

    cause: str
    accept: tuple[str, ...] = ()
    actor: str
    token_helps: bool
    source: str
    language: str

    @property
    def accepted_causes(self) -> frozenset[str]:
        """The causes that are accepted for this entry."""
        return frozenset({self.cause, *self.accept})

    @property
    def key(self) -> str:
        """The words and their circumstances: without case, blanks and punctuation."""
        return key_of(*self._said())

    def _said(self) -> tuple[str, ...]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Pop3Refusal(CollectedEntry):
    """A refusal by a POP3 server."""

    protocol: str
    stage: str
    verb: str
    mechanism: str = ""
    text: str = ""
    line: str = ""
    challenge: str = ""
    authentication: str

    def _said(self) -> tuple[str, ...]:
        return self.text, self.line, self.challenge, self.authentication


@dataclass(frozen=True, kw_only=True)
class TokenServiceRefusal(CollectedEntry):
    """A refusal by a token service, or by what stands before it."""

    request: str
    grant: str = ""
    status: int
    content_type: str
    body: str

    def _said(self) -> tuple[str, ...]:
        return self.request, self.grant, str(self.status), self.body


@dataclass(frozen=True, kw_only=True)
class DisplayedText(CollectedEntry):
    """What a panel, a log or another client shows."""

    where: str
    text: str

    def _said(self) -> tuple[str, ...]:
        return (self.text,)


_Entry = TypeVar("_Entry", bound=CollectedEntry)


def _read(half: Part, name: str, kind: type[_Entry]) -> list[_Entry]:
    entries: list[dict[str, Any]] = tomllib.loads((FOLDER / f"{half}-{name}.toml").read_text("utf-8"))["entry"]
    for entry in entries:
        entry["accept"] = tuple(entry.get("accept", ()))
    return [kind(**entry) for entry in entries]


def pop3_refusals(half: Part) -> list[Pop3Refusal]:
    """Read one part of what POP3 servers say.

    Raises:
        TypeError: an entry lacks a field, or has one that is none. So for the two below.
    """
    return _read(half, "pop3", Pop3Refusal)


def token_service_refusals(half: Part) -> list[TokenServiceRefusal]:
    """Read one part of what token services answer."""
    return _read(half, "token", TokenServiceRefusal)


def displayed_texts(half: Part) -> list[DisplayedText]:
    """Read one part of what panels, logs and other clients show."""
    return _read(half, "shown", DisplayedText)
