"""The panel packages of pipelines: their texts, the place of their settings, and their pages.

Our own pipelines use them like third parties' (`mailslot.service.pipeline.PanelPackage`); the panel names no pipeline.
"""

from __future__ import annotations

import logging
import tomllib
from copy import copy
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

from starlette.routing import Route

from mailslot.entry_points import describe_error
from mailslot.exit_guard import ExitGuard
from mailslot.service.pipeline import PLUGINS, panel_package
from mailslot.shortage import is_shortage
from mailslot.slots.slot import slots_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
    from importlib.metadata import EntryPoint
    from types import ModuleType

    from starlette.types import ASGIApp, Receive, Scope, Send

    from mailslot.service.device import Device
    from mailslot.service.pipeline import Pipeline

Texts = dict[str, dict[str, str]]
"""Texts by key and language."""

_ENGLISH: Final = "en"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PipelinePage:
    """The page of a pipeline.

    Attributes:
        name: the pipeline's name.
        icon: the icon of its link.
        module: its module ``page``.
        routes: its routes.
    """

    name: str
    icon: str
    module: ModuleType
    routes: tuple[Route, ...]

    @property
    def address(self) -> str:
        """Its address."""
        return f"/{self.name}"

    def setting_label(self, key: str, language: str) -> str | None:
        """Return the name of a setting that is not in the pipeline's words; None if it is unknown here, too."""
        named: Callable[[str, str], str | None] | None = getattr(self.module, "setting_label", None)
        return None if named is None else named(key, language)

    async def suggestions(self, device: Device) -> list[tuple[str, str]]:
        """Return values that can be chosen in forms, each with its meaning (`Key.suggested_by`)."""
        suggest: Callable[[Device], Awaitable[list[tuple[str, str]]]] | None = getattr(self.module, "suggestions", None)
        return [] if suggest is None else await suggest(device)

    async def search_address(self, device: Device) -> str:
        """Return the path that returns further suggestions for a typed text (``?text=``); empty if there is none."""
        found: Callable[[Device], Awaitable[str]] | None = getattr(self.module, "search_address", None)
        return "" if found is None else await found(device)


def pipelines() -> tuple[Pipeline, ...]:
    """Return the usable pipelines, by name. The first call loads them: make it in a thread.

    Raises:
        PluginError: the machine is too short of something to load one of them; another call may succeed.
    """
    return _pipelines(PLUGINS.entries())


@lru_cache(maxsize=4)
def _pipelines(entries: tuple[EntryPoint, ...]) -> tuple[Pipeline, ...]:  # noqa: ARG001 - the key of the cache
    loaded = PLUGINS.load_all()
    for error in loaded.errors.values():
        if is_shortage(error):
            # Else this process would do without it for good.
            raise error
    return tuple(loaded.plugins.values())


def pipeline_of(section: str) -> Pipeline | None:
    """Return the pipeline that a section belongs to; None if it belongs to none."""
    return next((each for each in pipelines() if each.section is not None and each.section.name == section), None)


def sections_of(record: str) -> list[str]:
    """Return the sections that the page of a record links to; those with this as their main record come first."""
    found = [each for each in pipelines() if each.section is not None and record in _records(each)]
    found.sort(key=lambda each: _records(each)[0] != record)
    return [each.section.name for each in found if each.section is not None]


def page_of(section: str, pages: Iterable[PipelinePage]) -> PipelinePage | None:
    """Return the page of the pipeline that a section belongs to; None if there is none."""
    pipeline = pipeline_of(section)
    return next((each for each in pages if pipeline is not None and each.name == pipeline.name), None)


def address_of(section: str, pages: Iterable[PipelinePage]) -> str:
    """Return the address of the page to which the form of a section returns.

    Args:
        section: its name.
        pages: the pages that are served.
    """
    page, pipeline = page_of(section, pages), pipeline_of(section)
    if page is not None:
        return page.address
    if pipeline is not None and (slots := [slot for record in _records(pipeline) for slot in slots_of(record)]):
        return f"/slots/{slots[0].id}"
    return "/administration"


def package_of(name: str) -> str | None:
    """Return the package with the words and templates of a pipeline; None if it has none."""
    for each in pipelines():
        if each.name == name:
            package = panel_package(each)
            return None if package is None else package.name
    return None


def pipeline_words(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return the texts of a pipeline by key and language; empty if there is no such pipeline."""
    package = package_of(name)
    return {} if package is None else _words(package)


def pipeline_text(name: str, key: str, language: str) -> str | None:
    """Return a text of a pipeline, without placeholders; None if it has no such text."""
    texts = pipeline_words(name).get(key)
    return None if texts is None else _plain(texts.get(language) or texts[_ENGLISH])


def load_pages(taken: Container[str]) -> list[PipelinePage]:
    """Return the pages of pipelines; one that cannot be used is logged and left out.

    Args:
        taken: the first parts of the panel's own paths.
    """
    found: list[PipelinePage] = []
    for pipeline in pipelines():
        package = panel_package(pipeline)
        if package is None or not package.has_page:
            continue
        try:
            with ExitGuard():
                module = import_module(f"{package.name}.page")
                routes = tuple(cast("Iterable[object]", module.routes))
        except Exception as error:
            if is_shortage(error):
                raise
            logger.warning("The page of the pipeline %s is left out: %s", pipeline.name, describe_error(error))
            continue
        answered = [_contained(each) for each in routes if isinstance(each, Route) and _is_below(each, pipeline.name)]
        if pipeline.name in taken or len(answered) < len(routes):
            logger.warning(
                "The page of the pipeline %s is left out: all its routes must be /%s or below, where no others may be",
                pipeline.name,
                pipeline.name,
            )
            continue
        found.append(PipelinePage(pipeline.name, package.icon, module, tuple(answered)))
    return found


def _records(pipeline: Pipeline) -> tuple[str, ...]:
    package = panel_package(pipeline)
    polled = () if pipeline.polls is None else (pipeline.polls,)
    return polled if package is None else (*polled, *package.records)


def _is_below(route: Route, name: str) -> bool:
    return f"{route.path}/".startswith(f"/{name}/")


def _contained(route: Route) -> Route:
    """Return a route that cannot end the program."""
    answer: ASGIApp = route.app

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with ExitGuard():
            await answer(scope, receive, send)

    found = copy(route)
    found.app = app
    return found


@cache
def _words(package: str) -> Texts:
    """Return the texts of a package, without those that have no English, which replaces missing languages."""
    try:
        read: dict[str, Any] = tomllib.loads(files(package).joinpath("words.toml").read_text("utf-8"))
    except Exception as error:
        if is_shortage(error):
            raise
        logger.warning("The words in %s cannot be read: %s", package, describe_error(error))
        return {}
    found: Texts = {}
    for key, texts in read.items():
        if isinstance(texts, dict):
            translations = {
                name: text for name, text in cast("dict[str, object]", texts).items() if isinstance(text, str)
            }
            if _ENGLISH in translations:
                found[key] = translations
    return found


def _plain(text: str) -> str:
    """Return a text with its doubled braces as single ones; unchanged if it has other braces."""
    try:
        return text.format_map({})
    except (KeyError, ValueError, IndexError):
        return text
