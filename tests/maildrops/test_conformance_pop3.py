"""The suite for maildrops, on POP3 and the sandbox."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pytest

from mailslot.slots.connector import Connector
from mailslot.slots.maildrop import maildrop_of
from mailslot.slots.records import Records
from mailslot_plugins.conformance.maildrop import MailboxHarness, MaildropSuite
from mailslot_plugins.sandbox import run_sandbox
from service.polling_device import RECORD, USER, pop_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class TestPop3(MaildropSuite):
    differences: ClassVar = {
        "test_new_mail_is_reported": "POP3 has no way to tell; it is asked at the interval",
    }

    @pytest.fixture
    async def mailbox(self, tmp_path: Path) -> AsyncIterator[MailboxHarness]:
        async with run_sandbox() as sandbox:
            records = Records(tmp_path)
            records.change(RECORD, pop_settings(sandbox, tmp_path), {})
            maildrop = sandbox.maildrops[USER]

            async def deliver(octets: bytes) -> None:
                maildrop.add(octets)

            async def count() -> int:
                return len(maildrop.messages)

            async def clear() -> None:
                maildrop.messages = []

            async def renumber() -> None:
                maildrop.messages = [replace(each, uid=f"new-{each.uid}") for each in maildrop.messages]

            async with Connector(records) as connector:
                profile = await connector.profile(RECORD)
                found, options = await maildrop_of(profile.settings)
                token = (tmp_path / "token").read_text()
                yield MailboxHarness(found, profile, options, deliver, count, clear, renumber, [token])
            assert not sandbox.errors
