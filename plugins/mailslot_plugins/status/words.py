"""Texts of mails that the device writes, in its language."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENGLISH: Final = "en"

Texts = dict[str, dict[str, str]]
"""Texts by key and language."""


@cache
def load_words(package: str, file: str = "words.toml") -> Texts:
    """Return the texts in a file of a package."""
    return cast("Texts", tomllib.loads(files(package).joinpath(file).read_text("utf-8")))


def translate(texts: Mapping[str, Mapping[str, str]], key: str, language: str, **facts: object) -> str:
    """Return a text in a language; in English if it has no translation.

    Args:
        texts: from `load_words`.
        key: the key of the text.
        language: the device's language.
        facts: the values of the placeholders.
    """
    found = texts[key]
    return (found.get(language) or found[_ENGLISH]).format_map(facts)
