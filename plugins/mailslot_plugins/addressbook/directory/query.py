"""Search filters, built as objects (RFC 4511 section 4.5.1.7).

What people type becomes a value in such an object and never part of a filter's text, so nothing needs escaping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from sansldap import FilterAnd, FilterEquality, FilterOr, FilterPresent, FilterSubstrings, LDAPFilter

from mailslot_plugins.addressbook.directory.errors import filter_error

if TYPE_CHECKING:
    from mailslot_plugins.addressbook.directory.source import Source

MAX_TEXT: Final = 100
"""Characters of the searched text; the rest is ignored."""

_MAX_WORDS: Final = 5
_MAX_DEPTH: Final = 20
# Searched in addition to the schema's attributes, so that a family name is found without the first name (RFC 4519).
_NAMES: Final = ("givenName", "sn")


@dataclass(frozen=True, slots=True)
class Query:
    """A search.

    Attributes:
        filter: the entries to find.
        attributes: the attributes to return.
    """

    filter: LDAPFilter
    attributes: tuple[str, ...]


def parse_filter(text: str) -> LDAPFilter:
    """Parse a filter from the settings (RFC 4515).

    Raises:
        ValueError: it is not one.
    """
    if text.count("(") > _MAX_DEPTH * 5 or max_depth(text) > _MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    return LDAPFilter.from_string(text)


def max_depth(text: str) -> int:
    """Return how deeply the parentheses of a filter are nested; those in values are escaped."""
    depth = deepest = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        deepest = max(deepest, depth)
    return deepest


def query(source: Source, kind: Literal["search", "name", "address", "any"], text: str) -> Query:
    """Build a search.

    Args:
        source: the directory.
        kind: ``search``: every word of the text is the beginning of a name or an address; ``name``, ``address``: the
            text is the whole name or address; ``any``: all entries with an address.
        text: what a person has typed.

    Raises:
        DirectoryError: the filter in the settings cannot be used.
    """
    schema = source.schema
    try:
        conditions = [parse_filter(schema.filter)]
    except ValueError as error:
        raise filter_error(source, error) from error
    reached = (schema.mail, schema.fax) if source.fax_gateway else (schema.mail,)
    conditions += [FilterPresent(schema.name), FilterOr([FilterPresent(each) for each in reached])]
    if kind == "search":
        conditions += [_beginning_with(source, word) for word in text[:MAX_TEXT].split()[:_MAX_WORDS]]
    elif kind != "any":
        conditions.append(FilterEquality(schema.name if kind == "name" else schema.mail, _octets(text)))
    return Query(FilterAnd(conditions), tuple(dict.fromkeys((schema.name, schema.display_name, *reached))))


def _beginning_with(source: Source, word: str) -> LDAPFilter:
    schema = source.schema
    attributes = dict.fromkeys((schema.name, schema.display_name, schema.mail, *_NAMES))
    return FilterOr([FilterSubstrings(attribute, _octets(word), [], None) for attribute in attributes])


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "replace")
