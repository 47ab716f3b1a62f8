"""The frame around the content of pages: the device's name, the menu, and the place in a fleet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from mailslot.fleet.postgres.database import DeviceId
    from mailslot.service.device import Identity


@dataclass(frozen=True, slots=True)
class Tab:
    """A link in the menu.

    Attributes:
        address: its address.
        icon: its icon.
        name: its text.
    """

    address: str
    icon: str
    name: str


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame of an application's pages.

    Attributes:
        identity: returns the description of the device.
        tabs: returns the menu in a language.
        root: the path below which the application is served; empty for a host of its own.
        place: the device in a fleet whose panel this is; None for the device's own panel, and for the fleet's pages.
    """

    identity: Callable[[], Identity]
    tabs: Callable[[str], list[Tab]]
    root: str = ""
    place: DeviceId | None = None


def frame_of(request: Request) -> Frame:
    """Return the frame of a request's application."""
    found: Frame = request.app.state.frame
    return found
