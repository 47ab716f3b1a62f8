"""Internet Fax as a pipeline of the service: mail at ``fax.pop`` is a fax, or a report about one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.plugin import RESUBMIT_AFTER, PanelPackage, RetryPolicy, SetAside
from mailslot_plugins.fax.section import SECTION

if TYPE_CHECKING:
    from mailslot.plugin import Device, Handled, Incoming, Section

_HOUR: Final = 3600.0


class FaxPipeline:
    """The pipeline ``fax``."""

    name: str = "fax"
    section: Section | None = SECTION
    polls: str | None = "fax-pop"
    retry_policy: RetryPolicy = RetryPolicy(resubmit_after=RESUBMIT_AFTER)
    panel: PanelPackage = PanelPackage("mailslot_plugins.fax.panel", records=("smtp",), sends_documents=True)

    async def handle(self, mail: Incoming, device: Device) -> Handled:
        """Print a fax, or add a report to the fax that it is about."""
        # Imported here, because commands need only the section.
        from mailslot_plugins.fax.reception import receive  # noqa: PLC0415

        if mail.path is None:
            return SetAside("Its file is missing.")
        return await receive(mail, mail.path, device)

    async def abandon(self, mail: Incoming, device: Device) -> None:
        """Cancel what interrupted attempts to print a fax have left at printers."""
        from mailslot_plugins.fax.reception import abandon  # noqa: PLC0415 - as above

        await abandon(mail, device)

    async def run(self, device: Device) -> None:
        """Clean up once an hour."""
        from mailslot_plugins.fax.cleanup import clean_up  # noqa: PLC0415 - as above

        while True:
            await clean_up(device)
            await device.sleep(_HOUR)


pipeline: Final = FaxPipeline()
"""The entry point's object."""
