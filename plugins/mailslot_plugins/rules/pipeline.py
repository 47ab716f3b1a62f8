"""The rules for sending as a plugin of the service: settings and texts only; it handles no mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.plugin import PanelPackage, SetAside
from mailslot_plugins.rules.section import SECTION

if TYPE_CHECKING:
    from mailslot.plugin import Device, Handled, Incoming, Section


class RulesPipeline:
    """The pipeline ``rules``."""

    name: str = "rules"
    section: Section | None = SECTION
    polls: str | None = None
    panel: PanelPackage = PanelPackage("mailslot_plugins.rules.panel", records=("smtp",))

    async def handle(self, mail: Incoming, device: Device) -> Handled:  # noqa: ARG002 - nothing is polled
        """Set the mail aside: no record is polled for the rules."""
        return SetAside("No mail is fetched for the rules for sending.")

    async def run(self, device: Device) -> None:
        """Do nothing."""


pipeline: Final = RulesPipeline()
"""The entry point's object."""
