"""The panel of a fleet as an ASGI application."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from mailslot.service.device import Identity
from mailslot_plugins.panel.application import EXCEPTION_HANDLERS
from mailslot_plugins.panel.fleet.audit import AuditLog
from mailslot_plugins.panel.frame import Frame, Tab
from mailslot_plugins.panel.security.guard import middleware
from mailslot_plugins.panel.security.scheme import HttpsInBrowsers
from mailslot_plugins.panel.token.callback import LoopbackRedirects
from mailslot_plugins.panel.translations import LanguageMiddleware, translate

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from mailslot_plugins.panel.fleet.context import FleetContext

PAGES: Final = (
    "mailslot_plugins.panel.fleet.lists",
    "mailslot_plugins.panel.fleet.sign_in",
    "mailslot_plugins.panel.fleet.device_panels",
    "mailslot_plugins.panel.preferences.page",
    "mailslot_plugins.panel.consent.page",
)
"""The modules with `routes`; those of the last one are for owners of mailboxes, who are no staff. What staff may
request is checked before a route is reached, by its path and method: `mailslot_plugins.panel.fleet.staff`."""

TABS: Final = (("/", "copier", "nav_devices"), ("/tenants", "person", "nav_tenants"))
"""The links of every page: address, icon, and text in the folder ``fleet``."""

_LANGUAGE: Final = "en"


def fleet_application(fleet: FleetContext) -> ASGIApp:
    """Return the ASGI application."""
    static = StaticFiles(packages=[("mailslot_plugins.panel", "static")])
    routes: list[BaseRoute] = [Mount("/static", static, name="static")]
    for module in PAGES:
        routes += import_module(module).routes
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(LoopbackRedirects),
            Middleware(LanguageMiddleware, otherwise=lambda: _LANGUAGE),
            *middleware(fleet.security),
            Middleware(AuditLog),
        ],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    identity = Identity(fleet.settings.name, "", "", "", _LANGUAGE)
    app.state.frame = Frame(lambda: identity, _tabs)
    app.state.pages = []
    app.state.fleet = fleet
    app.state.consent = fleet.consent
    return HttpsInBrowsers(app) if fleet.settings.is_https else app


def _tabs(language: str) -> list[Tab]:
    return [Tab(address, icon, translate("fleet", key, language)) for address, icon, key in TABS]
