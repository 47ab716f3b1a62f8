"""Scan-to-email as a pipeline of the service: it watches a folder and handles no mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.plugin import RESUBMIT_AFTER, PanelPackage, RetryPolicy, SetAside
from mailslot_plugins.scan.section import SECTION

if TYPE_CHECKING:
    from mailslot.plugin import Device, Handled, Incoming, Section


class ScanPipeline:
    """The pipeline ``scan``."""

    name: str = "scan"
    section: Section | None = SECTION
    polls: str | None = None
    retry_policy: RetryPolicy = RetryPolicy(resubmit_after=RESUBMIT_AFTER)
    panel: PanelPackage = PanelPackage("mailslot_plugins.scan.panel", records=("smtp",), sends_documents=True)

    async def handle(self, mail: Incoming, device: Device) -> Handled:  # noqa: ARG002 - nothing is polled
        """Set the mail aside: no record is polled for scans."""
        return SetAside("Scans are sent, and no mail is fetched for them.")

    async def run(self, device: Device) -> None:
        """Watch the folder until cancelled."""
        # Imported here, because commands need only the section.
        from mailslot_plugins.scan.watcher import FolderWatcher  # noqa: PLC0415

        await FolderWatcher(device).run()


pipeline: Final = ScanPipeline()
"""The entry point's object."""
