"""The panel's texts in all languages: ``words.toml`` beside the templates of each page.

Each table has a text in every language, so that a missing one is easy to see. Placeholders are filled as by
``str.format``. The texts of pipelines are in their own packages.
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
"""The name of each language, in that language."""

assert LANGUAGES.keys() == set(languages())  # noqa: S101 - the sentences about faults have the same languages

COOKIE: Final = "language"
"""The cookie with the chosen language."""

SHARED_FOLDER: Final = "layout"
"""The folder with the texts of every page."""


def load_texts(folder: str) -> Mapping[str, Mapping[str, str]]:
    """Return the texts of a page's folder, or of the pipeline with this name, by key and language."""
    return _own_words(folder) or pipeline_words(folder)


@cache
def _own_words(folder: str) -> Mapping[str, Mapping[str, str]]:
    file = files("mailslot_plugins.panel").joinpath(folder, "words.toml")
    return cast("Mapping[str, Mapping[str, str]]", tomllib.loads(file.read_text("utf-8"))) if file.is_file() else {}


def translate(folder: str, key: str, language: str, **facts: object) -> str:
    """Return a text.

    Args:
        folder: the page's folder or the name of a pipeline; a missing text is taken from `SHARED_FOLDER`.
        key: the key of the text.
        language: one of `LANGUAGES`.
        facts: the values of the placeholders.

    Raises:
        KeyError: there is no such text, or a value is missing.
    """
    texts = load_texts(folder).get(key) or load_texts(SHARED_FOLDER)[key]
    return (texts.get(language) or texts["en"]).format_map(facts)


def chosen_language(connection: HTTPConnection, otherwise: str) -> str:
    """Return the language for a browser: the chosen one, or the preferred one of ours.

    Args:
        connection: the request.
        otherwise: the language for a browser that prefers none of ours.
    """
    chosen = cookie(connection, COOKIE)
    if chosen in LANGUAGES:
        return chosen
    accepted: list[tuple[float, str]] = []
    # A very long header is truncated.
    for part in connection.headers.get("accept-language", "")[:500].split(","):
        name, _, quality = part.partition(";q=")
        short = name.strip().partition("-")[0].lower()
        if short in LANGUAGES:
            accepted.append((_weight(quality), short))
    best = max(accepted, key=lambda pair: pair[0], default=(0.0, otherwise))
    return best[1] if best[0] > 0 else otherwise


class LanguageMiddleware:
    """Middleware that sets ``request.state.language``."""

    def __init__(self, app: ASGIApp, otherwise: Callable[[], str]) -> None:
        self._app = app
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http":
            connection = HTTPConnection(scope)
            connection.state.language = chosen_language(connection, self._otherwise())
        await self._app(scope, receive, send)


def _weight(quality: str) -> float:
    try:
        return float(quality) if quality else 1.0
    except ValueError:
        return 0.0
