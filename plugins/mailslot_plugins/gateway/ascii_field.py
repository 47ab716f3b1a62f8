"""Encodes header fields with raw octets over 127, which old devices write, in a form that every server accepts.

Such octets would need SMTPUTF8 (RFC 6531), which few servers offer. So text becomes encoded words (RFC 2047), also in
display names, and in quoted file names, where no standard allows them but mail programs understand them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.message.address_list import read_addresses
from mailslot.message.header import mailboxes_field, text_field
from mailslot.message.mailbox import Mailbox

if TYPE_CHECKING:
    from mailslot_plugins.gateway.header import HeaderField

_ADDRESSES: Final = re.compile(
    r"(?:resent-)?(?:from|sender|to|cc|reply-to)|disposition-notification-to|return-receipt-to"
)
_STRUCTURED: Final = re.compile(
    r"content-.*|mime-version|(?:resent-)?(?:message-id|date)|in-reply-to|references|received|dkim-signature|arc-.*"
)
# An escaped quotation mark outside of quotation marks does not begin a string: otherwise each one in an unterminated
# text would be tried as a beginning, which takes quadratic time.
_QUOTED: Final = re.compile(r'\\.|"((?:[^"\\]|\\.)*)"')
_CONTROL: Final = re.compile(r"[\0-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def to_ascii(field: HeaderField) -> bytes:
    """Return a field in ASCII; a field that is already in ASCII is returned unchanged."""
    if field.raw.isascii():
        return field.raw
    name = field.raw.partition(b":")[0].strip().decode("ascii")
    text = _CONTROL.sub(" ", _decode(field.value))
    if _ADDRESSES.fullmatch(field.name):
        converted = _addresses(name, text)
    elif _STRUCTURED.fullmatch(field.name):
        converted = f"{name}: {_QUOTED.sub(_encode_quoted, text)}\r\n"
    else:
        converted = text_field(name, text)
    return converted.encode("ascii", "replace")


def _decode(value: bytes) -> str:
    """Decode raw octets: as UTF-8 if they are valid, else as Windows-1252, which old programs write."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace")


def _addresses(name: str, text: str) -> str:
    found: list[Mailbox] = []
    for display_name, address in read_addresses([text]):
        try:
            mailbox = Mailbox(address, display_name)
        except InputError:
            continue
        if not mailbox.smtputf8:
            found.append(mailbox)
    return mailboxes_field(name, found) if found else f"{name}: {text}\r\n"


def _encode_quoted(quoted: re.Match[str]) -> str:
    if quoted[1] is None:
        return quoted[0]
    content = re.sub(r"\\(.)", r"\1", quoted[1])
    if content.isascii():
        return quoted[0]
    encoded = text_field("X", content).removeprefix("X:").split()
    return f'"{" ".join(encoded)}"'
