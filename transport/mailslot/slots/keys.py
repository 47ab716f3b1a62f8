"""The keys of ``mailslot.toml``, and parsers for their values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import urlsplit

from mailslot.errors import InputError
from mailslot.net.endpoint import Endpoint, Security
from mailslot.shortage import is_shortage
from mailslot.smtp.address import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mailslot.slots.slot import Protocol

BOTH: Final[tuple[Protocol, ...]] = ("SMTP", "POP")

SetterRole = Literal["api_key", "administrator", "local"]
"""Who may set a key, from the least privileged role to the most: anybody with an API key; the administrator, signed in
to the panel; somebody with a login on the device. A role may also set everything that the roles before it may."""

MAX_TEXT: Final = 1000
"""The maximum characters of a text; no setting needs more."""

_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s]*(?=@)")


NETWORK_PRINTER: Final = "network_printer"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a settings table.

    Attributes:
        allowed: the allowed values, described for people.
        parse: converts text, or a value from TOML, to the key's value; raises `ValueError` (or its subclass
            `InputError`) if it is not allowed.
        protocols: the kinds of records that have this key.
        default: the value if it is not set.
        plugins: returns the plugins that a value uses, as pairs of group and name; None if no value uses a plugin.
        private: whether the value could be misused by somebody who knows it, such as a webhook's URL. A private value
            is neither exported nor put into a report, and no error quotes it.
        set_by: the least role that may set it, or a function that returns that role for a value (for a list, for each
            item); see `mailslot.slots.permission`. None for the default: ``"local"`` for a path, which could disclose
            or overwrite files of the device, else ``"api_key"``.
        advanced: whether it is rarely set, so that forms hide it until it is asked for.
        forms: the forms that a value can have, each with a name and the text that such a value begins with, so that a
            person can choose one instead of writing that text. The form `NETWORK_PRINTER` is the address of one.
        suggested_by: the name of a pipeline whose page in the panel suggests values; empty for none.
        needs_service: whether only a service of the device's own does what it says, and no worker of a fleet.
    """

    allowed: str
    parse: Callable[[object], Any]
    protocols: tuple[Protocol, ...] = BOTH
    default: Any = None
    private: bool = False
    plugins: Callable[[Any], Iterable[tuple[str, str]]] | None = None
    set_by: SetterRole | Callable[[Any], SetterRole] | None = None
    advanced: bool = False
    forms: tuple[tuple[str, str], ...] = ()
    suggested_by: str = ""
    needs_service: bool = False


@dataclass(frozen=True, slots=True)
class Parser:
    """A parser of values with their JSON Schema.

    Attributes:
        parse: as `Key.parse`.
        schema: the JSON Schema of the values. `parse` also accepts text for a number or a list.
        useless: returns the items of a value that have no effect. The file may contain them, so that it stays usable
            when a rule is added, but nobody may set them.
    """

    parse: Callable[[object], Any]
    schema: Mapping[str, Any]
    useless: Callable[[Any], Sequence[str]] = lambda _value: ()

    def __call__(self, value: object) -> Any:  # noqa: ANN401 - whatever the key holds
        """Return the value."""
        return self.parse(value)


def text(value: object) -> str:
    """Parse a text on one line."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > MAX_TEXT:
        raise ValueError
    return value.strip()


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in {"true", "yes", "on", "false", "no", "off"}:
        raise ValueError
    return word in {"true", "yes", "on"}


flag: Final = Parser(_flag, {"type": "boolean"})
"""Parses a boolean: ``true``, ``yes``, ``on``, ``false``, ``no`` or ``off``."""


def number(minimum: int, maximum: int) -> Parser:
    """Return a parser for an integer within bounds."""

    def parse(value: object) -> int:
        found = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()) else value
        if not isinstance(found, int) or isinstance(found, bool) or not minimum <= found <= maximum:
            raise ValueError
        return found

    return Parser(parse, {"type": "integer", "minimum": minimum, "maximum": maximum})


def one_of(*choices: str, convert: Callable[[str], Any] = str) -> Parser:
    """Return a parser for one of several words, in upper or lower case; `convert` makes the value from the word."""

    def parse(value: object) -> Any:  # noqa: ANN401 - whatever `convert` returns
        if not isinstance(value, str) or value.strip().lower() not in choices:
            raise ValueError
        return convert(value.strip().lower())

    return Parser(parse, {"enum": list(choices)})


def host(value: object) -> str:
    """Parse a host name or an IP address."""
    return Endpoint(text(value), 1, Security.NONE).host


def address(value: object) -> str:
    """Parse an e-mail address."""
    return parse_address(text(value), "sender").original


def list_of(parse: Callable[[object], str], separators: str = r"[\s,;]+", max_items: int | None = None) -> Parser:
    """Return a parser for a list, or a text with separators, of 1 to `max_items` items; duplicates are removed."""
    bound = {} if max_items is None else {"maxItems": max_items}

    def parse_list(value: object) -> tuple[str, ...]:
        parts = [part for part in re.split(separators, value) if part] if isinstance(value, str) else value
        if not isinstance(parts, list) or not parts:
            raise ValueError
        found = tuple(dict.fromkeys(parse(part) for part in cast("list[object]", parts)))
        if max_items is not None and len(found) > max_items:
            raise ValueError
        return found

    return Parser(
        parse_list,
        {"type": "array", "items": parse.schema if isinstance(parse, Parser) else _TEXT, "minItems": 1} | bound,
    )


def url(value: object) -> str:
    """Parse an https URL, or an http one on a loopback address."""
    found = text(value)
    parts = urlsplit(found)
    loopback = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if not parts.hostname or parts.fragment or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
        raise ValueError
    return found


def path(value: object) -> Path:
    """Parse the path of a file or folder."""
    return Path(text(value))


def schema(key: Key) -> dict[str, Any]:
    """Return the JSON Schema of a key's values, with `Key.allowed` as its description."""
    known = key.parse.schema if isinstance(key.parse, Parser) else _schema_like(key.default)
    return {**known, "description": key.allowed}


def _schema_like(value: object) -> Mapping[str, Any]:
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "integer"}
    return {"type": "array", "items": _TEXT} if isinstance(value, tuple) else _TEXT


def names_plugin(group: str) -> Callable[[str], list[tuple[str, str]]]:
    """Return `Key.plugins` for a text whose first word is the name of a plugin in a group of entry points."""
    return lambda value: [(group, value.partition(" ")[0])]


def parse_value(known: Mapping[str, Key], key: str, value: object, *, others: Iterable[str] = ()) -> Any:  # noqa: ANN401 - whatever the key holds
    """Parse a value of a key.

    Args:
        known: all keys of the table.
        key: the key's name.
        value: text, or a value from TOML; None, which unsets the key, stays None.
        others: names that are stored elsewhere, and suggested for misspelt ones as well.

    Raises:
        InputError: there is no such key, or the value is not allowed.
    """
    if key not in known:
        hint = suggestion(key, [*known, *others]) or f" The settings are: {', '.join(known)}."
        raise InputError(f"There is no setting {quoted_value(key)}.{hint}", stage="resolve", key=key)
    try:
        return None if value is None else known[key].parse(value)
    except Exception as error:
        # A plugin's parser may expect text alone, and TOML has other types. No setting may make all others unreadable.
        if is_shortage(error):
            raise
        if known[key].private:  # the error also gets into logs and reports
            sentence = f"The setting {key} must be {known[key].allowed}."
        else:
            sentence = f"The setting {key} is {quoted_value(value)}; it must be {known[key].allowed}."
        raise InputError(sentence, stage="resolve", key=key) from None


def parse_new_value(known: Mapping[str, Key], key: str, value: object) -> Any:  # noqa: ANN401 - whatever the key holds
    """Parse a value that somebody sets, as `parse_value` does for one that is in the file.

    Raises:
        InputError: as for `parse_value`, or an item of it would have no effect.
    """
    parsed = parse_value(known, key, value)
    if sentence := useless_items(known, key, parsed):
        raise InputError(sentence, stage="resolve", key=key)
    return parsed


def useless_items(known: Mapping[str, Key], key: str, value: object) -> str:
    """Return a sentence about the items of a value that have no effect; empty if there are none."""
    parse = known[key].parse if key in known else None
    items = parse.useless(value) if isinstance(parse, Parser) and value is not None else ()
    if not items:
        return ""
    return f"{', '.join(items)} in {key} has no effect: no address has this form. Correct it, or leave it out."


def json_value(value: object) -> Any:  # noqa: ANN401 - whatever JSON and TOML hold
    """Return a setting's value as JSON and TOML represent it; None stays None, though TOML has no such value."""
    if isinstance(value, tuple | list):
        return [json_value(one) for one in cast("tuple[object, ...]", value)]
    if value is None or isinstance(value, int | float | str):
        return value
    return str(getattr(value, "value", value))


def quoted_value(value: object) -> str:
    """Return a value to be quoted in a sentence: on one line, shortened, and without the password in a URL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    entries = cast("list[object]", value) if isinstance(value, list) else []
    if entries and all(isinstance(entry, str) for entry in entries):
        value = ", ".join(map(str, entries))  # as people enter it
    shown_text = _CREDENTIALS.sub("…", f"{value!r}")
    return shown_text if len(shown_text) <= 80 else f"{shown_text[:79]}…"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a suggestion for a misspelt name, such as ``" Did you mean port?"``; empty if no name is close."""
    near = get_close_matches(word.lower().replace("-", "_"), list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""
