"""The pipeline of alerts: while the service runs, it watches the printer and the tokens, and keeps the times."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.exit_guard import ExitGuard
from mailslot.plugin import RESUBMIT_AFTER, UNATTENDED, MailError, PanelPackage, RetryPolicy, SetAside
from mailslot.service.log import describe_error
from mailslot_plugins.alerts import health_watch, ipp_watch
from mailslot_plugins.alerts.alarms import Alarms
from mailslot_plugins.alerts.board import Observed
from mailslot_plugins.alerts.scheduled_mail import send_if_due
from mailslot_plugins.alerts.section import SECTION
from mailslot_plugins.alerts.webhook import post_stuck

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.plugin import Device, Incoming

TICK: Final = 5.0
"""How often what has become due by time alone is looked at, in seconds."""

_HEALTH: Final = 60.0
_WEBHOOK: Final = 60.0
logger = logging.getLogger(__name__)


class AlertsPipeline:
    """Raises and clears what can be seen, and sends what is due."""

    name: Final = "alerts"
    section: Final = SECTION
    polls: Final = None
    # An alarm that nobody hears of is worse than one that arrives twice.
    retry_policy: Final = RetryPolicy(UNATTENDED, resubmit_after=RESUBMIT_AFTER)
    panel: Final = PanelPackage("mailslot_plugins.alerts.panel", has_page=True, icon="bell", records=("alert-smtp",))

    async def handle(self, mail: Incoming, device: Device) -> SetAside:  # noqa: ARG002 - it polls nothing
        """Take no mail."""
        return SetAside("alerts take no mail")

    async def run(self, device: Device) -> None:
        """Watch until cancelled; one watch that fails stops no other."""
        alarms = Alarms(device)
        await alarms.resume(ipp_watch.SOURCE, ipp_watch.LINK, health_watch.SOURCE)

        async def tick() -> str:
            return await alarms.tell()

        async def schedule() -> None:
            await send_if_due(device)

        async def printer() -> None:
            values = device.settings(SECTION)
            if values["printer"] is None:
                await alarms.watched(Observed(ipp_watch.SOURCE), Observed(ipp_watch.LINK))
            else:
                await alarms.watched(*await ipp_watch.watch(values["printer"], ca_file=values["printer_ca_file"]))

        async def tokens() -> None:
            await alarms.watched(await health_watch.watch(device.records, device.now()))

        async def webhook() -> None:
            await post_stuck(device, alarms)

        async with anyio.create_task_group() as group:
            group.start_soon(_repeat, device, tick, lambda: TICK)
            group.start_soon(_repeat, device, schedule, lambda: TICK)
            group.start_soon(_repeat, device, printer, lambda: float(device.settings(SECTION)["printer_interval"]))
            group.start_soon(_repeat, device, tokens, lambda: _HEALTH)
            group.start_soon(_repeat, device, webhook, lambda: _WEBHOOK)


async def _repeat(device: Device, work: Callable[[], Awaitable[str | None]], pause: Callable[[], float]) -> None:
    """Do something again and again; what it says, and a failure, is logged once."""
    said = ""
    while True:
        try:
            with ExitGuard():
                sentence = await work() or ""
        except MailError as error:
            sentence = str(error)
        except Exception as error:  # noqa: BLE001 - one watch that fails stops no other
            sentence = f"One of the watches failed: {describe_error(error)}"
        if sentence and sentence != said:
            logger.warning("Alerts: %s", sentence)
        said = sentence
        await device.sleep(pause())


pipeline: Final = AlertsPipeline()
