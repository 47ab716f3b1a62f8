"""The pipeline ``alerts``: while the service runs, it watches printer, tokens and certificates and sends due mails."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.exit_guard import ExitGuard
from mailslot.plugin import DEVICE, RESUBMIT_AFTER, UNATTENDED, MailError, PanelPackage, RetryPolicy, SetAside
from mailslot.service.log import describe_error
from mailslot_plugins.alerts import certificate_watch, printer_watch, token_watch
from mailslot_plugins.alerts.alarms import Alarms
from mailslot_plugins.alerts.scheduled_mail import send_if_due
from mailslot_plugins.alerts.section import SECTION
from mailslot_plugins.alerts.state import Observation
from mailslot_plugins.alerts.webhook import post_stuck_alerts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.plugin import Device, Incoming

TICK_INTERVAL: Final = 5.0
"""Seconds between checks for mails that have become due."""

_WATCH_INTERVAL: Final = 60.0
_WEBHOOK_INTERVAL: Final = 60.0
logger = logging.getLogger(__name__)


class AlertsPipeline:
    """Raises and clears alarms from watches, and sends the mails that are due."""

    name: Final = "alerts"
    section: Final = SECTION
    polls: Final = None
    # A lost alarm is worse than one that arrives twice.
    retry_policy: Final = RetryPolicy(UNATTENDED, resubmit_after=RESUBMIT_AFTER)
    panel: Final = PanelPackage(
        "mailslot_plugins.alerts.panel", has_page=True, has_api=True, icon="bell", records=("alert-smtp",)
    )

    async def handle(self, mail: Incoming, device: Device) -> SetAside:  # noqa: ARG002 - it polls nothing
        """Set the mail aside: no record is polled for alerts."""
        return SetAside("alerts receive no mail")

    async def run(self, device: Device) -> None:
        """Watch until cancelled; a watch that fails does not stop the others."""
        alarms = Alarms(device)
        await alarms.reset_watches(
            printer_watch.SOURCE, printer_watch.LINK, token_watch.SOURCE, certificate_watch.SOURCE
        )

        async def tick() -> str:
            return await alarms.record()

        async def schedule() -> None:
            await send_if_due(device)

        async def printer() -> None:
            values = device.settings(SECTION)
            if values["printer"] is None:
                await alarms.record_observed(Observation(printer_watch.SOURCE), Observation(printer_watch.LINK))
            else:
                await alarms.record_observed(
                    *await printer_watch.observe_printer(values["printer"], ca_file=values["printer_ca_file"])
                )

        async def tokens_and_certificates() -> None:
            language = device.settings(DEVICE)["language"]
            await alarms.record_observed(
                await token_watch.observe_tokens(device.records, device.now(), language),
                await certificate_watch.observe_certificates(device),
            )

        async def webhook() -> None:
            await post_stuck_alerts(device, alarms)

        async with anyio.create_task_group() as group:
            group.start_soon(_repeat, device, tick, lambda: TICK_INTERVAL)
            group.start_soon(_repeat, device, schedule, lambda: TICK_INTERVAL)
            group.start_soon(_repeat, device, printer, lambda: float(device.settings(SECTION)["printer_interval"]))
            group.start_soon(_repeat, device, tokens_and_certificates, lambda: _WATCH_INTERVAL)
            group.start_soon(_repeat, device, webhook, lambda: _WEBHOOK_INTERVAL)


async def _repeat(device: Device, action: Callable[[], Awaitable[str | None]], interval: Callable[[], float]) -> None:
    """Repeat an action; its message, or a failure, is logged when it changes."""
    last_sentence = ""
    while True:
        try:
            with ExitGuard():
                sentence = await action() or ""
        except MailError as error:
            sentence = str(error)
        except Exception as error:  # noqa: BLE001 - a watch that fails does not stop the others
            sentence = f"One of the watches failed: {describe_error(error)}"
        if sentence and sentence != last_sentence:
            logger.warning("Alerts: %s", sentence)
        last_sentence = sentence
        await device.sleep(interval())


pipeline: Final = AlertsPipeline()
