from __future__ import annotations

import base64
import os
import quopri
from io import BytesIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailslot.errors import InputError
from mailslot.message import Message
from mailslot.message.transfer_encoding import (
    PIECE_SIZE,
    base64_lines,
    base64_pieces,
    base64_size,
    encode_text,
)
from message.readers import octets, parsed

BLOCK = 57 * 512
EDGES = [0, 1, 2, 3, 56, 57, 58, 113, 114, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 57]


def reference(data: bytes) -> bytes:
    """The standard library's lines with CRLF."""
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def test_base64_equals_the_standard_librarys_for_every_size():
    data = os.urandom(10_000)
    for size in range(10_001):
        lines = base64_lines(data[:size])
        assert lines == reference(data[:size])
        assert len(lines) == base64_size(size)


@pytest.mark.parametrize("size", [*EDGES, 18 * BLOCK - 1, 18 * BLOCK, 18 * BLOCK + 1, 40 * BLOCK])
def test_chunks_join_to_the_same_lines(size):
    data = os.urandom(size)
    pieces = list(base64_pieces(BytesIO(data).read, size))
    assert b"".join(pieces) == base64_lines(data) == reference(data)
    assert [len(piece) for piece in pieces[:-1]] == [PIECE_SIZE] * (len(pieces) - 1)
    assert all(piece.endswith(b"\r\n") for piece in pieces)


@pytest.mark.parametrize("size", [1, BLOCK, 18 * BLOCK, 40 * BLOCK])
@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_source_of_another_size_is_refused(size, wrong):
    pieces = base64_pieces(BytesIO(bytes(size + wrong)).read, size)
    given_out = 0
    with pytest.raises(EOFError):  # noqa: PT012 - counts what came before
        for piece in pieces:
            given_out += len(piece)
    assert given_out < base64_size(size)


def normalised(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if not text or text.endswith("\n") else text + "\n"


texts = st.text(st.characters(codec="utf-8")) | st.text("aä =.\t\r\n\0\x1a") | st.text("日本\n")


@given(text=texts)
@example(text="x" * 79)
@example(text="x" * 78 + "\n")
@example(text="ä" * 5000)
@example(text="." + "x" * 75 + "\n.\n..\n")
@example(text="a \nb\t\n \n\n")
@example(text="x=3D")
@example(text="a\u2028b\x85c\x0bd\x0ce")
async def test_text_survives_encoding_and_lines_are_short(text):
    encoding, data = encode_text(text)
    decode = {"7bit": bytes, "quoted-printable": quopri.decodestring, "base64": base64.b64decode}
    # The library's decoder knows no CRLF after a soft line break.
    received = decode[encoding](data.replace(b"\r\n", b"\n") if encoding[0] == "q" else data)
    assert received.decode().replace("\r\n", "\n") == normalised(text)
    assert data.isascii()
    assert b"\0" not in data
    assert not data or data.endswith(b"\r\n")
    lines = data.split(b"\r\n")
    assert max(map(len, lines)) <= (78 if encoding == "7bit" else 76)
    assert not any(b"\r" in line or b"\n" in line for line in lines)

    mail = await parsed(Message(sender="a@example.com", to=["b@example.com"], text=text))
    assert mail["Content-Transfer-Encoding"] == encoding
    assert mail.get_payload(decode=True).decode().replace("\r\n", "\n") == normalised(text)


def test_the_simplest_encoding_is_chosen():
    assert encode_text("Hello\nthere")[0] == "7bit"
    assert encode_text("Grüße aus dem dritten Stock")[0] == "quoted-printable"
    assert encode_text("x" * 200)[0] == "quoted-printable"
    assert encode_text("日本語のスキャン")[0] == "base64"


def test_broken_text_is_refused():
    with pytest.raises(InputError, match="text") as caught:
        Message(sender="a@example.com", to=["b@example.com"], text="a\ud800")
    assert caught.value.stage == "data"


async def test_a_message_without_text_ends_after_its_header():
    data = await octets(Message(sender="a@example.com", to=["b@example.com"]))
    assert data.endswith(b"\r\n\r\n")
    assert data.count(b"\r\n\r\n") == 1
