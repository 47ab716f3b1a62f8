"""The open alarms, for the panel's list of things that need attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot_plugins.alerts.alarms import Alarms
from mailslot_plugins.alerts.panel.kinds import kind_name
from mailslot_plugins.panel.home.attention_item import AttentionItem
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Container

    from mailslot.service.device import Device


async def attention(device: Device, language: str, named: Container[str]) -> list[AttentionItem]:
    """Return the alarms that are open.

    Args:
        device: the device.
        language: the language of the sentences.
        named: the slots that already have an entry in the list.
    """
    found: list[AttentionItem] = []
    for incident in (await Alarms(device).state()).incidents:
        # Problems of a slot are listed with the slot.
        if incident.absent_since is None and incident.part not in named:
            what = kind_name(incident.kind, language, incident.part)
            sentence, button = (
                translate("alerts", "attention", language, what=what),
                translate("alerts", "attention_button", language),
            )
            found.append(AttentionItem("", sentence, incident.detail, None, "page", "/alerts", button=button))
    return found
