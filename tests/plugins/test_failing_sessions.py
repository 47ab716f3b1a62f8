"""Third-party submitters and maildrops that raise unexpected errors while they open a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.connection_test import check_connection as connection_test
from mailslot.errors import MailError
from mailslot.slots.connector import Connector, open_smtp
from mailslot.slots.maildrop import open_maildrop
from mailslot.slots.records import Records
from mailslot.slots.slot import SlotDirectory

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.conftest import Site

MODULE = """
from contextlib import asynccontextmanager

@asynccontextmanager
async def late(endpoint, auth=None, /, *, on_stage=None, **how):
    on_stage("connect")
    raise KeyError("hunter2")
    yield

def exits(*_, **how):
    raise SystemExit("hunter2")

class Drop:
    options = {}
    def mailbox_id(self, options):
        return ""
    def open(self, access, options, *, transcript=None, on_stage=None):
        return late(access.endpoint, on_stage=on_stage)

drop = Drop()
"""


@pytest.fixture
def records(site: Site, tmp_path: Path) -> Records:
    site.module("acme_sessions", MODULE)
    submitters = "[mailslot.submitters]\nlate = acme_sessions:late\nexits = acme_sessions:exits\n"
    site.install("acme", f"{submitters}[mailslot.maildrops]\nlate = acme_sessions:drop\n")
    return Records(tmp_path / "home")


@pytest.mark.parametrize(
    ("slot", "name", "stage", "kind"),
    [
        ("network.smtp", "late", "connect", "KeyError"),
        ("network.smtp", "exits", "resolve", "SystemExit"),
        ("fax.pop", "late", "connect", "KeyError"),
    ],
)
async def test_the_failing_plugin_is_named(records: Records, slot: str, name: str, stage: str, kind: str) -> None:
    found = SlotDirectory().find(slot)
    smtp = found.protocol == "SMTP"
    what = "submitter" if smtp else "maildrop"
    values = {"server": "localhost", "port": 25, "security": "none", what: name}
    records.change(found.record, {**values, "sender_address": "a@example.com"} if smtp else values, {})
    async with Connector(records) as connector:
        profile = await connector.profile(found.record)
        with pytest.raises(MailError) as raised:
            async with open_smtp(profile) if smtp else open_maildrop(profile):
                pass
        result = await connection_test(connector, found)
    error = raised.value
    assert (str(error), error.stage) == (f"The {what} {name} failed: it has an error of its own.", stage)
    assert error.retryable
    assert error.detail.startswith(f"{kind} (")
    assert "acme_sessions.py" in error.detail
    assert (result.ok, result.stage, result.diagnosis.cause) == (False, stage, "unknown")
    assert f"The {what} {name} failed" in explain(result.diagnosis).message
    assert "hunter2" not in f"{error} {error.detail} {result}"
