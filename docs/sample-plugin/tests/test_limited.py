"""What mailslot expects of every maildrop, on the sandbox."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from mailslot.plugin import Connector, Records, maildrop_of
from mailslot_plugins.conformance.maildrop import MailboxHarness, MaildropSuite
from mailslot_plugins.sandbox import run_sandbox

USER = "print@example.com"


class TestConformance(MaildropSuite):
    differences: ClassVar[Mapping[str, str]] = {
        "test_new_mail_is_reported": "POP3 has no way to tell",
        "test_the_total_size": "it would have to list them",
    }

    @pytest.fixture
    async def mailbox(self, tmp_path: Path) -> AsyncIterator[MailboxHarness]:
        async with run_sandbox() as sandbox:
            server = sandbox.maildrops[USER]
            token = sandbox.provider.issue(USER).value.reveal()
            (tmp_path / "token").write_text(token)
            (tmp_path / "ca.pem").write_bytes(sandbox.ca_pem)
            records = Records(tmp_path)
            settings = {
                "server": sandbox.pop3s.host,
                "port": sandbox.pop3s.port,
                "security": "tls",
                "ca_file": str(tmp_path / "ca.pem"),
                "account": USER,
                "authentication": "oauth2",
                "token_source": f"file {tmp_path / 'token'}",
                "maildrop": "limited",
            }
            records.change("print-pop", settings, {})

            async def deliver(mail: bytes) -> None:
                server.add(mail)

            async def count() -> int:
                return len(server.messages)

            async def clear() -> None:
                server.messages = []

            async def renumber() -> None:
                server.messages = [replace(each, uid=f"new-{each.uid}") for each in server.messages]

            async with Connector(records) as connector:
                profile = await connector.profile("print-pop")
                maildrop, options = await maildrop_of(profile.settings)
                yield MailboxHarness(maildrop, profile, options, deliver, count, clear, renumber, [token])
