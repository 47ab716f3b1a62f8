"""The result of a test of a directory, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailslot_plugins.addressbook.directory.directory import DirectoryAnswer
    from mailslot_plugins.addressbook.directory.source import Source


def sentence_of_test(source: Source | None, answer: DirectoryAnswer) -> str:
    """Return the sentence for a directory that responded."""
    if source is None:
        return "No directory is set."
    host, base = source.endpoint.host, source.base
    if not answer.entries:
        return f"The directory {host} answers, but nobody below {base} has a name and an address."
    first = answer.entries[0]
    address = (*first.addresses, *first.fax_addresses)[0]
    entry = f"@{first.name}, {address}"
    return f"The directory {host} works. It has {entry}."
