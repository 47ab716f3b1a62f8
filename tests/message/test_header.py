from __future__ import annotations

import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailslot.errors import InputError
from mailslot.message import Mailbox, Message
from message.readers import decoded, field, fields, mailboxes, octets, parsed

lines = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]) | st.just("\t"))
words = st.from_regex(r"[A-Za-z0-9!?*+/-]{1,12}", fullmatch=True)
SCRIPTS = "Grüße aus Köln – сканирование 日本語のスキャン مسح ضوئي सकैन 😀👨‍👩‍👧 plain words, and more; "


def message(**fields) -> Message:
    return Message(**{"sender": "a@example.com", "to": ["b@example.com"]} | fields)


def assert_lines_fit(data: bytes) -> None:
    for line in data.decode().split("\r\n"):
        assert len(line.encode()) <= 998
        assert "\r" not in line
        assert "\n" not in line
        if "=?utf-8?" in line:
            assert len(line) <= 76
        for word in re.findall(r"=\?utf-8\?B\?[^ ?]*\?=", line):
            assert len(word) <= 75
            b64decode(word[10:-2], validate=True).decode()


@given(subject=lines)
@example(subject=(SCRIPTS * 40)[:2000])
@example(subject="x" * 2000)
@example(subject=("x" * 80 + " ") * 20)
@example(subject="ä" * 2000)
@example(subject="=?utf-8?q?a?=")
@example(subject=" a  b\t")
@example(subject="?= é =?")
async def test_a_subject_survives_encoding(subject):
    data = await octets(message(subject=subject))
    assert_lines_fit(data)
    assert data.isascii()
    if subject:
        assert decoded(field(data, "Subject")) == subject
    else:
        assert "Subject" not in dict(fields(data))


async def test_a_plain_subject_is_folded_and_not_encoded():
    subject = "Scan of the third floor " * 20 + "x" * 200
    data = await octets(message(subject=subject))
    assert field(data, "Subject") == subject
    assert max(len(line) for line in data.split(b"\r\n") if b"xxx" not in line) <= 78


@given(name=lines, other=lines)
@example(name=SCRIPTS * 4, other='a "quoted" \\ name')
@example(name="x" * 1500, other="Doe, John (3rd floor)")
@example(name="Doe, " * 300 + "Jane", other="tab\tin, it")
@example(name="J. Doe", other="=?utf-8?q?a?= b")
async def test_names_survive_encoding(name, other):
    mail = message(
        sender=Mailbox("a@example.com", name),
        reply_to=Mailbox("r@example.com", other),
        to=[Mailbox(f"user{n}@example.com", name) for n in range(3)],
        cc=["bare@example.com", Mailbox("c@example.com", other)],
    )
    data = await octets(mail)
    assert_lines_fit(data)
    assert data.isascii()
    assert mailboxes(field(data, "From")) == [(name, "a@example.com")]
    assert mailboxes(field(data, "Reply-To")) == [(other, "r@example.com")]
    assert mailboxes(field(data, "To")) == [(name, f"user{n}@example.com") for n in range(3)]
    assert mailboxes(field(data, "Cc")) == [("", "bare@example.com"), (other, "c@example.com")]


@given(name=st.lists(words, max_size=3), subject=st.lists(words, min_size=1, max_size=5), text=lines)
async def test_plain_messages_are_what_the_standard_library_makes(name, subject, text):
    date = datetime(2026, 3, 1, 9, 5, 7, tzinfo=timezone(timedelta(hours=-5, minutes=-30)))
    text = f"{text.encode('ascii', 'ignore').decode().replace(chr(9), '')[:60]}.\nSecond line\n"
    name, subject = " ".join(name), " ".join(subject)
    theirs = EmailMessage(policy=SMTP)
    theirs["From"] = f"{name} <a@example.com>" if name else "a@example.com"
    theirs["To"] = "b@example.com, c@example.com"
    theirs["Subject"] = subject
    theirs["Date"] = date
    theirs["Message-ID"] = "<1@example.com>"
    theirs["MIME-Version"] = "1.0"
    theirs.set_content(text)
    ours = message(
        sender=Mailbox("a@example.com", name),
        to=["b@example.com", "c@example.com"],
        subject=subject,
        date=date,
        message_id="<1@example.com>",
        text=text,
    )
    assert await octets(ours) == theirs.as_bytes()


async def test_many_recipients_are_folded_between_addresses():
    to = [f"person.number.{n}@example.com" for n in range(200)]
    data = await octets(message(to=to))
    assert [address for _, address in mailboxes(field(data, "To"))] == to
    assert max(map(len, data.split(b"\r\n"))) <= 78


async def test_long_identifiers_are_not_folded():
    references = [f"<{n:0>90}@example.com>" for n in range(50)]
    data = await octets(message(in_reply_to=references[-1], references=references))
    assert field(data, "References").split() == references
    assert field(data, "In-Reply-To") == references[-1]
    assert_lines_fit(data)


async def test_every_field_occurs_once_in_order():
    data = await octets(
        message(
            cc=["c@example.com"],
            reply_to="r@example.com",
            subject="s",
            in_reply_to="<0@x>",
            references=["<0@x>"],
            auto_submitted="auto-generated",
            headers=[("X-Auto-Response-Suppress", "All"), ("X-Ort", "Köln")],
        )
    )
    assert [name for name, _ in fields(data)] == [
        "From",
        "Reply-To",
        "To",
        "Cc",
        "Subject",
        "Date",
        "Message-ID",
        "In-Reply-To",
        "References",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "X-Ort",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
    ]
    assert field(data, "Auto-Submitted") == "auto-generated"
    assert decoded(field(data, "X-Ort")) == "Köln"


async def test_envelope_only_recipients_are_not_in_the_header():
    data = await octets(message(to=[]))
    assert [name for name, _ in fields(data)][:2] == ["From", "Date"]


def test_repr_shows_no_content():
    mail = message(subject="secret", text="secret", message_id="<1@example.com>")
    assert repr(mail) == f"Message(<1@example.com>, {mail.size} octets)"


@pytest.mark.parametrize(
    ("sender", "domain"),
    [
        ("a@example.com", "example.com"),
        ("a@Bücher.example", "xn--bcher-kva.example"),
        ("a@localhost", "mailslot.invalid"),
        ("a@printer.localhost", "mailslot.invalid"),
        ("a@localhost.localdomain", "mailslot.invalid"),
        ("a@[192.0.2.1]", "mailslot.invalid"),
        ("a@192.0.2.1", "mailslot.invalid"),
    ],
)
async def test_identifiers_are_random_and_end_in_the_senders_domain(sender, domain):
    ids = {message(sender=sender).message_id for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch(rf"<[0-9a-f]{{32}}@{re.escape(domain)}>", i) for i in ids)


@pytest.mark.parametrize(
    "date",
    [
        datetime(2026, 11, 5, 23, 59, 59, tzinfo=UTC),
        datetime(2024, 2, 29, 0, 0, 0, tzinfo=timezone(timedelta(hours=14))),
        datetime(2026, 1, 9, 7, 8, 9, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    ],
)
async def test_dates_are_what_the_standard_library_writes(date):
    mail = await parsed(message(date=date))
    assert str(mail["Date"]) == format_datetime(date)
    assert mail["Date"].datetime == date


async def test_a_zone_with_seconds_becomes_utc():
    zone = timezone(timedelta(minutes=53, seconds=28))
    data = await octets(message(date=datetime(1890, 1, 1, 0, 30, tzinfo=zone)))
    assert field(data, "Date") == "Tue, 31 Dec 1889 23:36:32 +0000"


async def test_without_a_date_it_is_now_with_the_zone_here():
    date = (await parsed(message()))["Date"].datetime
    assert abs(date - datetime.now(UTC)) < timedelta(minutes=5)
    assert date.utcoffset() == datetime.now().astimezone().utcoffset()


async def test_international_domains_become_ascii():
    mail = message(sender="a@bücher.example", to=["b@日本.example"])
    data = await octets(mail)
    assert data.isascii()
    assert not mail.smtputf8
    assert not mail.eight_bit
    assert field(data, "From") == "a@xn--bcher-kva.example"
    assert field(data, "To") == "b@xn--wgv71a.example"


@pytest.mark.parametrize("where", ["sender", "to", "cc", "reply_to"])
async def test_an_international_local_part_needs_smtputf8(where):
    value = Mailbox("jürgen@bücher.example", "Jürgen")
    mail = message(**{where: [value] if where in {"to", "cc"} else value})
    data = await octets(mail)
    assert mail.smtputf8
    assert mail.eight_bit
    assert "jürgen@xn--bcher-kva.example".encode() in data


BREAKS = ["\r\nBcc: x@evil.example", "\n", "\r", "\0", "\x0b", "\x0c", "\x1b", "\x85", "\u2028"]


@pytest.mark.parametrize("end", [*BREAKS, "\ud800"], ids=ascii)
@pytest.mark.parametrize(
    ("what", "stage", "make"),
    [
        ("sender", "envelope", lambda end: {"sender": f"a@example.com{end}"}),
        ("sender", "envelope", lambda end: {"sender": f"a{end}@example.com"}),
        ("To", "envelope", lambda end: {"to": [f"b@exam{end}ple.com"]}),
        ("To", "envelope", lambda end: {"to": ["b@example.com", f'"b{end}"@example.com']}),
        ("Cc", "envelope", lambda end: {"cc": [f"{end}b@example.com"]}),
        ("Reply-To", "envelope", lambda end: {"reply_to": f"b@example.com{end}"}),
        ("subject", "data", lambda end: {"subject": f"Scan{end}"}),
        ("Message-ID", "data", lambda end: {"message_id": f"<a@b{end}>"}),
        ("Message-ID", "data", lambda end: {"message_id": f"<a@b>{end}"}),
        ("In-Reply-To", "data", lambda end: {"in_reply_to": f"<a@b>{end}"}),
        ("References", "data", lambda end: {"references": ["<a@b>", f"<a{end}@b>"]}),
        ("Auto-Submitted", "data", lambda end: {"auto_submitted": f"auto-generated{end}"}),
        ("X-Place", "data", lambda end: {"headers": [("X-Place", f"Hall{end}")]}),
        ("header field", "data", lambda end: {"headers": [(f"X-Place{end}", "Hall")]}),
    ],
)
def test_no_field_can_contain_a_line_break(what, stage, make, end):
    with pytest.raises(InputError, match=what) as caught:
        message(**make(end))
    assert caught.value.stage == stage
    assert caught.value.cause == "invalid_input"
    assert not any(end in str(caught.value) for end in BREAKS)


@pytest.mark.parametrize("end", BREAKS, ids=ascii)
def test_no_name_can_contain_a_line_break(end):
    with pytest.raises(InputError, match="sender name"):
        Mailbox("a@example.com", f"Hall{end}", role="sender")


@given(st.dictionaries(st.sampled_from(["subject", "name", "value", "identifier"]), st.text()))
async def test_accepted_input_never_adds_a_field(given_):
    try:
        mail = message(
            sender=Mailbox("a@example.com", given_.get("name", "")),
            subject=given_.get("subject", "s"),
            headers=[("X-Value", given_.get("value", "v"))],
            message_id=f"<{given_.get('identifier', '1')}@example.com>",
        )
    except InputError:
        return
    data = await octets(mail)
    expected = ["From", "To", "Subject", "Date", "Message-ID", "X-Value", "MIME-Version"]
    expected += ["Content-Type", "Content-Transfer-Encoding"]
    if not mail.subject:
        expected.remove("Subject")
    assert [name for name, _ in fields(data)] == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"sender": ""},
        {"sender": "Scanner <a@example.com>"},
        {"to": ["b"]},
        {"to": ["b@exa mple.com"]},
        {"to": ["b@example.com, c@example.com"]},
        {"to": ["group:b@example.com;"]},
        {"date": datetime(2026, 1, 1)},  # noqa: DTZ001 - which is what is wrong with it
        {"message_id": "1@example.com"},
        {"message_id": ""},
        {"message_id": "<a b@example.com>"},
        {"message_id": f"<{'a' * 1000}@example.com>"},
        {"in_reply_to": ""},
        {"references": ["<a@b> <c@d>"]},
        {"headers": [("Bcc", "x@example.com")]},
        {"headers": [("subject", "again")]},
        {"headers": [("Content-Type", "text/html")]},
        {"headers": [("MIME-Version", "2.0")]},
        {"headers": [("X-Twice", "1"), ("x-twice", "2")]},
        {"headers": [("X Space", "1")]},
        {"headers": [("X-Colon:", "1")]},
        {"headers": [("", "1")]},
        {"headers": [("Größe", "1")]},
    ],
    ids=str,
)
def test_invalid_input_is_refused(wrong):
    with pytest.raises(InputError):
        message(**wrong)


def test_a_string_is_not_a_list_of_addresses():
    with pytest.raises(InputError, match="To must be a list"):
        message(to="b@example.com")
