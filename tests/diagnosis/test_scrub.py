"""The last look for secrets in what leaves the device."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mailslot.diagnosis.scrub import Scrubber
from mailslot.wire.secret import Secret

TOKEN = "ya29.a0AfB_byC-q9/Zk3+xW7rT5vN1mL8pQ2sD4fG6hJ0"
MASK = "•••"


def scrub(document: object, *secrets: str) -> object:
    return Scrubber(map(Secret, secrets or (TOKEN,))).scrub(document)


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        TOKEN.upper(),
        f"auth=Bearer {TOKEN}\x01\x01",
        TOKEN[10:30],
        TOKEN.encode().hex(),
        TOKEN.encode().hex(" ").upper(),
        "".join(f"%{octet:02X}" for octet in TOKEN.encode()),
        quote(TOKEN, safe=""),
        quote(TOKEN),
        json.dumps(TOKEN),
        *(base64.b64encode(bytes(lead) + TOKEN.encode()).decode() for lead in range(4)),
        base64.urlsafe_b64encode(TOKEN.encode()).decode(),
        base64.b64encode(f"user=a@example.com\x01auth=Bearer {TOKEN}\x01\x01".encode()).decode(),
        " ".join(TOKEN),
        "\n".join(TOKEN[at : at + 5] for at in range(0, len(TOKEN), 5)),
    ],
)
def test_secrets_in_any_encoding(text: str) -> None:
    assert scrub({"a": ["before", f"x {text} y", 1, None, True], "b": "behind"}) == {
        "a": ["before", MASK, 1, None, True],
        "b": "behind",
    }


@pytest.mark.parametrize("size", [1, 3, 7, 11, 13])
@pytest.mark.parametrize("mark", ["", "S: ", "C: ", "*  "])
def test_truncated_secrets(size: int, mark: str) -> None:
    pieces = [mark + TOKEN[at : at + size] for at in range(0, len(TOKEN), size)]
    cleaned = scrub(["S: 220 ready", *pieces, "S: bye"])
    assert isinstance(cleaned, list)
    assert (cleaned[0], cleaned[-1]) == ("S: 220 ready", "S: bye")
    assert set(cleaned[2:-2]) == {MASK}


def test_short_secrets() -> None:
    assert scrub(["S: hunter2!", "the hunter", "aHVudGVyMiE=", "S: hun", "S: ter2!"], "hunter2!") == [
        MASK, "the hunter", MASK, MASK, MASK,
    ]  # fmt: skip
    assert scrub(["S: p%2Bss%2Fw%3Fd", "S: p2b"], "p+ss/w?d") == [MASK, "S: p2b"]
    assert scrub(["1234", "12", "34"], "1234") == [MASK, "12", "34"]
    assert scrub(["abc"], "abc") == ["abc"]


def test_text_without_secrets_is_unchanged() -> None:
    document = {"a": [1, "b", {"c": None}]}
    assert scrub(document) is document
    assert Scrubber([]).scrub(document) is document


def test_host_names_are_kept() -> None:
    assert scrub({TOKEN[:3]: TOKEN}) == {TOKEN[:3]: MASK}


@given(st.binary(min_size=12, max_size=40), st.text(max_size=20), st.text(max_size=20), st.integers(1, 20))
def test_random_secrets(octets: bytes, before: str, behind: str, size: int) -> None:
    secret = base64.b85encode(octets).decode()
    plain = "".join(filter(str.isalnum, secret.casefold()))
    assume(len(plain) >= 12)
    text = before + secret + behind
    cleaned = scrub([text[at : at + size] for at in range(0, len(text), size)], secret)
    assert isinstance(cleaned, list)
    assert plain not in "".join(filter(str.isalnum, "".join(cleaned).casefold()))
