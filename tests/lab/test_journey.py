"""A scanned page on the real servers, and all their refusals."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import (
    AccessToken,
    DeliveryStatus,
    Endpoint,
    InputError,
    MailError,
    NetworkError,
    OAuth,
    Password,
    RecipientsRefusedError,
    RefusedError,
    Security,
    SignInError,
    StaticToken,
    Submission,
    connect_pop3,
    connect_smtp,
)
from mailslot.message import Attachment, Message

if TYPE_CHECKING:
    import ssl

    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider

PAGE = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"
DAEMON, ALICE = "daemon@example.test", "alice@example.test"

tokens = pytest.mark.parametrize("shape", [{}, {"jwt": True, "pad": 2400}], ids=["opaque", "jwt"])
ways = pytest.mark.parametrize("way", ["starttls", "tls"])
mechanisms = pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])


def submission(postfix: Postfix, way: str) -> Endpoint:
    return postfix.submission if way == "starttls" else postfix.submissions


def maildrop(dovecot: Dovecot, way: str) -> Endpoint:
    return dovecot.pop3 if way == "starttls" else dovecot.pop3s


def scan(to: str = ALICE) -> Message:
    return Message(
        sender=DAEMON, to=[to], subject="Scan – Ä page", text="One page.\n", attachments=[Attachment.from_path(PAGE)]
    )


async def octets_of(message: Message) -> bytes:
    return b"".join([piece async for piece in message.chunks()])


async def arrive(dovecot: Dovecot, user: str, number: int = 1) -> None:
    """Wait until Postfix has delivered."""
    with anyio.fail_after(120):
        while len(dovecot.messages(user)) < number:  # noqa: ASYNC110 - it is another process
            await anyio.sleep(0.02)


@pytest.fixture(autouse=True)
def empty_maildrops(dovecot: Dovecot) -> None:
    for user in (DAEMON, ALICE):
        dovecot.empty(user)


@tokens
@ways
@mechanisms
async def test_a_scanned_page_arrives_unchanged(
    provider: Provider,
    dovecot: Dovecot,
    postfix: Postfix,
    lab_context: ssl.SSLContext,
    shape: dict[str, object],
    way: str,
    mechanism: str,
) -> None:
    message = scan()
    sender = OAuth(DAEMON, StaticToken(provider.token(DAEMON, **shape)), mechanism)
    async with connect_smtp(submission(postfix, way), sender, ssl_context=lab_context) as smtp:
        receipt = await smtp.submit(DAEMON, [ALICE], message)
    assert receipt.accepted == (ALICE,)
    assert receipt.reply.code == 250
    await arrive(dovecot, ALICE)
    reader = OAuth(ALICE, StaticToken(provider.token(ALICE, **shape)), mechanism)
    async with connect_pop3(maildrop(dovecot, way), reader, ssl_context=lab_context) as pop:
        [entry] = await pop.listing()
        fetched = b"".join([piece async for piece in pop.retrieve(entry)])
        assert entry.size == len(fetched)
        await pop.delete(entry)
    # Postfix puts its own fields before ours and changes nothing else.
    assert fetched.endswith(await octets_of(message))
    assert dovecot.messages(ALICE) == []


async def test_bdat_carries_the_same_octets(
    provider: Provider, dovecot: Dovecot, postfix: Postfix, lab_context: ssl.SSLContext
) -> None:
    message = scan()
    auth = OAuth(DAEMON, StaticToken(provider.token(DAEMON)))
    async with connect_smtp(postfix.submissions, auth, ssl_context=lab_context, chunking=True) as smtp:
        await smtp.submit(DAEMON, [ALICE], message)
        results = await smtp.submit_many(
            Submission(DAEMON, [ALICE], b"Subject: %d\n\n.\n..\n" % number) for number in range(20)
        )
    assert [result.reply.code for result in results if not isinstance(result, MailError)] == [250] * 20
    await arrive(dovecot, ALICE, 21)
    found = dovecot.messages(ALICE)
    page = await octets_of(message)
    assert sum(octets.endswith(page) for octets in map(crlf, found)) == 1
    assert sum(octets.endswith(b"\r\n\r\n.\r\n..\r\n") for octets in map(crlf, found)) == 20


def crlf(stored: bytes) -> bytes:
    return stored if b"\r\n" in stored else stored.replace(b"\n", b"\r\n")


@pytest.mark.parametrize("chunking", [False, True])
async def test_batch_reports_each_message(
    provider: Provider, dovecot: Dovecot, postfix: Postfix, lab_context: ssl.SSLContext, chunking: bool
) -> None:
    auth = OAuth(DAEMON, StaticToken(provider.token(DAEMON)))
    batch = [
        Submission(DAEMON, [ALICE], b"Subject: one\n\n1"),
        Submission(ALICE, [ALICE], b"Subject: not ours\n\n2"),
        Submission(DAEMON, ["nobody@example.test"], b"Subject: nobody\n\n3"),
        Submission(DAEMON, ["a\r\nb@example.test"], b"Subject: injected\n\n4"),
        Submission(DAEMON, [ALICE, "later@example.test"], b"Subject: partly\n\n5"),
    ]
    async with connect_smtp(postfix.submission, auth, ssl_context=lab_context, chunking=chunking) as smtp:
        one, not_ours, nobody, injected, partly = await smtp.submit_many(batch)
        assert (await smtp.submit(DAEMON, [ALICE], b"Subject: after\n\n6")).accepted == (ALICE,)
    assert not isinstance(one, MailError)
    assert isinstance(not_ours, RecipientsRefusedError)
    assert not_ours.reply is not None
    assert not_ours.reply.code == 553
    assert isinstance(nobody, RecipientsRefusedError)
    assert isinstance(injected, InputError)
    assert not isinstance(partly, MailError)
    assert partly.accepted == (ALICE,)
    assert partly.refused["later@example.test"].code == 450
    await arrive(dovecot, ALICE, 3)


async def test_a_large_maildrop_is_fetched_with_a_bounded_window(
    provider: Provider, dovecot: Dovecot, lab_context: ssl.SSLContext
) -> None:
    wanted = [b"Subject: %d\r\n\r\n.dot\r\n" % number + b"x" * number + b"\r\n" for number in range(300)]
    for octets in wanted:
        dovecot.deliver(ALICE, octets)
    auth = OAuth(ALICE, StaticToken(provider.token(ALICE)))
    async with connect_pop3(dovecot.pop3s, auth, ssl_context=lab_context) as pop:
        entries = await pop.listing()
        assert len({entry.uid for entry in entries}) == 300
        assert await pop.stat() == (300, sum(entry.size for entry in entries))
        found = [b"".join([piece async for piece in retrieval]) async for retrieval in pop.retrieve_many(entries)]
        assert sorted(found) == sorted(wanted)
        assert b"".join([piece async for piece in pop.top(entries[0])]).startswith(b"Subject: ")
        await pop.delete(*entries)
    assert dovecot.messages(ALICE) == []


async def test_leaving_by_an_exception_deletes_nothing(
    provider: Provider, dovecot: Dovecot, lab_context: ssl.SSLContext
) -> None:
    dovecot.deliver(ALICE, b"Subject: keep\r\n\r\nme\r\n")
    auth = OAuth(ALICE, StaticToken(provider.token(ALICE)))
    with pytest.raises(KeyError):  # noqa: PT012 - what is left by it is the point
        async with connect_pop3(dovecot.pop3s, auth, ssl_context=lab_context) as pop:
            await pop.delete(*await pop.listing())
            raise KeyError
    assert len(dovecot.messages(ALICE)) == 1


def bad_token(provider: Provider, kind: str) -> str:
    if kind == "foreign":
        return provider.token("bob@example.test")
    if kind == "other scope":
        return provider.token(DAEMON, scope="calendar")
    if kind == "expired":
        value = provider.token(DAEMON, lifetime=1)
        time.sleep(2.1)
        return value
    return "malformed!"


class Counting:
    """A source that always has the same token, and counts."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.asked: list[bool] = []

    async def token(self, *, force: bool = False) -> AccessToken:
        self.asked.append(force)
        return AccessToken(self.value)

    async def forget(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("kind", ["foreign", "other scope", "expired", "malformed"])
@mechanisms
async def test_a_bad_token_is_tried_twice_at_most(
    provider: Provider,
    dovecot: Dovecot,
    postfix: Postfix,
    lab_context: ssl.SSLContext,
    kind: str,
    mechanism: str,
) -> None:
    value = bad_token(provider, kind)
    source = Counting(value)
    with pytest.raises(SignInError) as smtp:
        async with connect_smtp(postfix.submission, OAuth(DAEMON, source, mechanism), ssl_context=lab_context):
            pytest.fail("the token was accepted")
    with pytest.raises(SignInError) as pop:
        async with connect_pop3(dovecot.pop3s, OAuth(DAEMON, source, mechanism), ssl_context=lab_context):
            pytest.fail("the token was accepted")
    assert smtp.value.stage == pop.value.stage == "sign_in"
    assert smtp.value.reply is not None
    assert (smtp.value.reply.code, smtp.value.reply.enhanced) == (535, "5.7.8")
    assert pop.value.reply is not None
    assert (pop.value.reply.code, pop.value.reply.enhanced) == (None, "AUTH")
    for error in (smtp.value, pop.value):
        assert not error.retryable
        assert value not in f"{error!r} {error.detail} {error.challenge}"
    cured_by_a_new_one = source.asked == [False, True, False, True]
    told_that_none_helps = {"403", "insufficient_scope"} & {
        (error.challenge or {}).get("status") for error in (smtp.value, pop.value)
    }
    assert cured_by_a_new_one or told_that_none_helps


async def test_new_token_is_tried_on_the_same_connection(
    provider: Provider, dovecot: Dovecot, lab_context: ssl.SSLContext
) -> None:
    class Renewing(Counting):
        async def token(self, *, force: bool = False) -> AccessToken:
            self.asked.append(force)
            return AccessToken(provider.token(ALICE) if force else "stale")

    source = Renewing("")
    async with connect_pop3(dovecot.pop3, OAuth(ALICE, source), ssl_context=lab_context) as pop:
        assert await pop.listing() == []
    assert source.asked == [False, True]


@pytest.mark.parametrize("password", ["secret", "wrong"])
async def test_passwords_by_scram(
    dovecot: Dovecot, postfix: Postfix, lab_context: ssl.SSLContext, password: str
) -> None:
    auth = Password(ALICE, password)
    if password == "secret":
        async with connect_smtp(postfix.submission, auth, ssl_context=lab_context) as smtp:
            assert "SCRAM-SHA-256" in smtp.capabilities.mechanisms
            assert (await smtp.submit(ALICE, [DAEMON], b"Subject: x\n\ny")).accepted
        async with connect_pop3(dovecot.pop3s, auth, ssl_context=lab_context) as pop:
            assert await pop.listing() == []
        return
    with pytest.raises(SignInError) as refused:
        async with connect_pop3(dovecot.pop3s, auth, ssl_context=lab_context):
            pytest.fail("the password was accepted")
    assert refused.value.cause == "password_refused"


async def test_refused_sender_recipients_and_size(
    provider: Provider, dovecot: Dovecot, postfix: Postfix, lab_context: ssl.SSLContext
) -> None:
    auth = OAuth(DAEMON, StaticToken(provider.token(DAEMON)))
    async with connect_smtp(postfix.submissions, auth, ssl_context=lab_context) as smtp:
        with pytest.raises(RefusedError) as sender:
            await smtp.submit("bob@example.test", [ALICE], b"Subject: x\n\ny")
        assert (sender.value.stage, sender.value.retryable) == ("envelope", False)
        assert sender.value.reply is not None
        assert sender.value.reply.code == 553
        with pytest.raises(RecipientsRefusedError) as nobody:
            await smtp.submit(DAEMON, ["nobody@example.test", "later@example.test"], b"Subject: x\n\ny")
        assert {address: reply.code for address, reply in nobody.value.refused.items()} == {
            "nobody@example.test": 554,
            "later@example.test": 450,
        }
        assert nobody.value.retryable
        with pytest.raises(MailError) as large:
            await smtp.submit(DAEMON, [ALICE], b"Subject: x\n\n" + b"y" * 80 * 20_000)
        assert (large.value.stage, large.value.cause) == ("envelope", "message_too_large")
        receipt = await smtp.submit(DAEMON, [ALICE, "nobody@example.test"], b"Subject: still usable\n\ny")
        assert receipt.accepted == (ALICE,)
        assert receipt.refused["nobody@example.test"].code == 554
    await arrive(dovecot, ALICE)
    assert len(dovecot.messages(ALICE)) == 1


async def test_international_recipient_and_delivery_report(
    provider: Provider, dovecot: Dovecot, postfix: Postfix, lab_context: ssl.SSLContext
) -> None:
    auth = OAuth(DAEMON, StaticToken(provider.token(DAEMON)))
    report = DeliveryStatus(notify=("SUCCESS", "FAILURE"), whole_message=False, envelope_id="scan+1=a")
    async with connect_smtp(postfix.submission, auth, ssl_context=lab_context) as smtp:
        message = Message(sender=DAEMON, to=["bøb@example.test"], subject="hej", text="hej\n")
        receipt = await smtp.submit(DAEMON, ["bøb@example.test"], message, delivery=report)
        assert receipt.accepted == ("bøb@example.test",)
    await arrive(dovecot, DAEMON)
    [came] = dovecot.messages(DAEMON)
    assert b"Original-Envelope-Id: scan+1=a" in came
    assert b"Action: delivered" in came


async def test_wrong_port_and_encryption(dovecot: Dovecot, postfix: Postfix, lab_context: ssl.SSLContext) -> None:
    auth = OAuth(DAEMON, StaticToken("never-sent"))
    tls_on_plain = Endpoint("localhost", postfix.submission.port, Security.TLS)
    with pytest.raises(NetworkError) as mismatch:
        async with connect_smtp(tls_on_plain, auth, ssl_context=lab_context):
            pytest.fail("TLS came up")
    assert (mismatch.value.stage, mismatch.value.cause) == ("tls", "tls_port_mismatch")
    plain_on_tls = Endpoint("localhost", dovecot.pop3s.port, Security.STARTTLS)
    with pytest.raises(NetworkError) as silence:
        async with connect_pop3(plain_on_tls, auth, ssl_context=lab_context, timeout=5):
            pytest.fail("greeted")
    assert (silence.value.stage, silence.value.cause) == ("greeting", "connection_timeout")
    other_protocol = Endpoint("localhost", dovecot.pop3.port, Security.STARTTLS)
    with pytest.raises(MailError) as stranger:
        async with connect_smtp(other_protocol, auth, ssl_context=lab_context):
            pytest.fail("greeted")
    assert (stranger.value.stage, stranger.value.cause) == ("greeting", "not_a_mail_server")


async def test_untrusted_certificate(postfix: Postfix) -> None:
    with pytest.raises(NetworkError) as untrusted:
        async with connect_smtp(postfix.submissions, OAuth(DAEMON, StaticToken("never-sent"))):
            pytest.fail("trusted")
    assert (untrusted.value.stage, untrusted.value.cause) == ("tls", "certificate_untrusted")
    assert not untrusted.value.retryable


async def test_submission_without_authentication(
    dovecot: Dovecot, postfix: Postfix, lab_context: ssl.SSLContext
) -> None:
    async with connect_smtp(postfix.submission, ssl_context=lab_context) as smtp:
        with pytest.raises(RefusedError) as refused:
            await smtp.submit(DAEMON, [ALICE], b"Subject: x\n\ny")
    assert refused.value.stage == "envelope"
    async with connect_smtp(postfix.plain) as smtp:
        assert (await smtp.submit("", [ALICE], b"Subject: x\n\ny")).accepted == (ALICE,)
    await arrive(dovecot, ALICE)


async def test_no_token_is_in_any_log(
    provider: Provider,
    dovecot: Dovecot,
    postfix: Postfix,
    lab_context: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    value = provider.token(DAEMON)
    with caplog.at_level(0):
        async with connect_smtp(postfix.submission, OAuth(DAEMON, StaticToken(value)), ssl_context=lab_context) as smtp:
            await smtp.submit(DAEMON, [ALICE], b"Subject: x\n\ny")
    assert value not in caplog.text
    await arrive(dovecot, ALICE)
