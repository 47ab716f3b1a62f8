"""Scan-to-email as a pipeline of the service: it looks after the watched folder, and handles no mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.plugin import RESUBMIT_AFTER, PanelPackage, RetryPolicy, SetAside
from mailslot_plugins.scan.section import SCAN

if TYPE_CHECKING:
    from mailslot.plugin import Device, Handled, Incoming, Section


class ScanPipeline:
    """The pipeline."""

    name: str = "scan"
    section: Section | None = SCAN
    polls: str | None = None
    retry_policy: RetryPolicy = RetryPolicy(resubmit_after=RESUBMIT_AFTER)
    panel: PanelPackage = PanelPackage("mailslot_plugins.scan.panel", records=("smtp",))

    async def handle(self, mail: Incoming, device: Device) -> Handled:  # noqa: ARG002 - nothing is polled
        """Refuse: no record is polled for scans."""
        return SetAside("Scans are sent, and no mail is fetched for them.")

    async def run(self, device: Device) -> None:
        """Look after the watched folder until cancelled."""
        # What makes mails is only needed where the service runs; commands read the section alone.
        from mailslot_plugins.scan.watcher import Watcher  # noqa: PLC0415

        await Watcher(device).run()


pipeline: Final = ScanPipeline()
"""The entry point's object."""
