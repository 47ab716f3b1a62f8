"""What pipelines bring for the panel: what they are called, the place of their settings, and a page.

Ours bring it as anybody's do (`mailslot.service.pipeline.PanelPackage`), and the panel knows none of them by name.
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
from mailslot.slots.slot import slots_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping
    from importlib.metadata import EntryPoint
    from types import ModuleType

    from starlette.types import ASGIApp, Receive, Scope, Send

    from mailslot.service.pipeline import Pipeline

Texts = dict[str, dict[str, str]]
"""By key, in each language."""

_ENGLISH: Final = "en"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PipelinePage:
    """The page of a pipeline.

    Attributes:
        name: the pipeline's, which its address is made of.
        icon: the picture of the link to it.
        module: has its ``routes``.
        routes: what answers below its address.
    """

    name: str
    icon: str
    module: ModuleType
    routes: tuple[Route, ...]

    @property
    def address(self) -> str:
        """Where it is."""
        return f"/{self.name}"

    def setting_label(self, key: str, language: str) -> str | None:
        """Return what a setting is called that the pipeline's words do not name one by one; None for any other."""
        named: Callable[[str, str], str | None] | None = getattr(self.module, "setting_label", None)
        return None if named is None else named(key, language)


def pipelines() -> tuple[Pipeline, ...]:
    """Return the pipelines that can be used, by name. Those not loaded yet are: call it in a thread at first."""
    return _pipelines(PLUGINS.entries())


@lru_cache(maxsize=4)
def _pipelines(entries: tuple[EntryPoint, ...]) -> tuple[Pipeline, ...]:  # noqa: ARG001 - what is found depends on it
    return tuple(PLUGINS.load_all().plugins.values())


def pipeline_of(section: str) -> Pipeline | None:
    """Return the pipeline that a section of the settings belongs to; None where it belongs to none."""
    return next((each for each in pipelines() if each.section is not None and each.section.name == section), None)


def sections_of(record: str) -> list[str]:
    """Return the sections whose settings the page of a record links to: first those that have no other such page."""
    found = [each for each in pipelines() if each.section is not None and record in _records(each)]
    found.sort(key=lambda each: _records(each)[0] != record)
    return [each.section.name for each in found if each.section is not None]


def page_of(section: str, pages: Iterable[PipelinePage]) -> PipelinePage | None:
    """Return the page of the pipeline that a section of the settings belongs to; None where it has none."""
    pipeline = pipeline_of(section)
    return next((each for each in pages if pipeline is not None and each.name == pipeline.name), None)


def address_of(section: str, pages: Iterable[PipelinePage]) -> str:
    """Return the address of the page that a section of the settings belongs to.

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
    """Return the package with the words and templates of a pipeline; None where it brings none."""
    for each in pipelines():
        if each.name == name:
            package = panel_package(each)
            return None if package is None else package.name
    return None


def pipeline_words(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return what a pipeline brings in words, by key, in each language; empty where there is no such pipeline."""
    package = package_of(name)
    return {} if package is None else _words(package)


def pipeline_text(name: str, key: str, language: str) -> str | None:
    """Return one of a pipeline's texts that is filled with nothing; None where it has none."""
    texts = pipeline_words(name).get(key)
    return None if texts is None else _plain(texts.get(language) or texts[_ENGLISH])


def load_pages(taken: Container[str]) -> list[PipelinePage]:
    """Return the pages that pipelines bring; the log says which cannot be used, and is left out.

    Args:
        taken: with what paths begin that are the panel's own.
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
        except Exception as error:  # noqa: BLE001 - somebody else's may raise anything, and the others are served
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
    """Return the texts of a package; one that has no English is left out, and another language falls back to that."""
    try:
        read: dict[str, Any] = tomllib.loads(files(package).joinpath("words.toml").read_text("utf-8"))
    except Exception as error:  # noqa: BLE001 - a damaged file of anybody's costs its own words
        logger.warning("The words in %s cannot be read: %s", package, describe_error(error))
        return {}
    found: Texts = {}
    for key, texts in read.items():
        if isinstance(texts, dict):
            said = {name: text for name, text in cast("dict[str, object]", texts).items() if isinstance(text, str)}
            if _ENGLISH in said:
                found[key] = said
    return found


def _plain(text: str) -> str:
    """Return a text with its doubled braces as they are meant; as it is where they are none."""
    try:
        return text.format_map({})
    except (KeyError, ValueError, IndexError):
        return text
