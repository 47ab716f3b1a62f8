"""What the pages of the fleet's panel work with; an application has it in its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot.fleet.postgres.directory import FleetDirectory
    from mailslot_plugins.panel.consent.fleet import ConsentFleet
    from mailslot_plugins.panel.fleet.open_panels import OpenPanels
    from mailslot_plugins.panel.fleet.openid import OpenIdProvider, SignInStates
    from mailslot_plugins.panel.fleet.security import FleetSecurity
    from mailslot_plugins.panel.fleet.settings import FleetPanelSettings
    from mailslot_plugins.panel.security.throttle import Throttle


@dataclass(frozen=True, slots=True)
class FleetContext:
    """The parts of the panel.

    Attributes:
        settings: its settings.
        directory: the lists of devices and tenants.
        panels: the panels of devices that are in use.
        security: the sessions.
        provider: where staff sign in.
        states: the sign-ins that browsers have begun.
        failures: slows down sign-ins that fail.
        consent: what the pages for owners of mailboxes work with.
    """

    settings: FleetPanelSettings
    directory: FleetDirectory
    panels: OpenPanels
    security: FleetSecurity
    provider: OpenIdProvider
    states: SignInStates
    failures: Throttle
    consent: ConsentFleet


def fleet_of(request: Request) -> FleetContext:
    """Return what the pages work with."""
    found: FleetContext = request.app.state.fleet
    return found
