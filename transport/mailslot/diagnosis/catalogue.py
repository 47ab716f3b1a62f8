"""What is said of each cause in each language: ``messages.toml``, which is English, and one file beside it a language.

A sentence, or a piece of advice, is a text or a list of texts, each of which may be filled with facts; the first one is
said whose facts are all known, and the last one needs none.
"""

from __future__ import annotations

import string
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

from mailslot.causes.cause import causes

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
"""The table of a file that holds no cause: what stands for a fact's value, or for an actor, in that language."""

_CODED: Final = {"security_now": "security", "security_right": "security", "encrypted_now": "security"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is said of a diagnosis.

    Attributes:
        cause: the cause's id.
        message: one sentence for the person.
        advice: what to do about it.
        actor: who must act; None where nobody has to.
        token_helps: whether obtaining the token again can help.
    """

    cause: str
    message: str
    advice: str
    actor: Actor | None
    token_helps: bool


@cache
def messages(language: str) -> Mapping[str, Any]:
    """Return a language's file. It is read once."""
    return tomllib.loads(files("mailslot.diagnosis").joinpath(LANGUAGES[language]).read_text("utf-8"))


def languages() -> tuple[str, ...]:
    """Return the languages that something can be said in, English first."""
    return tuple(LANGUAGES)


def explain(diagnosis: Diagnosis, language: str = "en") -> Explanation:
    """Return what is said of a diagnosis.

    Args:
        diagnosis: the diagnosis; a cause that is not in the catalogue is said as ``unknown``.
        language: one of `languages`, or such as ``"de-AT"``; any other is English.
    """
    spoken = messages(_known(language))
    cause = diagnosis.cause if diagnosis.cause in causes() else "unknown"
    facts = {name: _decoded(name, value, spoken) for name, value in diagnosis.facts.items() if value}
    follows = causes()[cause]
    return Explanation(
        cause,
        _filled(spoken[cause]["sentence"], facts),
        _filled(spoken[cause]["advice"], facts),
        follows.actor,
        follows.token_helps,
    )


def actor_name(actor: Actor, language: str = "en") -> str:
    """Return who that is, for the person in front of the device."""
    return cast("str", messages(_known(language))[WORDS]["actor"][actor])


def label(name: str, language: str = "en") -> str:
    """Return what stands around what is said, such as ``who_must_act``, for the person in front of the device."""
    return cast("str", messages(_known(language))[WORDS]["label"][name])


def texts(said: str | list[str]) -> list[str]:
    """Return a sentence's, or an advice's, texts: those with more facts first."""
    return [said] if isinstance(said, str) else said


def needs(text: str) -> frozenset[str]:
    """Return the facts that a text is filled with."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name)


def _known(language: str) -> str:
    short = language.partition("-")[0].partition("_")[0].lower()
    return short if short in LANGUAGES else "en"


def _filled(said: str | list[str], facts: Mapping[str, str]) -> str:
    return next(text for text in texts(said) if needs(text) <= facts.keys()).format_map(facts)


def _decoded(name: str, value: str, spoken: Mapping[str, Any]) -> str:
    if name in _CODED:
        return cast("str", spoken[WORDS][_CODED[name]].get(value, value))
    # A sentence has one line, and lists what is wrong elsewhere.
    return value.partition("\n")[0].rstrip(" :.") + "." if "\n" in value else value
