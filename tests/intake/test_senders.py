"""Lists of senders."""

from __future__ import annotations

import pytest

from mailslot_plugins.intake.senders import sender_list


def test_addresses_and_domains() -> None:
    assert sender_list()("Bob@Partner.example; @example.com") == ("bob@partner.example", "@example.com")


@pytest.mark.parametrize("entered", [";", "bob@partner", "@partner", "a@example.com, bob@partner", "partner.example"])
def test_what_nobody_can_send_from(entered: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        sender_list()(entered)
