"""The objects that the pages of the fleet's panel use; they are in the application's state."""

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
        provider: the OpenID provider at which staff sign in.
        states: the pending sign-ins.
        failures: counts failed sign-ins, to slow them down.
        consent: the fleet for the pages of mailbox owners.
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
    """Return the context of a request."""
    found: FleetContext = request.app.state.fleet
    return found
