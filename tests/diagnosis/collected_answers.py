"""What POP3 servers, token services, panels and other clients really say, read from ``collection/``.

Each text was judged by reading it: what does it mean to the person in front of the device, who must act, and does
obtaining the token again help? It was collected and judged without a look at the rows that recognise answers, so that
it can measure them. Whoever writes or changes rows reads the ``seen-`` files only; the ``unseen-`` files are for
counting. Where several causes are right, who acts and whether a token helps follow from the first. Addresses and hosts
of people became example ones.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

FOLDER: Final = Path(__file__).parent / "collection"

Half = Literal["seen", "unseen"]
HALVES: Final[tuple[Half, ...]] = get_args(Half)


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What every entry tells."""

    cause: str
    """What it means, an id of ``causes.toml``; ``unknown`` where nobody can tell."""

    accept: tuple[str, ...] = ()
    """Other ids that are right as well."""

    actor: str
    """Who must act; ``""``: nobody."""

    token_helps: bool
    """Whether obtaining the token again can help."""

    source: str
    """Where it can be read."""

    language: str
    """Of the text, as in ISO 639-1."""

    @property
    def right(self) -> frozenset[str]:
        """Every cause that is right."""
        return frozenset({self.cause, *self.accept})

    @property
    def key(self) -> str:
        """What was said and when, without case, blanks and punctuation."""
        return "|".join(re.sub(r"[\W_]+", " ", part.casefold()).strip() for part in self._said())

    def _said(self) -> tuple[str, ...]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Pop3Refusal(Collected):
    """A refusal by a POP3 server."""

    protocol: str
    """``pop3``."""

    stage: str
    """Where it was said, as in ``mailslot.errors.Stage``."""

    verb: str
    """What it answers: a value of ``mailslot.pop3.states.Verb``."""

    mechanism: str = ""
    """Of an ``AUTH``."""

    text: str = ""
    """What follows ``-ERR``, response codes included."""

    line: str = ""
    """The whole line, where it is no answer of POP3."""

    challenge: str = ""
    """The JSON that the server sent before, decoded."""

    authentication: str
    """``oauth2`` or ``password``."""

    def _said(self) -> tuple[str, ...]:
        return self.text, self.line, self.challenge, self.authentication


@dataclass(frozen=True, kw_only=True)
class TokenAnswer(Collected):
    """A refusal by a token service, or by what stands before it."""

    request: str
    """What was asked: ``refresh``, ``device_authorization``, ``revocation``, or for a token by ``device_code``,
    ``authorization_code`` or ``client_credentials``."""

    grant: str = ""
    """How the refresh token was obtained, where that matters: ``device_code`` or ``authorization_code``."""

    status: int
    content_type: str
    body: str

    def _said(self) -> tuple[str, ...]:
        return self.request, self.grant, str(self.status), self.body


@dataclass(frozen=True, kw_only=True)
class Shown(Collected):
    """What a panel, a log or another client shows."""

    where: str
    """The maker of the device, or the program."""

    text: str

    def _said(self) -> tuple[str, ...]:
        return (self.text,)


def half_of(key: str) -> Half:
    """Return the half that an entry with these words belongs to: the same for ever, whatever else is collected."""
    return "unseen" if hashlib.sha256(f"half:{key}".encode()).digest()[0] % 2 else "seen"


_Entry = TypeVar("_Entry", bound=Collected)


def _read(half: Half, name: str, kind: type[_Entry]) -> list[_Entry]:
    entries: list[dict[str, Any]] = tomllib.loads((FOLDER / f"{half}-{name}.toml").read_text("utf-8"))["entry"]
    for entry in entries:
        entry["accept"] = tuple(entry.get("accept", ()))
    return [kind(**entry) for entry in entries]


def pop3_refusals(half: Half) -> list[Pop3Refusal]:
    """Read one half of what POP3 servers say.

    Raises:
        TypeError: an entry lacks a field, or has one that is none. So for the two below.
    """
    return _read(half, "pop3", Pop3Refusal)


def token_answers(half: Half) -> list[TokenAnswer]:
    """Read one half of what token services answer."""
    return _read(half, "token", TokenAnswer)


def shown(half: Half) -> list[Shown]:
    """Read one half of what panels, logs and other clients show."""
    return _read(half, "shown", Shown)
