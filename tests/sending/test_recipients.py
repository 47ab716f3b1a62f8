"""Lists of addresses as people write them."""

from __future__ import annotations

import pytest

from mailslot.errors import InputError
from mailslot_plugins.sending.recipients import parse_mailbox, parse_mailboxes, remove_duplicates, split_list


def read(*texts: str) -> list[tuple[str, str]]:
    return [(each.name, each.address) for each in parse_mailboxes(texts)]


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["a@example.com"], [("", "a@example.com")]),
        (["a@example.com, b@example.com;c@example.com"], [("", f"{n}@example.com") for n in "abc"]),
        ([" a@example.com ", "", "a@EXAMPLE.com,"], [("", "a@example.com")]),
        (["A@example.com", "a@example.com"], [("", "A@example.com"), ("", "a@example.com")]),
        (
            ['"Doe, Jane; Dr." <j@example.com>, b@example.com'],
            [("Doe, Jane; Dr.", "j@example.com"), ("", "b@example.com")],
        ),
        (["Zoë <z@example.com>"], [("Zoë", "z@example.com")]),
        ([r'"a \"b\"" <a@example.com>'], [('a "b"', "a@example.com")]),
        (
            [r'"A \"B, C\" D" <a@example.com>, b@example.com'],
            [('A "B, C" D', "a@example.com"), ("", "b@example.com")],
        ),
        (
            ['"a,b"@example.com,<c@example.com>,<"d,e"@example.com>'],
            [("", f"{n}@example.com") for n in ('"a,b"', "c", '"d,e"')],
        ),
        (["bøb@example.com"], [("", "bøb@example.com")]),
    ],
)
def test_lists(texts: list[str], found: list[tuple[str, str]]) -> None:
    assert read(*texts) == found


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a, <b, c", ["a", "<b", "c"]),
        ("a>, b", ["a>", "b"]),
        ('a, "b, c', ["a", '"b, c']),
        ('a, "b, c\\', ["a", '"b, c\\']),
        ('"a" "b, c" d, e', ['"a" "b, c" d', "e"]),
    ],
)
def test_nothing_of_a_wrong_list_is_lost(text: str, parts: list[str]) -> None:
    assert split_list(text) == parts


@pytest.mark.parametrize("piece", [",", ',"', ",<", ',"\\', ',"<', ',\\"'])
def test_a_long_list_is_split_at_once(piece: str) -> None:
    # If each comma looked through the whole rest, this would take hours.
    assert "".join(split_list(piece * 500_000 + "end")).endswith("end")


def test_all_bad_ones_are_named() -> None:
    with pytest.raises(InputError) as caught:
        parse_mailboxes(["good@example.com, bad, a b@example.com", "c@", "d@example.com\r\nBcc: e@example.com"])
    result = str(caught.value)
    hint = "it is not of the form name@domain, and names of the address book begin with @"
    assert result.startswith(f"These 4 addresses cannot be used: 'bad' ({hint}); ")
    for bad in ("'a b@example.com'", "'c@'", r"\r\nBcc"):
        assert bad in result
    assert "good" not in result
    assert result.endswith("Nothing was sent.")
    assert "\n" not in result


def test_one_bad_one() -> None:
    with pytest.raises(InputError, match=r"^This address cannot be used: 'bad'"):
        parse_mailboxes(["bad"])


def test_duplicate_recipients_are_merged() -> None:
    to, cc = remove_duplicates(
        parse_mailboxes(["a@example.com"]), parse_mailboxes(["A <a@example.com>, b@example.com"])
    )
    assert [each.address for each in (*to, *cc)] == ["a@example.com", "b@example.com"]


def test_a_name_cannot_contain_a_line_break() -> None:
    with pytest.raises(InputError):
        parse_mailbox("Evil\r\nBcc: x@example.com <a@example.com>")
