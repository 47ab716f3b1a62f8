"""Long messages of the standard library: the octets of its own generator, and others have their turns meanwhile."""

from __future__ import annotations

import email
import email.policy
import time
from email.message import EmailMessage, Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import InputError, connect_smtp
from mailslot.smtp import standard_message
from mailslot.smtp.content import BytesContent, Content, flatten, to_content
from mailslot.smtp.standard_message import prepare_content, stream_message
from mailslot.wire.dot_stuffing import LineEndNormalizer
from smtp.servers import SENDER, TO, ServerConnection, serving, unstuffed

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Payloads of a few octets count as long, and are cut into pieces of a line or two."""
    monkeypatch.setattr(standard_message, "STREAMING_THRESHOLD", 20)
    monkeypatch.setattr(standard_message, "PIECE_SIZE", 160)


async def octets_of(content: Content) -> bytes:
    canonical = LineEndNormalizer()
    pieces = [canonical.feed(piece) async for piece in content.chunks()]
    return b"".join(pieces) + canonical.finish()


def message(**fields: str) -> EmailMessage:
    made = EmailMessage()
    for name, value in {"from_": "a@example.com", "to": "b@example.com", "subject": "Grüße", **fields}.items():
        made[name.rstrip("_")] = value
    return made


def parsed(*lines: str | bytes, policy: email.policy.Policy = email.policy.default) -> Message:
    octets = b"\r\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    return email.message_from_bytes(octets, policy=policy)  # type: ignore[arg-type,return-value]  # any policy will do


def with_attachments() -> EmailMessage:
    made = message(bcc="hidden@example.com")
    made.set_content("A body that is long enough, with an ü.\n")
    made.add_alternative("<p>A body that is long enough</p>\n", subtype="html")
    made.add_attachment(bytes(range(256)) * 9, maintype="application", subtype="pdf", filename="ä.pdf")
    made.add_attachment("Zeile mit ü, und noch eine\n" * 30, filename="lines.txt")
    made.add_attachment("plain lines, all of them\n" * 30, filename="plain.txt")
    made.add_attachment("Eine sehr lange Zeile mit ü " * 60, filename="quoted.txt", cte="quoted-printable")
    made.preamble = "For those who know no MIME: it is long enough, too.\n"
    made.epilogue = "And what comes behind it, which is as long as that.\n"
    for part in made.walk():
        if part.is_multipart():
            part.set_boundary(f"boundary-{part.get_content_subtype()}")
    return made


def forwarded() -> EmailMessage:
    made = message()
    made.set_content("See below, which is what was sent to me.\n")
    made.add_attachment(with_attachments())
    made.set_boundary("outer")
    return made


def of_the_old_kind() -> Message:
    made = MIMEMultipart("mixed", "old")
    made["From"], made["To"] = "a@example.com", "b@example.com"
    made.attach(MIMEText("Ein Text, der lang genug ist.\n", "plain", "utf-8"))
    made.attach(MIMEText("Un texte assez long, en français.\n" * 9, "plain", "iso-8859-1"))
    made.attach(MIMEText("A text that is long enough.\r\rwith all\r\nkinds of ends\n\r", "plain", "us-ascii"))
    return made


def twice() -> EmailMessage:
    part = EmailMessage()
    part.set_content("the same lines, more than enough\n" * 3)
    made = message()
    made["Content-Type"] = "multipart/mixed; boundary=b"
    made.set_payload([part, part])
    return made


def delivery_status(text: str) -> Message:
    made, part = message(), Message()
    part.set_payload(text)
    made["Content-Type"] = "message/delivery-status"
    made.set_payload([part, part])
    return made


SHAPES: dict[str, Callable[[], Message]] = {
    "attachments": with_attachments,
    "forwarded": forwarded,
    "old": of_the_old_kind,
    "8bit": lambda: parsed("Content-Type: text/plain; charset=utf-8", "", *["Zeile mit ü und ohne"] * 40, ""),
    "8bit, by the old policy": lambda: parsed(
        "Content-Type: text/plain; charset=UTF-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        *["Zeile mit ü und ohne"] * 40,
        policy=email.policy.compat32,
    ),
    "8bit in Latin-1": lambda: parsed(
        "Content-Type: text/plain; charset=iso-8859-1", "", *["Zeile mit ü".encode("latin-1")] * 40
    ),
    "8bit that is no UTF-8": lambda: parsed(
        "Content-Type: text/plain; charset=utf-8", "", *["Zeile mit ü".encode("latin-1")] * 40
    ),
    "UTF-8 cut short": lambda: parsed("Content-Type: text/plain; charset=utf-8", "", b"x" * 100 + b"\xc3"),
    "without a last line end": lambda: parsed("Subject: x", "", "a line that is long enough", "and another"),
    "multipart that is none": lambda: parsed("Content-Type: multipart/mixed; boundary=b", "", "no part of it " * 9),
    "message that is none": lambda: parsed("Content-Type: message/external-body", "", "Subject: x", "", "y " * 40),
    "delivery status": lambda: parsed(
        "Content-Type: message/delivery-status", "", "Reporting-MTA: dns; a.example", "", "Action: failed", "y: " * 20
    ),
    "delivery status that ends a line": lambda: delivery_status("a line that is long enough\n"),
    "delivery status that ends none": lambda: delivery_status("a line that is long enough"),
    "empty lines": lambda: parsed("Subject: x", "", "", "", "." * 30, "", ""),
    "the same part twice": twice,
    "a line of a mark": lambda: parsed("Subject: x", "", "mark-" + "0" * 32),
}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("shape", SHAPES)
async def test_the_octets_are_those_of_the_standard_library(shape: str) -> None:
    given_ = SHAPES[shape]()
    before = given_.as_bytes()
    content, whole = await stream_message(given_), BytesContent(flatten(SHAPES[shape]()))
    expected = await octets_of(whole)
    assert await octets_of(content) == expected
    # Another try begins anew.
    assert await octets_of(content) == expected
    assert (content.size, content.eight_bit, content.smtputf8) == (len(expected), whole.eight_bit, whole.smtputf8)
    assert given_.as_bytes() == before


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("shape", ["attachments", "forwarded", "old", "8bit", "8bit, by the old policy", "empty lines"])
async def test_messages_that_are_streamed(shape: str) -> None:
    content = await stream_message(SHAPES[shape]())
    assert not isinstance(content, BytesContent)


@given(
    st.lists(st.text(st.sampled_from("aü.\r\n€ "), min_size=21, max_size=400), min_size=1, max_size=4),
    st.booleans(),
)
async def test_any_text_equals_the_standard_library(texts: list[str], eight_bit: bool) -> None:
    def made() -> EmailMessage:
        whole = message()
        whole.make_mixed(boundary="b")
        for text in texts:
            part = EmailMessage()
            part["Content-Type"] = "text/plain; charset=utf-8"
            if eight_bit:
                part.set_payload(text.encode().decode("ascii", "surrogateescape"))
            else:
                part.set_payload(text.replace("ü", "u").replace("€", "e"))
            whole.attach(part)
        return whole

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standard_message, "STREAMING_THRESHOLD", 20)
        patch.setattr(standard_message, "PIECE_SIZE", 160)
        content = await stream_message(made())
    expected = await octets_of(BytesContent(flatten(made())))
    assert await octets_of(content) == expected
    assert content.size == len(expected)


@pytest.mark.usefixtures("short")
async def test_a_missing_boundary_is_generated() -> None:
    given_ = message()
    given_.set_content("A body that is long enough.\n")
    given_.add_attachment("another one that is\n" * 9)
    content = await stream_message(given_)
    octets = await octets_of(content)
    assert content.size == len(octets)
    [_, body, attached] = email.message_from_bytes(octets, policy=email.policy.default).walk()
    assert body.get_content() == "A body that is long enough.\r\n"  # type: ignore[attr-defined]  # by that policy
    assert attached.get_content() == "another one that is\r\n" * 9  # type: ignore[attr-defined]  # as above


@pytest.mark.usefixtures("short")
async def test_a_message_that_the_standard_library_cannot_write_is_an_input_error() -> None:
    given_ = Message()
    given_["Content-Type"] = "text/plain"
    given_.set_payload("ü" * 40)
    with pytest.raises(InputError):
        await stream_message(given_)


@pytest.mark.parametrize("data", [b"Subject: x\n\nshort\n", b"Subject: x\n\n" + b"long\n" * 300_000])
async def test_messages_given_as_octets(data: bytes) -> None:
    for given_ in (data, bytearray(data), memoryview(data)):
        assert await octets_of(await prepare_content(given_)) == data.replace(b"\n", b"\r\n")
    content = to_content(data)
    assert await prepare_content(content) is content
    with pytest.raises(InputError):
        await prepare_content("text")  # type: ignore[arg-type]  # that is what is tested


@pytest.mark.parametrize("kind", ["pdf", "text", "8bit", "octets"])
async def test_other_tasks_run_meanwhile(kind: str) -> None:
    """40 MB, and 50 ms on a quiet machine: what counts is the time that this thread works in one go."""
    given_ = message()
    given_.set_content("A body.\n")
    if kind == "pdf":
        given_.add_attachment(bytes(1 << 16) * 460, maintype="application", subtype="pdf", filename="scan.pdf")
    elif kind in {"text", "8bit"}:
        given_.add_attachment(("A line of text\n" if kind == "text" else "Zeile mit ü\n") * 2_700_000, filename="x.txt")
    octets = b"Subject: x\n\n" + b"A line of text\n" * 2_700_000
    longest, done = 0.0, anyio.Event()

    async def look() -> None:
        nonlocal longest
        while not done.is_set():
            before = time.thread_time()
            await anyio.lowlevel.checkpoint()
            longest = max(longest, time.thread_time() - before)

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        await anyio.lowlevel.checkpoint()
        content = await prepare_content(octets if kind == "octets" else given_)
        size = 0
        async for piece in content.chunks():
            size += len(piece)
            await anyio.lowlevel.checkpoint()
        done.set()
    assert size > 35_000_000
    # Where several share a processor, the same work takes two to three times as long.
    assert longest < 0.25


async def test_the_message_is_sent_unchanged() -> None:
    given_ = with_attachments()
    given_.add_attachment(b"x" * 300_000, maintype="image", subtype="tiff", filename="page.tif")
    expected = await octets_of(BytesContent(flatten(given_)))

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING", "SIZE")
        await wire.envelope()
        wire.received[:] = unstuffed(await wire.message())
        await wire.say("250 ok")
        await wire.gone()

    async with serving(server) as running, connect_smtp(running.endpoint, timeout=30) as smtp:
        await smtp.submit(SENDER, TO, given_)
    assert bytes(running.wires[0].received) == expected
