"""The address book as a plugin of the service: its settings, its page and its API operations; it handles no mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.plugin import PanelPackage, SetAside
from mailslot_plugins.addressbook.section import SECTION

if TYPE_CHECKING:
    from mailslot.plugin import Device, Handled, Incoming, Section


class AddressBookPipeline:
    """The pipeline ``addressbook``."""

    name: str = "addressbook"
    section: Section | None = SECTION
    polls: str | None = None
    panel: PanelPackage = PanelPackage("mailslot_plugins.addressbook.panel", has_page=True, icon="person", has_api=True)

    async def handle(self, mail: Incoming, device: Device) -> Handled:  # noqa: ARG002 - nothing is polled
        """Set the mail aside: no record is polled for the address book."""
        return SetAside("No mail is fetched for the address book.")

    async def run(self, device: Device) -> None:
        """Do nothing."""


pipeline: Final = AddressBookPipeline()
"""The entry point's object."""
