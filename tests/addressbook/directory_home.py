"""A home folder whose address book has the lab's directory behind it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync

from lab.slapd import BASE, PASSWORD, USER
from mailslot.oauth.timing import Clocks
from mailslot.plugin import Secret
from mailslot.service.device import open_device
from mailslot.slots.records import Records
from mailslot_plugins.addressbook.directory.password import store_password
from mailslot_plugins.addressbook.directory.source import source_of
from mailslot_plugins.addressbook.section import SECTION
from mailslot_plugins.rules.section import SECTION as RULES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import trustme

    from lab.slapd import Slapd
    from mailslot.plugin import Device


class Home:
    """A home folder whose address book has a directory behind it."""

    def __init__(self, folder: Path, slapd: Slapd, ca: trustme.CA) -> None:
        self.records = Records(folder / "home")
        self.authority = folder / "authority.pem"
        self.authority.write_bytes(ca.cert_pem.bytes())
        self.values: dict[str, Any] = {
            "ldap_server": "localhost",
            "ldap_port": slapd.tls,
            "ldap_base": f"ou=people,{BASE}",
            "ldap_user": USER,
            "ldap_ca_file": str(self.authority),
            "ldap_timeout": 60,
        }

    def set(self, password: str | None = PASSWORD, **values: object) -> None:
        """Set the directory; None unsets a value."""
        self.records.settings.change_section(SECTION, {**self.values, **values})
        source = source_of(self.records.settings.section(SECTION))
        if password is not None and source is not None and source.user:
            store_password(self.records.vault, source, Secret(password))

    @asynccontextmanager
    async def device(self, password: str | None = PASSWORD, **values: object) -> AsyncGenerator[Device]:
        """Open the device with these settings."""
        await run_sync(lambda: self.set(password, **values))
        # Its clock stands still, so that what is kept for a while is kept on a slow machine, too.
        clocks = Clocks(monotonic=lambda: 0.0)
        async with open_device(self.records, [SECTION, RULES], clocks=clocks) as device:
            yield device
