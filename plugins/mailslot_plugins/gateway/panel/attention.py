"""What needs attention at the gateway: listeners that are not open, and devices that were refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.service.gateway_documents import read_listeners
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.timestamps import day
from mailslot_plugins.gateway.panel.overview import gateway_log, sentence_of
from mailslot_plugins.panel.home.attention_item import AttentionItem
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Container

    from mailslot.diagnosis.gateway_log import GatewayLog
    from mailslot.service.device import Device

_RECENT: Final = 7 * 86_400.0
"""Seconds for which a device that was refused is shown."""

_MAX_NAMED_DEVICES: Final = 3
_PASSING: Final = frozenset({"device_gone", "device_silent", "device_too_fast"})
"""Causes that end without anybody acting, or that result from a mere port scan."""


async def attention(device: Device, language: str, named: Container[str]) -> list[AttentionItem]:  # noqa: ARG001 - the panel passes it
    """Return the items that need attention.

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
    found = await _of_listeners(log, settings, device.now(), language)
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


async def _of_listeners(log: GatewayLog, settings: GatewaySettings, now: float, language: str) -> list[AttentionItem]:
    """Return the items about listeners: those that are not open, and certificates that expire soon."""

    def item(where: str, sentence: str, advice: str) -> AttentionItem:
        button = translate("gateway", "open_listeners", language)
        return AttentionItem(where, sentence, advice, None, "page", "/gateway/listeners", button=button)

    noted = await read_listeners(log)
    found: list[AttentionItem] = []
    for name, failure in noted.failures.items():
        if name in settings.listeners:
            key = "certificate_not_replaced" if name in noted.addresses else "listener_closed"
            found.append(item(name, translate("gateway", key, language), failure))
    for certificate, names in noted.presented(settings.listeners.values()).items():
        if certificate.ends_soon(now):
            key = "certificate_ended" if certificate.has_ended(now) else "certificate_ends"
            sentence = translate("gateway", key, language, day=day(certificate.valid_until))
            found.append(item(", ".join(names), sentence, translate("gateway", "certificate_advice", language)))
    return found
