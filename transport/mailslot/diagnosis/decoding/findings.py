"""Findings about one SASL message or token, with sentences in every language in ``sentences.toml``."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from mailslot.diagnosis.decoding.shapes import token_shapes
from mailslot.oauth.token_errors import shorten
from mailslot.wire.secret import MASK, Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mailslot.wire.redact import Redactor

MAX_FACT: Final = 255
"""Characters of the longest value that is shown."""

MAX_LIST: Final = 20
"""Values of the longest list that is shown."""

MAX_HIDDEN: Final = 4_096
"""Characters of a secret that are searched for in values."""

_LONG: Final = re.compile(r"[A-Za-z0-9+_=-]{60,}|eyJ[\w-]{8,}\.[\w-]+")
"""Matches texts that look like a secret, and unlike a name or address."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement.

    Attributes:
        id: its row in ``sentences.toml``.
        facts: the values in its sentence.
    """

    id: str
    facts: Mapping[str, str | list[str]] = field(default_factory=dict[str, "str | list[str]"])

    @property
    def is_fault(self) -> bool:
        """Whether it says that something is wrong."""
        return bool(sentences()[self.id].get("fault"))

    def sentence(self, language: str) -> str:
        """Return the statement in a language of the catalogue."""
        shown = {name: value if isinstance(value, str) else ", ".join(value) for name, value in self.facts.items()}
        return str(sentences()[self.id][language]).format_map(shown)


class Piece:
    """The findings about one message or token. The first one names its kind.

    Every value is shortened, made printable, and masked if it is or contains a secret.

    Args:
        redactor: has the secrets of the whole text; the secrets of this piece are added to it.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._found: list[tuple[str, dict[str, object]]] = []
        self._redactor = redactor

    @property
    def ids(self) -> set[str]:
        """The ids of the findings."""
        return {finding for finding, _ in self._found}

    def add(self, finding: str, **facts: object) -> None:
        """Add a finding with the values of its sentence: texts, or lists of texts."""
        if (finding, facts) not in self._found:
            self._found.append((finding, facts))

    def add_all(self, findings: Iterable[str]) -> None:
        """Add findings without values."""
        for finding in findings:
            self.add(finding)

    def hide(self, secret: str) -> None:
        """Mask a secret wherever it occurs in a value."""
        self._redactor.add(Secret(secret[:MAX_HIDDEN]))

    def findings(self) -> list[Finding]:
        """Return all findings, in order."""
        return [
            Finding(finding, {name: self._public(value) for name, value in facts.items()})
            for finding, facts in self._found
        ]

    def _public(self, value: object) -> str | list[str]:
        if isinstance(value, (list, tuple)):
            shown = [self._public_text(each) for each in value[:MAX_LIST]]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - shorten takes anything
            return shown if len(value) <= MAX_LIST else [*shown, "…"]  # pyright: ignore[reportUnknownArgumentType] - as above
        return self._public_text(value)

    def _public_text(self, value: object) -> str:
        text = shorten(value, MAX_FACT)
        if _LONG.search(text) or any(shape.pattern.search(text) for shape in token_shapes()):
            return MASK
        return self._redactor.mask(text)


@cache
def sentences() -> Mapping[str, Mapping[str, Any]]:
    """Return the rows of ``sentences.toml`` by their ids."""
    return tomllib.loads(files("mailslot.diagnosis.decoding").joinpath("sentences.toml").read_text("utf-8"))
