"""The messages for each cause in each language: ``messages.toml`` in English, and one file for each other language.

A sentence or advice is a text or a list of variants, with placeholders for facts. The first variant whose facts are all
known is used; the last one needs none.
"""

from __future__ import annotations

import string
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

from mailslot.causes.cause import causes
from mailslot.diagnosis.remedy import settings_to_change

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.causes.cause import Actor
    from mailslot.diagnosis.diagnosis import Diagnosis

LANGUAGES: Final[Mapping[str, str]] = {
    "en": "messages.toml",
    "de": "messages.de.toml",
    "fr": "messages.fr.toml",
    "es": "messages.es.toml",
    "ja": "messages.ja.toml",
}
"""The file of each language."""

WORDS: Final = "words"
"""The one table of a file that is not a cause: translations of labels, actors and values of facts."""

_ENCRYPTION_FACTS: Final = frozenset({"security_now", "security_right", "encrypted_now"})


@dataclass(frozen=True, slots=True)
class Explanation:
    """A diagnosis in one language.

    Attributes:
        cause: the cause's id.
        message: one sentence for the person.
        advice: what to do about it.
        actor: who must act; None if nobody has to. It is the person at the device where a setting of the slot may be
            wrong; `mailslot.causes.cause.Cause.actor` is the same for every slot.
        token_helps: whether obtaining a new token can help.
        settings: the settings of the slot that may be wrong, as `mailslot.diagnosis.remedy.settings_to_change` returns
            them.
    """

    cause: str
    message: str
    advice: str
    actor: Actor | None
    token_helps: bool
    settings: tuple[str, ...] = ()


@cache
def messages(language: str) -> Mapping[str, Any]:
    """Return a language's messages. Each file is read once."""
    return tomllib.loads(files("mailslot.diagnosis").joinpath(LANGUAGES[language]).read_text("utf-8"))


def languages() -> tuple[str, ...]:
    """Return the languages of the messages, English first."""
    return tuple(LANGUAGES)


def explain(diagnosis: Diagnosis, language: str = "en") -> Explanation:
    """Return a diagnosis in a language.

    Args:
        diagnosis: the diagnosis; a cause that is not in the catalogue is explained as ``unknown``.
        language: one of `languages`, with or without a region, such as ``"de-AT"``; any other is English.
    """
    table = messages(_supported(language))
    cause = diagnosis.cause if diagnosis.cause in causes() else "unknown"
    facts = {name: _shown_value(name, value, table) for name, value in diagnosis.facts.items() if value}
    consequences = causes()[cause]
    settings = settings_to_change(cause, diagnosis.facts)
    return Explanation(
        cause,
        _fill(table[cause]["sentence"], facts),
        _fill(table[cause]["advice"], facts),
        "operator" if settings else consequences.actor,
        consequences.token_helps,
        settings,
    )


def actor_name(actor: Actor, language: str = "en") -> str:
    """Return the name of an actor for the person in front of the device."""
    return cast("str", messages(_supported(language))[WORDS]["actor"][actor])


def label(name: str, language: str = "en") -> str:
    """Return the text of a label, such as ``who_must_act``."""
    return cast("str", messages(_supported(language))[WORDS]["label"][name])


def variants(entry: str | list[str]) -> list[str]:
    """Return the variants of a sentence or advice, those with more facts first."""
    return [entry] if isinstance(entry, str) else entry


def needed_facts(text: str) -> frozenset[str]:
    """Return the facts that a text needs."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name)


def _supported(language: str) -> str:
    short = language.partition("-")[0].partition("_")[0].lower()
    return short if short in LANGUAGES else "en"


def _fill(entry: str | list[str], facts: Mapping[str, str]) -> str:
    return next(text for text in variants(entry) if needed_facts(text) <= facts.keys()).format_map(facts)


def _shown_value(name: str, value: str, table: Mapping[str, Any]) -> str:
    if name in _ENCRYPTION_FACTS:
        return cast("str", table[WORDS]["security"].get(value, value))
    # A sentence is one line; a list of errors is shown elsewhere.
    return value.partition("\n")[0].rstrip(" :.") + "." if "\n" in value else value
