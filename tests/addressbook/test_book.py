"""What a name stands for, and what an import changes."""

from __future__ import annotations

import pytest

from mailslot.plugin import InputError
from mailslot_plugins.addressbook.book import AddressBook
from mailslot_plugins.addressbook.entry import Entry

ALICE = Entry("alice", "Example, Alice", ("alice@example.com",), (), ("accounting",))
BOB = Entry("bob", "", ("bob@example.com", "b@example.net"), ("FAX=+12027653000@gateway.example",), ("accounting",))
BOOK = AddressBook({entry.name: entry for entry in (BOB, ALICE)})


def test_a_name_stands_for_an_entry_or_a_group() -> None:
    assert BOOK.expand(["@Alice, carol@example.com", "@accounting"]) == [
        '"Example, Alice" <alice@example.com>',
        "carol@example.com",
        '"Example, Alice" <alice@example.com>',
        "bob@example.com",
        "b@example.net",
    ]
    assert BOOK.expand(["@accounting"], fax=True) == ["FAX=+12027653000@gateway.example"]


@pytest.mark.parametrize(
    ("name", "fax", "sentence"),
    [
        ("@acounting", False, "There is no @acounting in the address book. Did you mean accounting?"),
        ("@alice", True, "@alice has no fax address in the address book."),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(name: str, fax: bool, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        BOOK.expand([name], fax=fax)
    assert str(caught.value) == sentence


def test_an_import_says_what_it_changes() -> None:
    changed, new = Entry("bob", "Bob", ("bob@example.com",)), Entry("carol", "", ("c@example.com",))
    merged = BOOK.changes([ALICE, changed, new])
    assert (merged.added, merged.changed, merged.unchanged, merged.removed) == (("carol",), ("bob",), ("alice",), ())
    assert BOOK.changes([ALICE], replace_all=True).removed == ("bob",)


def test_a_name_is_not_an_entry_and_a_group() -> None:
    with pytest.raises(InputError, match="@accounting would be an entry and a group"):
        BOOK.changes([Entry("accounting", "", ("a@example.com",))])
    # An import that replaces everything need not fit what was there.
    BOOK.changes([Entry("accounting", "", ("a@example.com",))], replace_all=True)
