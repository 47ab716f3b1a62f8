"""The open incidents as pages show them: whether they have ended already, and whether they can be cleared by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot_plugins.alerts.alarms import Alarms
from mailslot_plugins.alerts.certificate_watch import SOURCE as CERTIFICATE
from mailslot_plugins.alerts.panel.kinds import kind_name
from mailslot_plugins.alerts.printer_watch import LINK
from mailslot_plugins.alerts.printer_watch import SOURCE as PRINTER
from mailslot_plugins.alerts.token_watch import SOURCE as TOKEN
from mailslot_plugins.alerts.token_watch import observe_tokens
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.panel.token.state import token_state

if TYPE_CHECKING:
    from collections.abc import Collection

    from mailslot.plugin import Device
    from mailslot_plugins.alerts.state import Incident

_TOKEN_KINDS: Final = frozenset({"token_needed", "administrator_needed"})


@dataclass(frozen=True, slots=True)
class ShownIncident:
    """An incident that has not ended, or has ended recently.

    Attributes:
        incident: the incident.
        name: its name, with the affected part.
        detail: further information.
        is_over: whether its condition is gone.
        is_watched: whether a watch still observes its condition; then it cannot be cleared by hand.
        slot: the slot that it is about; empty if it is about none.
    """

    incident: Incident
    name: str
    detail: str
    is_over: bool
    is_watched: bool
    slot: str = ""

    @property
    def token_helps(self) -> bool:
        """Whether obtaining a token ends it."""
        return bool(self.slot) and not self.is_over and self.incident.kind == "token_needed"


async def shown_incidents(device: Device, language: str) -> list[ShownIncident]:
    """Return the incidents in the order in which they began.

    The watches look only every minute, so the tokens are looked at once more: a repair shows at once.

    Args:
        device: the device.
        language: one of the panel's languages.
    """
    incidents = (await Alarms(device).state()).incidents
    needed: frozenset[tuple[str, str]] = frozenset()
    if any(each.kind in _TOKEN_KINDS for each in incidents):
        observed = await observe_tokens(device.records, device.now())
        needed = frozenset((each.kind, each.part) for each in observed.conditions)
    return [await _shown(device, each, needed, language) for each in incidents]


async def _shown(
    device: Device, incident: Incident, needed: Collection[tuple[str, str]], language: str
) -> ShownIncident:
    is_needed = (incident.kind, incident.part) in needed
    is_repaired = incident.sources == (TOKEN,) and not is_needed
    is_over = incident.absent_since is not None or is_repaired
    slot = next((each for each in device.slots.slots if each.id == incident.part), None)
    detail = translated(incident.detail, language)
    if is_needed and slot is not None:
        # The stored detail is English.
        detail = (await token_state(device, slot.record)).sentence(language) or detail
    return ShownIncident(
        incident,
        kind_name(incident.kind, language, incident.part),
        detail,
        is_over,
        not is_over and (is_needed or not {PRINTER, LINK, CERTIFICATE}.isdisjoint(incident.sources)),
        "" if slot is None else slot.id,
    )
