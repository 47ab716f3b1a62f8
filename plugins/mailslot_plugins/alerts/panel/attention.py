"""The open alarms, for the panel's list of things that need attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot_plugins.alerts.panel.shown_incidents import shown_incidents
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
    for each in await shown_incidents(device, language):
        # Problems of a slot are listed with the slot.
        if each.is_over or each.incident.part in named:
            continue
        sentence = translate("alerts", "attention", language, what=each.name)
        if each.token_helps:
            found.append(AttentionItem("", sentence, each.detail, None, "get_token", f"/slots/{each.slot}/token"))
        else:
            button = translate("alerts", "attention_button", language)
            found.append(AttentionItem("", sentence, each.detail, None, "page", "/alerts", button=button))
    return found
