"""A message through the submitter, and what mailslot expects of every submitter; both on the sandbox."""

import logging

import pytest

from mailslot.plugin import Message, Password
from mailslot_plugins.conformance.submitter import SubmitterSuite
from mailslot_plugins.sandbox import run_sandbox
from mailslot_sample.logged import connect

SCANNER, ALICE = "scanner@example.com", "alice@example.com"


class TestConformance(SubmitterSuite):
    submitter = staticmethod(connect)


async def test_a_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    message = Message(sender=SCANNER, to=[ALICE], subject="Hello", text="Hello.")
    async with (
        run_sandbox() as sandbox,
        connect(sandbox.smtp, Password(SCANNER, "open sesame"), ssl_context=sandbox.client_context()) as session,
    ):
        receipt = await session.submit(SCANNER, [ALICE], message)
    assert list(receipt.accepted) == [ALICE]
    assert "The server took a message for 1 of 1 recipients" in caplog.text
