"""Observes the certificates of the gateway's listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.diagnosis.gateway_log import STORE, GatewayLog
from mailslot.service.gateway_documents import read_listeners
from mailslot.timestamps import day
from mailslot_plugins.alerts.kinds import KINDS
from mailslot_plugins.alerts.state import ConditionRaised, Observation

if TYPE_CHECKING:
    from mailslot.service.device import Device

SOURCE: Final = "certificate"

_KIND: Final = KINDS["certificate_ends"]


async def observe_certificates(device: Device) -> Observation:
    """Return a condition for each listener whose certificate ends soon, or has ended.

    Raises:
        MailError: the gateway's log cannot be read.
    """
    noted = await read_listeners(GatewayLog(device.store(STORE))) if device.gateway.listeners else None
    conditions: list[ConditionRaised] = []
    for listener in device.gateway.listeners.values():
        found = [] if noted is None else noted.certificates_of(listener)
        ending = min((each.valid_until for each in found if each.ends_soon(device.now())), default=None)
        if ending is not None:
            conditions.append(
                ConditionRaised(
                    _KIND.name,
                    _KIND.severity,
                    part=listener.name,
                    detail=f"The certificate of the listener {listener.name} is valid until {day(ending)}.",
                    source=SOURCE,
                    debounce=_KIND.debounce,
                    clear_after=_KIND.clear_after,
                )
            )
    return Observation(SOURCE, tuple(conditions))
