"""Lists of senders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot.errors import InputError
from mailslot.slots.records import Records
from mailslot_plugins.fax.section import SECTION as FAX
from mailslot_plugins.intake.senders import sender_list

if TYPE_CHECKING:
    from pathlib import Path


def test_addresses_and_domains() -> None:
    assert sender_list()("Bob@Partner.example; @example.com") == ("bob@partner.example", "@example.com")


@pytest.mark.parametrize("entered", [";", "partner.example", "bob@", "@"])
def test_what_is_no_sender(entered: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        sender_list()(entered)


def test_what_nobody_can_send_from() -> None:
    found = sender_list()("a@example.com, bob@partner, @partner, root@localhost, x@[192.0.2.1]")
    assert sender_list().useless(found) == ("bob@partner", "@partner")


def test_an_entry_of_before_does_not_make_the_settings_unusable(tmp_path: Path) -> None:
    (tmp_path / "mailslot.toml").write_text('[fax]\nallowed_senders = ["bob@partner"]\n')
    settings = Records(tmp_path).settings
    assert settings.change_section(FAX, {"max_pages": 100})["allowed_senders"] == ("bob@partner",)
    with pytest.raises(InputError, match=r"^bob@partner in allowed_senders has no effect") as refused:
        settings.change_section(FAX, {"allowed_senders": "a@example.com, bob@partner"})
    assert refused.value.key == "allowed_senders"
    assert settings.section(FAX)["allowed_senders"] == ("bob@partner",)
