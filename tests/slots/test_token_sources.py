"""Which token source a record has, by its grant and its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.oauth.grant import Grant
from mailslot.oauth.grant_source import GrantSource
from mailslot.slots.records import Records
from mailslot.slots.token_sources import TokenSources
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_grant_by_device_code_is_refreshed_without_an_endpoint_for_codes(tmp_path: Path) -> None:
    records = Records(tmp_path)
    values = {
        "provider": "custom",
        "token_endpoint": "https://id.example/token",
        "authentication": "oauth2",
        "account": "scanner@example.com",
        "client_id": "id",
        "server": "mail.example",
    }
    records.change("smtp", values, {})
    await records.tokens.store("smtp").save(Grant("device", Secret("a"), 0.0, Secret("r"), (), 0.0, 0.0))
    sources = TokenSources(records)
    settings = records.effective("smtp")
    assert isinstance(await sources.source("smtp", settings), GrantSource)
    assert (await records.tokens.status("smtp", settings, 1.0))[0] == "Retrieved"
    await sources.aclose()
