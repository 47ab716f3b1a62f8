"""What mail servers really say, read from ``collection/``, whose README tells the fields."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

FOLDER: Final = Path(__file__).parent / "collection"

Half = Literal["seen", "unseen"]

Part = Literal["seen", "unseen", "third", "fourth", "fifth"]
"""A half, or what was collected later and is not divided."""


@dataclass(frozen=True)
class Refusal:
    """One entry of the collection; its README says what each field is."""

    protocol: str
    stage: str
    verb: str
    code: int
    enhanced: str
    text: str
    authentication: str
    cause: str
    actor: str
    token_helps: bool
    provider: str
    source: str
    language: str
    challenge: str = ""
    accept: tuple[str, ...] = ()

    @property
    def accepted_causes(self) -> frozenset[str]:
        """The causes that are accepted for this entry."""
        return frozenset({self.cause, *self.accept})

    @property
    def key(self) -> str:
        """The text without case, blanks and punctuation."""
        return key_of(self.text, self.challenge)


def key_of(*parts: str) -> str:
    """Return the text without case, blanks and punctuation."""
    return "|".join(re.sub(r"[\W_]+", " ", part.casefold()).strip() for part in parts)


def half_of(key: str) -> Half:
    """Return the half of an entry with this key; it does not depend on other entries."""
    return "unseen" if hashlib.sha256(f"half:{key}".encode()).digest()[0] % 2 else "seen"


def smtp_refusals(half: Part) -> list[Refusal]:
    """Read one part of what SMTP servers say.

    Raises:
        TypeError: an entry lacks a field, or has one that is none.
    """
    entries: list[dict[str, Any]] = tomllib.loads((FOLDER / f"{half}-smtp.toml").read_text("utf-8"))["entry"]
    for entry in entries:
        entry["accept"] = tuple(entry.get("accept", ()))
    return [Refusal(**entry) for entry in entries]
