"""The gateway as a pipeline of the service: it opens listeners, and handles the mail of accounts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from mailslot.plugin import RESUBMIT_AFTER, UNATTENDED, PanelPackage, RetryPolicy

if TYPE_CHECKING:
    from mailslot.plugin import Device, Handled, Incoming, Section


class GatewayPipeline:
    """The pipeline ``gateway``."""

    name: str = "gateway"
    section: Section | None = None
    polls: str | None = None
    polls_accounts: bool = True
    drains: bool = True
    # A scan that arrives twice does less harm than a lost one: the device does not keep it.
    retry_policy: RetryPolicy = RetryPolicy(UNATTENDED, resubmit_after=RESUBMIT_AFTER)
    panel: PanelPackage = PanelPackage("mailslot_plugins.gateway.panel", has_page=True, icon="copier", has_api=True)

    async def handle(self, mail: Incoming, device: Device) -> Handled:
        """Apply reports, and keep other mail for the devices that fetch it."""
        from mailslot_plugins.gateway.returned_mail import handle_account_mail  # noqa: PLC0415 - the commands need only the name

        return await handle_account_mail(mail, device)

    async def run(self, device: Device) -> None:
        """Serve devices until the service stops."""
        while not device.gateway.listeners:
            # Servers are loaded when they are first needed.
            if device.stopping.is_set():
                return
            await device.pause(math.inf)
        from mailslot_plugins.gateway.listeners import serve_listeners  # noqa: PLC0415 - as above

        await serve_listeners(device)


pipeline: Final = GatewayPipeline()
"""The entry point's object."""
