"""The JSON Schemas of settings keys."""

from __future__ import annotations

from typing import Any

import pytest

from mailslot.errors import InputError
from mailslot.slots import keys
from mailslot.slots.keys import Key, parse_value, schema
from mailslot.slots.settings import KEYS

TEXT = {"type": "string", "minLength": 1, "maxLength": 1000}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (KEYS["server"], TEXT),
        (KEYS["port"], {"type": "integer", "minimum": 1, "maximum": 65535}),
        (KEYS["security"], {"enum": ["none", "starttls", "tls"]}),
        (KEYS["scopes"], {"type": "array", "items": TEXT, "minItems": 1}),
        (Key("", keys.flag), {"type": "boolean"}),
        (
            Key("", keys.list_of(keys.one_of("a", "b"), max_items=3)),
            {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1, "maxItems": 3},
        ),
        # Of a plugin's own way to read, its default tells something.
        (Key("", str), TEXT),
        (Key("", lambda value: value, default=5), {"type": "integer"}),
        (Key("", lambda value: value, default=True), {"type": "boolean"}),
        (Key("", lambda value: value, default=()), {"type": "array", "items": TEXT}),
    ],
)
def test_schemas(key: Key, expected: dict[str, Any]) -> None:
    assert schema(key) == {**expected, "description": key.allowed}


def test_list_lengths_are_bounded() -> None:
    known = {"list": Key("at most two", keys.list_of(keys.text, max_items=2))}
    assert parse_value(known, "list", ["a", "b", "a"]) == ("a", "b")
    with pytest.raises(InputError, match="at most two"):
        parse_value(known, "list", "a b c")
