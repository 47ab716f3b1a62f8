"""Internet Fax as a pipeline of the service: what comes in at ``fax.pop`` is a fax, or a report about one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.plugin import RESUBMIT_AFTER, PanelPackage, RetryPolicy, SetAside
from mailslot_plugins.fax.section import FAX

if TYPE_CHECKING:
    from mailslot.plugin import Device, Handled, Incoming, Section

_HOUR: Final = 3600.0


class FaxPipeline:
    """The pipeline."""

    name: str = "fax"
    section: Section | None = FAX
    polls: str | None = "fax-pop"
    retry_policy: RetryPolicy = RetryPolicy(resubmit_after=RESUBMIT_AFTER)
    panel: PanelPackage = PanelPackage("mailslot_plugins.fax.panel", records=("smtp",))

    async def handle(self, mail: Incoming, device: Device) -> Handled:
        """Print a fax, or show a report on the fax that it is about."""
        # What opens and prints mails is only needed where the service runs; commands read the section alone.
        from mailslot_plugins.fax.reception import receive  # noqa: PLC0415

        if mail.path is None:
            return SetAside("Its file is missing.")
        return await receive(mail, mail.path, device)

    async def run(self, device: Device) -> None:
        """Once an hour, note which reports are not waited for any more, and forget mails of long ago."""
        from mailslot_plugins.fax.housekeeping import keep_house  # noqa: PLC0415 - as above

        while True:
            await keep_house(device)
            await device.sleep(_HOUR)


pipeline: Final = FaxPipeline()
"""The entry point's object."""
