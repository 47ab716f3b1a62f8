"""What needs attention at the gateway: listeners that are not open, and devices that were refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot_plugins.gateway.panel.overview import gateway_log, sentence_of
from mailslot_plugins.panel.home.attention_item import AttentionItem
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Container

    from mailslot.service.device import Device

_RECENT: Final = 7 * 86_400.0
"""Seconds for which a device that was refused is shown."""

_MAX_NAMED_DEVICES: Final = 3
_PASSING: Final = frozenset({"device_gone", "device_silent", "device_too_fast"})
"""Causes that end by themselves, or come of somebody who only looks whether a port is open."""


async def attention(device: Device, language: str, named: Container[str]) -> list[AttentionItem]:  # noqa: ARG001 - the panel passes it
    """Return what needs attention.

    Args:
        device: the device that mailslot runs on.
        language: the language of the sentences.
        named: the slots that already have an entry in the list.
    """
    try:
        settings = GatewaySettings.of(await run_sync(device.records.settings.current))
    except InputError:
        # The other items say that the settings cannot be read.
        return []
    log = gateway_log(device)
    found = [
        AttentionItem(
            name,
            translate("gateway", "listener_closed", language),
            failure,
            None,
            "page",
            "/gateway/listeners",
            button=translate("gateway", "open_listeners", language),
        )
        for name, failure in (await log.failures()).items()
        if name in settings.listeners
    ]
    refused: list[AttentionItem] = []
    for name in settings.devices:
        last = next(iter(await log.dialogues(name)), None)
        if last is None or last.ok or last.cause in _PASSING or device.now() - last.at > _RECENT:
            continue
        sentence = sentence_of(last, language)
        button = translate("gateway", "open_device", language)
        refused.append(
            AttentionItem(name, sentence.text, sentence.advice, None, "page", f"/gateway/devices/{name}", button=button)
        )
    return found + refused[:_MAX_NAMED_DEVICES]
