"""The panel's words in the languages of the device: ``words.toml`` beside the templates of each page.

A table holds a text in every language, side by side, so that one that is missing is seen. Texts are filled with
facts as ``str.format`` does. What pipelines bring stands in their own packages.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, cast

from starlette.requests import HTTPConnection

from mailslot.diagnosis.catalogue import languages
from mailslot_plugins.panel.cookies import cookie
from mailslot_plugins.panel.pipelines import pipeline_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

LANGUAGES: Final[Mapping[str, str]] = {
    "en": "English",
    "de": "Deutsch",
    "fr": "Français",
    "es": "Español",
    "ja": "日本語",
}
"""What each language is called in itself."""

assert LANGUAGES.keys() == set(languages())  # noqa: S101 - sentences about faults are said in the same ones

COOKIE: Final = "language"
"""Where a browser keeps the language that was chosen in it."""

SHARED: Final = "layout"
"""The folder whose words hold on every page."""


def words(folder: str) -> Mapping[str, Mapping[str, str]]:
    """Return the words of a page's folder, or else those of the pipeline with this name: by key, in each language."""
    return _own_words(folder) or pipeline_words(folder)


@cache
def _own_words(folder: str) -> Mapping[str, Mapping[str, str]]:
    file = files("mailslot_plugins.panel").joinpath(folder, "words.toml")
    return cast("Mapping[str, Mapping[str, str]]", tomllib.loads(file.read_text("utf-8"))) if file.is_file() else {}


def translate(folder: str, key: str, language: str, **facts: object) -> str:
    """Return a text.

    Args:
        folder: the page's folder, or the name of a pipeline; what is not there is looked for in `SHARED`.
        key: which text.
        language: one of `LANGUAGES`.
        facts: what it is filled with.

    Raises:
        KeyError: there is no such text, or a fact is missing.
    """
    texts = words(folder).get(key) or words(SHARED)[key]
    return (texts.get(language) or texts["en"]).format_map(facts)


def chosen_language(connection: HTTPConnection, otherwise: str) -> str:
    """Return the language of a browser: the one that was chosen in it, else the first that it asks for and we speak.

    Args:
        connection: the request.
        otherwise: what to speak to a browser that asks for none of ours.
    """
    chosen = cookie(connection, COOKIE)
    if chosen in LANGUAGES:
        return chosen
    asked: list[tuple[float, str]] = []
    # Of a header without end, the beginning says enough.
    for part in connection.headers.get("accept-language", "")[:500].split(","):
        name, _, quality = part.partition(";q=")
        short = name.strip().partition("-")[0].lower()
        if short in LANGUAGES:
            asked.append((_weight(quality), short))
    best = max(asked, key=lambda pair: pair[0], default=(0.0, otherwise))
    return best[1] if best[0] > 0 else otherwise


class LanguageMiddleware:
    """Middleware that sets ``request.state.language``.

    Args:
        app: what comes next.
        otherwise: returns the device's language.
    """

    def __init__(self, app: ASGIApp, otherwise: Callable[[], str]) -> None:
        self._app = app
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            connection = HTTPConnection(scope)
            connection.state.language = chosen_language(connection, self._otherwise())
        await self._app(scope, receive, send)


def _weight(quality: str) -> float:
    try:
        return float(quality) if quality else 1.0
    except ValueError:
        return 0.0
