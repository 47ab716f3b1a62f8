"""Everything that may be given as a message."""

from __future__ import annotations

import re
from email.message import EmailMessage, Message
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import InputError
from mailslot.message.message import Message as OwnMessage
from mailslot.smtp.content import PIECE_SIZE, BytesContent, normalized_size, read_content, to_content
from mailslot.wire.dot_stuffing import DotStuffer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mailslot.smtp.content import Content

pytestmark = pytest.mark.virtual_time


async def octets_of(content: Content) -> bytes:
    return b"".join([piece async for piece in read_content(content)])


def canonical(data: bytes) -> bytes:
    data = re.sub(rb"\r\n|\r|\n", b"\r\n", data)
    return data if not data or data.endswith(b"\r\n") else data + b"\r\n"


messages = st.lists(
    st.sampled_from(
        [
            b"\r\n",
            b"\n",
            b"\r",
            b"Bcc: x@y",
            b"bCC :",
            b"Resent-Bcc: z",
            b"To: a",
            b" folded",
            b"\tx",
            b"",
            b"Bccx: 1",
            b".",
        ]
    )
).map(b"".join)


@given(messages)
def test_bcc_is_removed_with_any_line_ends(data: bytes) -> None:
    content = BytesContent(data)
    sent = canonical(content.data)
    assert content.size == len(sent)
    header, _, body = (b"\r\n" + sent).partition(b"\r\n\r\n")
    assert not re.search(rb"\n(?:resent-)?bcc[ \t]*:", header, re.IGNORECASE)
    # All else is as it was.
    given_header, _, given_body = (b"\r\n" + canonical(data)).partition(b"\r\n\r\n")
    wanted = re.sub(rb"(?i)\r\n(?:resent-)?bcc[ \t]*:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*", b"", given_header)
    if header:
        assert header.rstrip(b"\r\n") == wanted.rstrip(b"\r\n")
        assert body == given_body


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
@pytest.mark.parametrize(
    "tail", [b"{e}{e}Bcc: body@example.com{e}", b"{e}{e}", b"{e}", b""], ids=["body", "end", "line", "cut"]
)
@pytest.mark.parametrize(
    "field",
    [
        b"Bcc: secret@example.com",
        b"BCC:secret@example.com,{e} secret2@example.com,{e}\tsecret3@example.com",
        b"bcc : secret@example.com",
        b"Resent-Bcc: secret@example.com",
        b"Bcc:{e} secret@example.com",
        b"Bcc: secret@example.com{e}Bcc: secret2@example.com",
    ],
)
@pytest.mark.parametrize("place", [b"{f}{e}Subject: x", b"Subject: x{e}{f}", b"Subject: x{e}{f}{e}To: y@example.com"])
async def test_bcc_fields_are_removed(place: bytes, field: bytes, tail: bytes, end: bytes) -> None:
    data = (place.replace(b"{f}", field) + tail).replace(b"{e}", end)
    content = to_content(data)
    sent = canonical(await octets_of(content))
    assert b"secret" not in sent
    assert b"Subject: x\r\n" in sent
    assert content.size == len(sent)
    assert sent.count(b"body@example.com") == data.count(b"body@example.com")
    assert (b"To: y@example.com" in sent) == (b"To: y" in data)


@pytest.mark.parametrize(
    "data",
    [
        b"\r\nBcc: in the body\r\n",
        b"\nBcc: in the body\n",
        b"Subject: Bcc: no\r\n\r\n",
        b"X-Bcc: kept\r\n\r\n",
        b"Bccx: k\r\n",
    ],
)
async def test_other_fields_and_the_text_keep_bcc(data: bytes) -> None:
    assert await octets_of(to_content(data)) == data


async def test_long_content_comes_in_chunks() -> None:
    data = b"Subject: x\n\n" + b"0123456789abcdef\n" * 40_000
    content = to_content(data)
    pieces = [piece async for piece in content.chunks()]
    assert max(map(len, pieces)) <= PIECE_SIZE
    assert b"".join(pieces) == data
    assert content.size == len(data) + data.count(b"\n")
    assert normalized_size(data) == content.size


@given(st.binary(max_size=60))
def test_the_size_equals_the_octets_sent(data: bytes) -> None:
    content = BytesContent(b"\r\n" + data)
    stuffer = DotStuffer()
    stuffer.feed(content.data)
    stuffer.finish()
    assert content.size == stuffer.size


@pytest.mark.parametrize("given_", [bytearray(b"a\r\n"), memoryview(b"a\r\n"), b"a\r\n"])
async def test_any_octets(given_: bytes) -> None:
    assert await octets_of(to_content(given_)) == b"a\r\n"


def test_eight_bit_and_smtputf8_are_detected() -> None:
    assert not to_content(b"Subject: x\r\n\r\nplain\r\n").eight_bit
    body = to_content("Subject: x\r\n\r\nGrüße\r\n".encode())
    assert body.eight_bit
    assert not body.smtputf8
    header = to_content("Subject: Grüße\r\n\r\nplain\r\n".encode())
    assert header.eight_bit
    assert header.smtputf8
    # What left with the blind copies does not count.
    assert not to_content("Bcc: ü@example.com\r\n\r\nplain\r\n".encode()).smtputf8


def message(**fields: str) -> EmailMessage:
    result = EmailMessage()
    for name, value in fields.items():
        result[name.replace("_", "-")] = value
    result.set_content("Grüße\n.\n..\n")
    result.add_attachment(b"\0\xff" * 99, maintype="image", subtype="tiff", filename="scän.tif")
    return result


async def test_a_message_of_the_standard_library() -> None:
    given_ = message(
        From="a@example.com", To="Grüße <b@example.com>", Bcc="secret@example.com", Resent_Bcc="secret@x.example"
    )
    content = to_content(given_)
    sent = await octets_of(content)
    assert sent.isascii()
    assert not content.eight_bit
    assert not content.smtputf8
    assert b"secret" not in sent
    assert given_["Bcc"] == "secret@example.com"
    assert sent == canonical(sent)
    assert content.size == len(sent)


async def test_a_message_with_an_international_mailbox() -> None:
    content = to_content(message(From="ü@example.com", To="b@example.com"))
    assert content.smtputf8
    assert "From: ü@example.com".encode() in await octets_of(content)


async def test_an_old_message_of_the_standard_library() -> None:
    given_ = Message()
    given_["From"] = "a@example.com"
    given_["Bcc"] = "secret@example.com"
    given_.set_payload("From here\n.\n")
    sent = await octets_of(to_content(given_))
    assert b"secret" not in sent
    assert sent.endswith(b"\r\n\r\nFrom here\r\n.\r\n")


def test_an_unserializable_message() -> None:
    given_ = EmailMessage()
    given_["From"] = "a@example.com"
    given_.set_payload("\ud800")
    with pytest.raises(InputError, match="cannot be put into octets") as caught:
        to_content(given_)
    assert caught.value.stage == "data"


@pytest.mark.parametrize("given_", ["text", None, 7, ["a"], object()])
def test_invalid_messages(given_: object) -> None:
    with pytest.raises(InputError, match="must be bytes"):
        to_content(given_)  # type: ignore[arg-type]  # that is what is tested


async def test_our_own_message() -> None:
    own = OwnMessage(sender="a@example.com", to=["b@example.com"], subject="x", text="hello")
    content = to_content(own)
    assert content is own
    assert len(await octets_of(content)) == own.size


class Broken:
    """A stream that fails in the middle."""

    size = 9
    eight_bit = smtputf8 = False

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            yield b"a\r\n"
            raise self.error
        finally:
            self.closed = True


@pytest.mark.parametrize("error", [OSError("disk"), EOFError("short"), ValueError("bad"), TimeoutError()])
async def test_a_failing_stream(error: Exception) -> None:
    content = Broken(error)
    with pytest.raises(InputError, match="cannot be read") as caught:
        await octets_of(content)
    assert caught.value.__cause__ is error
    assert content.closed


@pytest.mark.parametrize("piece", ["text", None, 7])
async def test_a_stream_of_the_wrong_type(piece: object) -> None:
    class Odd(Broken):
        async def chunks(self) -> AsyncIterator[bytes]:
            yield piece  # type: ignore[misc]  # that is what is tested

    with pytest.raises(InputError, match="cannot be read"):
        await octets_of(Odd(OSError()))


async def test_an_endless_stream_is_abandoned() -> None:
    class Endless(Broken):
        async def chunks(self) -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 65_536

    with pytest.raises(InputError, match="cannot be read"):
        await octets_of(Endless(OSError()))


async def test_mail_errors_are_raised_unchanged() -> None:
    error = InputError("The file is gone.", stage="data")
    with pytest.raises(InputError) as caught:
        await octets_of(Broken(error))
    assert caught.value is error


async def test_an_abandoned_stream_is_closed() -> None:
    content = Broken(OSError())
    pieces = read_content(content)
    await anext(pieces)
    await pieces.aclose()
    assert content.closed
