"""The suite for maildrops, on IMAP and Dovecot."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest
from anyio.to_thread import run_sync

from maildrops.imap_device import ALICE, RECORD, open_imap_device
from mailslot.slots.connector import Connector
from mailslot.slots.maildrop import maildrop_of
from mailslot_plugins.conformance.maildrop import MailboxHarness, MaildropSuite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import trustme

    from lab.dovecot import Dovecot
    from lab.provider import Provider


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """It runs on asyncio alone."""
    return "asyncio"


class TestImap(MaildropSuite):
    differences: ClassVar = {
        "test_it_runs_on_trio": "aioimaplib runs on asyncio alone",
        "test_the_total_size": "SELECT tells how many mails there are, and only a listing how many octets",
    }

    @pytest.fixture
    async def mailbox(
        self, tmp_path: Path, dovecot: Dovecot, provider: Provider, ca: trustme.CA
    ) -> AsyncIterator[MailboxHarness]:
        imap_device = open_imap_device(tmp_path, dovecot, provider, ca)

        async def deliver(octets: bytes) -> None:
            dovecot.deliver(ALICE, octets)

        async def count() -> int:
            return len(dovecot.messages(ALICE))

        async def clear() -> None:
            await run_sync(imap_device.expunge)

        async def renumber() -> None:
            imap_device.renumber()

        async with Connector(imap_device.records) as connector:
            profile = await connector.profile(RECORD)
            found, options = await maildrop_of(profile.settings)
            yield MailboxHarness(found, profile, options, deliver, count, clear, renumber, [imap_device.token])
