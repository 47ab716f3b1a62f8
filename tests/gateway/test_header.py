"""Headers of devices: read from pieces of any size, and rewritten for the account that sends them."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot_plugins.gateway.header import MAX_FIELDS, MAX_SIZE, HeaderReader, HeaderTooLargeError
from mailslot_plugins.gateway.rewriting import (
    Sender,
    Trace,
    device_address,
    is_loop,
    message_id_of,
    rewrite_header,
)
from mailslot_plugins.intake.report import TRACE_FIELD

AT = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
TRACING = Trace("from [10.0.3.7] by gateway; Sun, 29 Nov 2026 12:00:00 +0000", "id-1", "<new@example.com>", AT)
ACCOUNT = Sender("account", "scans@example.com", "Copier, hall")
KEEP = Sender("keep", "scans@example.com", "Copier, hall")


def read(*pieces: bytes) -> tuple[list[bytes], bytes]:
    """The fields, and the body."""
    reader = HeaderReader()
    body = b"".join([*(reader.feed(piece) for piece in pieces)]) + reader.finish()
    return [field.raw for field in reader.fields], body


def rewrite(header: bytes, sender: Sender = ACCOUNT, **values: object) -> bytes:
    reader = HeaderReader()
    reader.feed(header)
    reader.finish()
    values = {"envelope_sender": "hall@copiers.example", "recipients": ["bob@example.com"]} | values
    return rewrite_header(reader.fields, sender, TRACING, **values)


MESSAGES = {
    "plain": (b"Subject: x\r\nTo: a@b.example\r\n\r\nbody\r\n", 2, b"body\r\n"),
    "folded": (b"Subject: x\r\n y\r\n\tz\r\nTo: a\r\n\r\nbody\r\n", 2, b"body\r\n"),
    "no body": (b"Subject: x\r\n", 1, b""),
    "no header": (b"\r\nbody\r\n", 0, b"body\r\n"),
    "nothing": (b"", 0, b""),
    "a line that is no field": (b"Subject: x\r\nHello there\r\nTo: a\r\n", 1, b"Hello there\r\nTo: a\r\n"),
    "a text alone": (b"Hello there\r\n\r\nmore\r\n", 0, b"Hello there\r\n\r\nmore\r\n"),
    "a fold that continues nothing": (b" x\r\nTo: a\r\n\r\n", 0, b" x\r\nTo: a\r\n\r\n"),
    "from a mailbox file": (b"From me Mon Jan 1\r\nTo: a\r\n\r\n", 0, b"From me Mon Jan 1\r\nTo: a\r\n\r\n"),
    "blanks before the colon": (b"Subject : x\r\n\r\n", 1, b""),
    "a long line": (b"To: " + b"a@b.example, " * 5000 + b"\r\n\r\nbody\r\n", 1, b"body\r\n"),
}


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("size", [10**6, 1, 2, 7])
def test_it_is_read_in_pieces_of_any_size(name: str, size: int) -> None:
    message, count, expected = MESSAGES[name]
    fields, body = read(*(message[start : start + size] for start in range(0, len(message), size)))
    assert (len(fields), body) == (count, expected)


@given(st.lists(st.sampled_from([b"\r\n", b"A: b", b" c", b"x y", b":", b"\xff", b"D:"])), st.integers(1, 9))
def test_nothing_is_lost(parts: list[bytes], size: int) -> None:
    message = b"".join(parts)
    fields, body = read(*(message[start : start + size] for start in range(0, len(message), size)))
    assert (fields, body) == read(message)
    assert message in {b"".join(fields) + body, b"".join(fields) + b"\r\n" + body}


@pytest.mark.parametrize("line", [b"x" * 100, b"X: " + b"y" * 70_000 + b"\r\n", b"X: y\r\n"])
def test_a_header_without_end(line: bytes) -> None:
    reader = HeaderReader()

    def feed_forever() -> None:
        for _ in range(MAX_SIZE):
            reader.feed(b"A" + line if line == b"x" * 100 else line)

    with pytest.raises(HeaderTooLargeError):
        feed_forever()


def test_a_header_of_too_many_fields() -> None:
    fields, _ = read(b"a:\r\n" * MAX_FIELDS, b"\r\n")
    assert len(fields) == MAX_FIELDS
    with pytest.raises(HeaderTooLargeError):
        read(b"a:\r\n" * (MAX_FIELDS + 1), b"\r\n")


def test_the_account_sends_in_place_of_the_device() -> None:
    header = rewrite(
        b'Received: from elsewhere\r\nFrom: "Copier" <hall@copiers.example>\r\nSender: hall@copiers.example\r\n'
        b"To: bob@example.com\r\nBcc: eve@example.com,\r\n mallory@example.com\r\nSubject:  a  scan \r\n"
        b"Date: Sat, 1 Jan 2000 00:00:00 +0000\r\nMessage-ID: <1@copier>\r\nX-Odd:\tvalue\r\n"
    )
    parsed = message_from_bytes(header, policy=policy.default)
    assert parsed["From"] == '"Copier, hall" <scans@example.com>'
    assert parsed["Reply-To"] == "hall@copiers.example"
    assert parsed["Sender"] is None
    assert parsed["Bcc"] is None
    assert b"mallory" not in header
    assert parsed[TRACE_FIELD] == "id-1"
    assert [parsed[name] for name in ("Message-ID", "Date")] == ["<1@copier>", "Sat, 01 Jan 2000 00:00:00 +0000"]
    assert b"Subject:  a  scan \r\nDate:" in header
    assert b"X-Odd:\tvalue\r\n" in header
    assert header.startswith(b"Received: from [10.0.3.7] by gateway;")
    assert header.index(b"Received: from elsewhere") > header.index(TRACE_FIELD.encode())
    assert header.endswith(b"\r\n\r\n")


def test_what_is_missing_is_added() -> None:
    parsed = message_from_bytes(rewrite(b"Subject: x\r\n"), policy=policy.default)
    assert parsed["From"] == '"Copier, hall" <scans@example.com>'
    assert parsed["Reply-To"] == "hall@copiers.example"
    assert parsed["To"] == "bob@example.com"
    assert parsed["Date"] == "Sun, 29 Nov 2026 12:00:00 +0000"
    assert parsed["Message-ID"] == "<new@example.com>"


@pytest.mark.parametrize(
    ("header", "recipients"),
    [
        (b"", ["a@b.example", "c@d.example"]),
        (b"Bcc: a@b.example\r\n", ["a@b.example"]),
        (b"Cc: x@y.example\r\n", ["a@b.example"]),
    ],
)
def test_nobody_learns_of_hidden_recipients(header: bytes, recipients: list[str]) -> None:
    rewritten = rewrite(header, recipients=recipients)
    assert b"To: undisclosed-recipients:;\r\n" in rewritten
    assert b"a@b.example" not in rewritten


def test_reply_to() -> None:
    own = rewrite(b"From: hall@copiers.example\r\nReply-To: desk@example.com\r\nReply-To: two@example.com\r\n")
    assert own.count(b"Reply-To:") == 1
    assert b"Reply-To: desk@example.com\r\n" in own
    assert b"Reply-To" not in rewrite(b"From: SCANS@example.com\r\n")
    assert b"Reply-To" not in rewrite(b"From: Copier\r\n", envelope_sender="copier")
    assert b"Reply-To: hall@copiers.example" in rewrite(b"From: Copier\r\n")
    assert b"Reply-To" not in rewrite(b"", envelope_sender="")


def test_the_senders_own_from_is_kept() -> None:
    header = b"From: Hall <hall@copiers.example>\r\nSender: x@y.example\r\n"
    assert header.replace(b"\r\nSender", b"\r\nSender") in rewrite(header, KEEP)
    parsed = message_from_bytes(rewrite(b"", KEEP), policy=policy.default)
    assert parsed["From"] == '"Copier, hall" <hall@copiers.example>'
    parsed = message_from_bytes(rewrite(b"", KEEP, envelope_sender=""), policy=policy.default)
    assert parsed["From"] == '"Copier, hall" <scans@example.com>'


@pytest.mark.parametrize(
    ("raw", "name", "expected"),
    [
        ("Subject: Büro".encode(), "Subject", "Büro"),
        ("Subject: Büro".encode("cp1252"), "Subject", "Büro"),
        ("Subject: Büro\r\n und Flur".encode(), "Subject", "Büro und Flur"),
        ("Cc: Jörg <j@b.example>, k@c.example".encode(), "Cc", "Jörg <j@b.example>, k@c.example"),
        ("X-Note: \u2028é".encode(), "X-Note", "é"),
        ("To: jörg@b.example".encode(), "To", "j?rg@b.example"),
    ],
)
def test_raw_text_is_encoded(raw: bytes, name: str, expected: str) -> None:
    header = rewrite(raw + b"\r\n")
    assert header.isascii()
    assert str(message_from_bytes(header, policy=policy.default)[name]).strip() == expected


def test_a_raw_file_name_is_encoded() -> None:
    header = rewrite('Content-Type: application/pdf; name="Büro \\"1\\".pdf"; x="y"\r\n'.encode())
    assert header.isascii()
    parsed = message_from_bytes(header + b"body", policy=policy.default)
    assert parsed.get_content_type() == "application/pdf"
    assert parsed.get_filename() == 'Büro "1".pdf'


@given(st.binary(max_size=200), st.sampled_from([ACCOUNT, KEEP]))
def test_whatever_a_device_writes_the_header_is_ascii_and_has_one_end(data: bytes, sender: Sender) -> None:
    reader = HeaderReader()
    reader.feed(
        b"X: "
        + data.replace(b"\r", b"").replace(b"\n", b"\r\n ")
        + b"\r\nFrom: "
        + data.replace(b"\n", b"")
        + b"\r\n\r\n"
    )
    header = rewrite_header(reader.fields, sender, TRACING, envelope_sender="", recipients=["a@b.example"])
    assert header.isascii()
    assert header.index(b"\r\n\r\n") == len(header) - 4
    assert header.count(b"\nFrom:") >= 1


@pytest.mark.parametrize(
    "header",
    [
        b"From: " + b"(" * 60_000,
        b"From: " + b"a:" * 30_000,
        b"To: \xe9 " + b"(" * 60_000,
        b"To: \xe9 " + b"a:" * 30_000,
        b'Content-Type: x; name="\xe9' + b'\\"' * 60_000,
    ],
    ids=["comments", "groups", "raw comments", "raw groups", "raw quotes"],
)
def test_what_would_be_costly_to_read(header: bytes) -> None:
    """Recursion without end, or hours."""
    assert rewrite(header + b"\r\n\r\n").endswith(b"\r\n\r\n")


def test_loops() -> None:
    def loops(header: bytes) -> bool:
        reader = HeaderReader()
        reader.feed(header + b"\r\n")
        return is_loop(reader.fields, lambda value: value == "ours")

    assert not loops(b"Received: x\r\n" * 29)
    assert loops(b"Received: x\r\n" * 30)
    assert loops(b"X-MAILSLOT-GATEWAY: ours\r\n")
    assert not loops(b"X-Mailslot-Gateway: theirs\r\n")


def test_what_the_job_is_told() -> None:
    reader = HeaderReader()
    reader.feed(b"Message-ID:\r\n <1@copier>\r\nFrom: nobody, <hall@copiers.example>\r\n\r\n")
    assert message_id_of(reader.fields) == "<1@copier>"
    assert message_id_of([]) == ""
    assert device_address(reader.fields, "x@y.example") == "hall@copiers.example"
    assert device_address([], "x@y.example") == "x@y.example"
    assert device_address([], "") == ""
