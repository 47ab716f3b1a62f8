"""Sentences that the library and pipelines write in English, in the language of a page.

A sentence is found by its English text, so that those stored before are translated, too. ``sentences.toml`` has the
sentences that people meet most; any other stays English.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLACEHOLDER: Final = re.compile(r"\{\w+\}")
_FACT: Final = re.compile(r"\\\{(\w+)\\\}")
_BETWEEN_SENTENCES: Final = re.compile(r"(?<=[.!?]) ")
_MAX_LENGTH: Final = 1000
"""Characters up to which a text is compared."""

_MAX_DEPTH: Final = 8
"""How deeply sentences can contain others."""


def translated(sentence: str, language: str, *, depth: int = _MAX_DEPTH) -> str:
    """Return a sentence in a language; unchanged if there is no translation.

    Args:
        sentence: the English sentence, or the part of one.
        language: one of the panel's.
        depth: how many sentences within others are translated, too.
    """
    if language == "en" or not depth or len(sentence) > _MAX_LENGTH:
        return sentence
    for pattern, texts in _patterns():
        if (found := pattern.fullmatch(sentence)) is not None:
            facts = {name: translated(value, language, depth=depth - 1) for name, value in found.groupdict().items()}
            return texts[language].format(**facts)
    return _translated_parts(sentence, language, depth)


def _translated_parts(text: str, language: str, depth: int) -> str:
    """Return several sentences, each translated, beside commands; unchanged if one of them has no translation."""
    parts = _BETWEEN_SENTENCES.split(text)
    if len(parts) == 1:
        return text
    found = [translated(part, language, depth=depth - 1) for part in parts]
    is_known = [new != part or part.startswith("mailslot ") for new, part in zip(found, parts, strict=True)]
    return (" " if language != "ja" else "").join(found) if all(is_known) else text


@cache
def sentences() -> Sequence[Mapping[str, str]]:
    """Return the texts of each sentence by language, with placeholders in braces."""
    text = files("mailslot_plugins.panel").joinpath("sentences.toml").read_text("utf-8")
    return cast("Sequence[Mapping[str, str]]", tomllib.loads(text)["sentence"])


@cache
def _patterns() -> Sequence[tuple[re.Pattern[str], Mapping[str, str]]]:
    # Patterns with more fixed text come first: "The scanner {name} has no paper." before "The scanner {name} {what}."
    ordered = sorted(sentences(), key=lambda texts: -len(_PLACEHOLDER.sub("", texts["en"])))
    return [(re.compile(_FACT.sub(r"(?P<\1>.+?)", re.escape(texts["en"]))), texts) for texts in ordered]
