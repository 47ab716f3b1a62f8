"""Addresses that others have written."""

from __future__ import annotations

from email.utils import getaddresses

import pytest

from mailslot.message.address_list import read_addresses


@pytest.mark.parametrize(
    "value",
    [
        "a@b.c", "<a@b.c>", "a.b+c@d", "a'b=c@d", "A B <a@b>", "a@b, c@d", '"a b"@c', "a@[192.0.2.1]",
        "<a@b", "a@b>", ".a@b", "a.@b", "a@b@c", "a b@c", "a@b (c)", " a@b", "<>", "", "x:;", "ä@b.c", "a@b.c\n",
    ],
)  # fmt: skip
def test_an_address_alone_is_read_like_any_other(value: str) -> None:
    assert read_addresses([value]) == getaddresses([value])
    assert read_addresses([value, "x@y"]) == getaddresses([value, "x@y"])


def test_what_only_an_attacker_writes() -> None:
    assert read_addresses(["(" * 100_000]) == []
