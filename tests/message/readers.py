"""Reads built messages with the standard library and as two kinds of mail program do."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.utils import getaddresses
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from email.message import EmailMessage

    from mailslot.message import Message


async def octets(message: Message) -> bytes:
    """Return the whole message; check it against its announced size."""
    data = b"".join([chunk async for chunk in message.chunks()])
    assert len(data) == message.size
    return data


async def parsed(message: Message) -> EmailMessage:
    return message_from_bytes(await octets(message), policy=policy.default)


def fields(data: bytes) -> list[tuple[str, str]]:
    """Return the header fields, unfolded and still encoded."""
    header = data[: data.index(b"\r\n\r\n") + 2].decode()
    lines = re.sub(r"\r\n(?=[ \t])", "", header).split("\r\n")
    assert lines.pop() == ""
    split = [line.partition(":") for line in lines]
    return [(name, value.removeprefix(" ")) for name, _, value in split]


def field(data: bytes, name: str) -> str:
    (value,) = (value for key, value in fields(data) if key.lower() == name.lower())
    return value


def decoded(value: str) -> str:
    """Decode encoded words (RFC 2047); the newer parser of the standard library changes white space."""
    return str(make_header(decode_header(value)))


def mailboxes(value: str) -> list[tuple[str, str]]:
    return [(decoded(name), address) for name, address in getaddresses([value])]


def file_names(value: str) -> set[str]:
    """Return the file name of a Content-Disposition as programs of different habits see it.

    Some join the continuations and then decode (mutt), others decode each by itself (JavaMail).
    """
    kind, *parameters = re.findall(r'(?:[^;"]|"(?:[^"\\]|\\.)*")+', value)
    assert kind == "attachment"
    pairs = dict(parameter.strip().split("=", 1) for parameter in parameters)
    assert len(pairs) == len(parameters)
    if set(pairs) == {"filename"}:
        quoted = pairs["filename"]
        assert re.fullmatch(r'"[^"\\]+"', quoted)
        return {quoted[1:-1]}
    if set(pairs) == {"filename*"}:
        segments = [pairs["filename*"]]
    else:
        assert set(pairs) == {f"filename*{n}*" for n in range(len(pairs))}
        segments = [pairs[f"filename*{n}*"] for n in range(len(pairs))]
    charset, language, first = segments[0].split("'")
    assert (charset, language) == ("UTF-8", "")
    segments[0] = first
    assert all(re.fullmatch(r"(?:[^\s()<>@,;:\\\"/\[\]?=*'%]|%[0-9A-F]{2})+", s) for s in segments)
    joined = unquote_to_bytes("".join(segments)).decode()
    return {joined, "".join(unquote_to_bytes(segment).decode() for segment in segments)}
