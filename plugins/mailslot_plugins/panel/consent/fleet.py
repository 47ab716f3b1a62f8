"""The fleet, as far as the pages need it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mailslot.fleet.postgres.consents import Consents
from mailslot.fleet.postgres.sign_in_links import SignInLinks
from mailslot_plugins.panel.consent.known_providers import KnownProviders

if TYPE_CHECKING:
    from starlette.requests import Request

    from mailslot.fleet.homes import FleetHomes


class ConsentFleet:
    """The fleet, as ``app.state.consent``.

    Args:
        homes: the homes of its devices.

    Attributes:
        homes: the same.
        links: the links.
        consents: the stored consents.
        providers: the cached metadata of providers.
    """

    def __init__(self, homes: FleetHomes) -> None:
        self.homes: Final = homes
        self.links: Final = SignInLinks(homes.database)
        self.consents: Final = Consents(homes.database)
        self.providers: Final = KnownProviders(time.monotonic)


def fleet_of(request: Request) -> ConsentFleet:
    """Return the fleet of a request."""
    fleet: ConsentFleet = request.app.state.consent
    return fleet
