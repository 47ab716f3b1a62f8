"""Command lines, as old devices write them, and what is never taken."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot.smtp.server.backend import MailParameters
from mailslot.smtp.server.commands import (
    BAD_RECIPIENT,
    BAD_SENDER,
    MAIL_SYNTAX,
    NEEDS_SMTPUTF8,
    RCPT_SYNTAX,
    UNKNOWN_PARAMETER,
    Command,
    CommandError,
    parse_bdat,
    parse_command,
    parse_mail,
    parse_rcpt,
)


@pytest.mark.parametrize(
    ("line", "verb", "argument"),
    [
        (b"NOOP", "NOOP", ""),
        (b"  helo  me too \t", "HELO", "me too"),
        (b"Mail\tFROM:<>", "MAIL", "FROM:<>"),
        (b"EHLO sc\xe4nner", "EHLO", "sc\udce4nner"),
    ],
)
def test_command_lines(line: bytes, verb: str, argument: str) -> None:
    assert parse_command(line) == Command(verb, argument)


@pytest.mark.parametrize("line", [b"", b"   ", b"NOOP\x00", b"HELO a\rb", b"\x7f", b"\x1b[A", b"HELO\x0bme"])
def test_lines_that_are_no_commands(line: bytes) -> None:
    with pytest.raises(CommandError) as caught:
        parse_command(line)
    assert caught.value.reply.code == 500


@pytest.mark.parametrize(
    ("argument", "sender", "parameters"),
    [
        ("FROM:<a@example.com>", "a@example.com", MailParameters()),
        ("from: <a@example.com>", "a@example.com", MailParameters()),
        ("From :  < a@example.com >", "a@example.com", MailParameters()),
        ("FROM:a@example.com", "a@example.com", MailParameters()),
        ("FROM: a@example.com SIZE=7", "a@example.com", MailParameters(7)),
        ("FROM:<>", "", MailParameters()),
        ("FROM:< >", "", MailParameters()),
        ("FROM:<> size=0 body=8bitmime", "", MailParameters(0, eight_bit=True)),
        ("FROM:<> BODY=7BIT AUTH=<>", "", MailParameters()),
        ("FROM:<>SIZE=12", "", MailParameters(12)),
        ("FROM:<> SIZE=", "", MailParameters()),
        ("FROM:<> SIZE=-1", "", MailParameters()),
        ("FROM:<> SIZE=" + "9" * 21, "", MailParameters()),
        ("FROM:<@hop.example,@other.example:a@example.com>", "a@example.com", MailParameters()),
        ('FROM:<"a > b"@example.com>', '"a > b"@example.com', MailParameters()),
        ("FROM:<a@[192.0.2.7]>", "a@[192.0.2.7]", MailParameters()),
        ("FROM:<a@büro.example>", "a@xn--bro-hoa.example", MailParameters()),
        ("FROM:<scanner>", "scanner", MailParameters()),
        ("FROM:copier-2", "copier-2", MailParameters()),
    ],
)
def test_senders(argument: str, sender: str, parameters: MailParameters) -> None:
    assert parse_mail(argument) == (sender, parameters)


@pytest.mark.parametrize(
    ("argument", "refusal"),
    [
        ("", MAIL_SYNTAX),
        ("FROM", MAIL_SYNTAX),
        ("FROM:", MAIL_SYNTAX),
        ("TO:<a@example.com>", MAIL_SYNTAX),
        ("FROM:<a@example.com", MAIL_SYNTAX),
        ("FROM:>", MAIL_SYNTAX),
        ("<a@example.com>", MAIL_SYNTAX),
        ("FROM:<a@b@example.com>", BAD_SENDER),
        ("FROM:<a b>", BAD_SENDER),
        ("FROM:<@example.com>", BAD_SENDER),
        ("FROM:<a@>", BAD_SENDER),
        ("FROM:<" + "a" * 65 + "@example.com>", BAD_SENDER),
        ("FROM:<a@sc\udce4n.example>", BAD_SENDER),
        ("FROM:<ü@example.com>", NEEDS_SMTPUTF8),
        ("FROM:<ü>", NEEDS_SMTPUTF8),
        ("FROM:<> BODY=BINARYMIME", UNKNOWN_PARAMETER),
        ("FROM:<> SMTPUTF8", UNKNOWN_PARAMETER),
        ("FROM:<> RET=HDRS", UNKNOWN_PARAMETER),
        ("FROM:<>>", UNKNOWN_PARAMETER),
    ],
)
def test_senders_that_are_refused(argument: str, refusal: object) -> None:
    with pytest.raises(CommandError) as caught:
        parse_mail(argument)
    assert caught.value.reply == refusal


@pytest.mark.parametrize(
    "argument", ["TO:<b@example.com>", "to: b@example.com", "To:<@hop.example:b@example.com>  ", "TO : <b@example.com>"]
)
def test_recipients(argument: str) -> None:
    assert parse_rcpt(argument) == "b@example.com"


@pytest.mark.parametrize(
    ("argument", "refusal"),
    [
        ("FROM:<b@example.com>", RCPT_SYNTAX),
        ("TO:", RCPT_SYNTAX),
        ("TO:<>", BAD_RECIPIENT),
        ("TO:<b>", BAD_RECIPIENT),
        ("TO:<ü@example.com>", NEEDS_SMTPUTF8),
        ("TO:<b@example.com> NOTIFY=NEVER", UNKNOWN_PARAMETER),
    ],
)
def test_recipients_that_are_refused(argument: str, refusal: object) -> None:
    with pytest.raises(CommandError) as caught:
        parse_rcpt(argument)
    assert caught.value.reply == refusal


def test_chunk_sizes() -> None:
    assert parse_bdat("0") == (0, False)
    assert parse_bdat("86  last") == (86, True)
    with pytest.raises(CommandError):
        parse_bdat("٣")


@given(st.sampled_from(["FROM:", "TO:"]), st.text(max_size=300))
def test_any_argument_is_parsed_or_refused(word: str, argument: str) -> None:
    with suppress(CommandError):
        parsed = parse_mail(word + argument) if word == "FROM:" else parse_rcpt(word + argument)
        address = parsed if isinstance(parsed, str) else parsed[0]
        assert address.isascii()
        assert address.isprintable()


@pytest.mark.parametrize("argument", ["FROM:" + "<" * 2_000, "FROM:<" + " " * 2_000, 'FROM:<"' + '\\"' * 1_000])
def test_long_arguments_take_linear_time(argument: str) -> None:
    with pytest.raises(CommandError):
        parse_mail(argument)
