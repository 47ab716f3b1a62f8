"""A probe asks as a submission would, sends nothing, and leaves the session as it was."""

from __future__ import annotations

import pytest

from mailslot import InputError, MailError, RecipientsRefusedError, RefusedError
from smtp.servers import SENDER, TO, session

pytestmark = pytest.mark.virtual_time

HELLO = """S: 220 mail.example.com ready
C: EHLO {any}
S: 250-mail.example.com
S: 250 SIZE 1000000
"""
MAIL = "C: MAIL FROM:<scanner@example.com> SIZE=1024\n"
RCPT = "C: RCPT TO:<alice@example.com>\n"
RSET = "C: RSET\nS: 250 ok\n"
QUIT = "C: QUIT\n"


async def test_accepted() -> None:
    once = f"{MAIL}S: 250 ok\n{RCPT}S: 250 ok\n{RSET}"
    async with session(HELLO + once + once + QUIT) as (smtp, _):
        await smtp.probe(SENDER, TO)
        await smtp.probe(SENDER, TO)
        assert smtp.usable


async def test_sender_refused() -> None:
    dialogue = f"{HELLO}{MAIL}S: 550 5.7.60 not you\nC: NOOP\nS: 250 ok\n{QUIT}"
    async with session(dialogue) as (smtp, _):
        with pytest.raises(RefusedError) as caught:
            await smtp.probe(SENDER, TO)
        assert (caught.value.stage, caught.value.cause) == ("envelope", "sender_refused")
        await smtp.noop()


async def test_recipient_refused() -> None:
    dialogue = f"{HELLO}{MAIL}S: 250 ok\n{RCPT}S: 450 4.7.1 greylisted\n{RSET}{QUIT}"
    async with session(dialogue) as (smtp, _):
        with pytest.raises(RecipientsRefusedError) as caught:
            await smtp.probe(SENDER, TO)
        assert (caught.value.cause, caught.value.retryable) == ("try_again_later", True)
        assert list(caught.value.refused) == TO


async def test_one_of_two_is_enough() -> None:
    bob = "C: RCPT TO:<bob@example.com>\nS: 250 ok\n"
    async with session(f"{HELLO}{MAIL}S: 250 ok\n{RCPT}S: 550 5.1.1 no\n{bob}{RSET}{QUIT}") as (smtp, _):
        await smtp.probe(SENDER, [*TO, "bob@example.com"])


@pytest.mark.parametrize("at", [MAIL, f"{MAIL}S: 250 ok\n{RCPT}"])
async def test_a_421_reply(at: str) -> None:
    async with session(f"{HELLO}{at}S: 421 4.3.2 going down\n") as (smtp, _):
        with pytest.raises(RefusedError) as caught:
            await smtp.probe(SENDER, TO)
        assert caught.value.cause == "server_busy"
        assert not smtp.usable


async def test_an_international_address() -> None:
    async with session(f"{HELLO}{QUIT}") as (smtp, _):
        with pytest.raises(MailError) as caught:
            await smtp.probe("bøb@example.com", TO)
        assert caught.value.cause == "sender_refused"


@pytest.mark.parametrize(("sender", "recipients"), [("a b", TO), (SENDER, []), (SENDER, ["a\r\nb@example.com"])])
async def test_invalid_input_sends_nothing(sender: str, recipients: list[str]) -> None:
    async with session(f"{HELLO}{QUIT}") as (smtp, _):
        with pytest.raises(InputError):
            await smtp.probe(sender, recipients)
