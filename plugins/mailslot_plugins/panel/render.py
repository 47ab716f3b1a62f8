"""Rendering of pages from templates, and the functions that all templates can use."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined, TemplateNotFound, pass_context
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse

from mailslot.diagnosis.catalogue import actor_name
from mailslot.timestamps import iso, local_time
from mailslot_plugins.panel.cookies import cookie
from mailslot_plugins.panel.frame import frame_of
from mailslot_plugins.panel.pipelines import package_of, pipeline_text
from mailslot_plugins.panel.root import add_root
from mailslot_plugins.panel.security.session import Notice
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.panel.slots.names import menu_steps
from mailslot_plugins.panel.translations import LANGUAGES, SHARED_FOLDER, translate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jinja2.runtime import Context
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.causes.cause import Actor
    from mailslot.service.device import Device
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.pipelines import PipelinePage

THEMES: Final = ("auto", "light", "dark")
_STEPS: Final = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))


class _PipelineLoader(BaseLoader):
    """Loads ``NAME/file.html`` from the package of the pipeline with this name."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        name, _, file = template.partition("/")
        package = package_of(name)
        if package is None:
            raise TemplateNotFound(template)
        return PackageLoader(package, ".").get_source(environment, file)


@cache
def environment() -> Environment:
    """Return the template environment; templates are named ``folder/file.html`` or ``pipeline/file.html``."""
    templates = Environment(
        loader=ChoiceLoader([PackageLoader("mailslot_plugins.panel", "."), _PipelineLoader()]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # A running service keeps its templates while it is being upgraded.
        auto_reload=False,
    )
    # Jinja2 declares only the types of its own globals.
    cast("dict[str, Any]", templates.globals).update(
        t=_text,
        timestamp=format_time,
        ago=_ago,
        actor_name=_actor_name,
        pipeline_name=_pipeline_name,
        page_text=_page_text,
        menu_steps=_menu_steps,
        format_size=format_size,
        translated=translated,
    )
    return templates


def render(request: Request, template: str, status: int = 200, **context: Any) -> Response:  # noqa: ANN401 - anything
    """Return a page.

    Args:
        request: the request.
        template: such as ``"jobs/list.html"``; its texts are those of this folder or pipeline.
        status: the HTTP status.
        context: the variables of the template.
    """
    state, session, frame = request.state, request.state.session, frame_of(request)
    page = environment().get_template(template)
    theme = cookie(request, "theme")
    shown = page.render(
        {
            "request": request,
            "folder": template.partition("/")[0],
            "language": state.language,
            "languages": LANGUAGES,
            "themes": THEMES,
            "theme": theme if theme in THEMES else "auto",
            "session": session,
            "notices": session.take_notices,
            "csrf": Markup('<input type="hidden" name="csrf" value="{}">').format(session.csrf),
            "identity": frame.identity(),
            "tabs": frame.tabs(state.language),
            "path": str(request.scope["path"]).removeprefix(frame.root),
            "place": frame.place,
            "site": f"{request.url.scheme}://{request.url.netloc}",
            "may_change": getattr(state, "may_change", True),
            "pages": request.app.state.pages,
            **context,
        }
    )
    return HTMLResponse(add_root(shown, frame.root), status_code=status)


def page_endpoint(
    template: str, context: Callable[[Request], Awaitable[dict[str, Any]]]
) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that shows a template with the variables that `context` returns."""

    async def show(request: Request) -> Response:
        return render(request, template, **await context(request))

    return show


def redirect(request: Request, path: str, notice: str = "", kind: str = "done") -> Response:
    """Redirect the browser to another page after an action.

    Args:
        request: the request.
        path: a path on this panel.
        notice: a notice at the top of the next page; may be empty. The sentence of an error is translated.
        kind: ``"done"``, ``"warning"`` or ``"error"``.
    """
    if notice:
        request.state.session.notices.append(Notice(kind, translated(notice, request.state.language)))
    return RedirectResponse(path, status_code=303)


def device_of(request: Request) -> Device:
    """Return the device of a request's panel."""
    device: Device = request.app.state.device
    return device


def text(request: Request, folder: str, key: str, **facts: object) -> str:
    """Return one of a folder's texts in the language of a request."""
    return translate(folder, key, request.state.language, **facts)


def format_time(seconds: float | None) -> Markup:
    """Return seconds since 1970 as local time; a dash for None."""
    if seconds is None:
        return Markup("–")
    shown = local_time(seconds).rpartition(":")[0]
    return Markup('<time datetime="{}">{}</time>').format(iso(seconds), shown)


def parse_number(text: str) -> int:
    """Return a part of an address as a number; -1, which nothing has, if it is not a number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def format_size(size: int) -> str:
    """Return a size for people, such as ``1.4 MB``."""
    for unit, step in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} B"


@pass_context
def _text(context: Context, key: str, folder: str = "", **facts: object) -> str:
    """Return a text of the page's own folder, or of `folder`."""
    return translate(folder or str(context["folder"]), key, str(context["language"]), **facts)


@pass_context
def _ago(context: Context, seconds: float) -> str:
    """Return a time relative to now, such as ``5 min ago``."""
    distance = seconds - time.time()
    key, number = "soon" if distance > 0 else "now", 0
    for step, name in _STEPS:
        if abs(distance) >= step:
            key, number = f"in_{name}" if distance > 0 else f"{name}_ago", int(abs(distance) // step)
            break
    return translate(SHARED_FOLDER, key, str(context["language"]), number=number)


@pass_context
def _actor_name(context: Context, actor: Actor) -> str:
    return actor_name(actor, str(context["language"]))


@pass_context
def _menu_steps(context: Context, slot: Slot) -> list[str]:
    """Return the steps through the device's menu to a slot, in the language of the page."""
    return menu_steps(slot, str(context["language"]))


@pass_context
def _pipeline_name(context: Context, pipeline: str) -> str:
    """Return the name of a pipeline's jobs; the pipeline's name if it has no texts."""
    return pipeline_text(pipeline, "job", str(context["language"])) or pipeline


@pass_context
def _page_text(context: Context, page: PipelinePage, key: str) -> str:
    """Return a text of a pipeline's page; empty if it has no such text."""
    return pipeline_text(page.name, key, str(context["language"])) or (page.name if key == "title" else "")
