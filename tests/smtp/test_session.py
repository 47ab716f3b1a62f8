"""A session: what leaves it usable and what closes it, what raises what, and how it is left."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from mailslot import (
    ClosedError,
    DeliveryStatus,
    InputError,
    MailError,
    NetworkError,
    RecipientsRefusedError,
    RefusedError,
    ServerError,
    connect_smtp,
)
from smtp.servers import (
    GROUP,
    HELLO,
    MESSAGE,
    SENDER,
    TAKEN,
    TO,
    ServerConnection,
    Stream,
    long,
    serving,
    session,
    unstuffed,
)
from wire.test_dot_stuffing import SMUGGLING, canonical, cut

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.virtual_time

SILENT = "!silence\n"


@pytest.mark.parametrize(
    ("sender", "to", "message", "stage"),
    [
        ("a b@example.com", TO, MESSAGE, "envelope"),
        ("a@example.com\r\nRCPT TO:<evil@example.com>", TO, MESSAGE, "envelope"),
        (SENDER, ["a@example.com>\r\nDATA"], MESSAGE, "envelope"),
        (SENDER, ["a\u200b@example.com"], MESSAGE, "envelope"),
        (SENDER, [*TO, ""], MESSAGE, "envelope"),
        (SENDER, [], MESSAGE, "envelope"),
        (SENDER, "alice@example.com", MESSAGE, "envelope"),
        (SENDER, TO, "text", "data"),
        (SENDER, TO, None, "data"),
        (SENDER, TO, Stream(OSError("disk")), "data"),
        (SENDER, TO, Stream(b"a\r\n", ValueError("bad")), "data"),
        (SENDER, TO, Stream(b"a\r\n", size=4), "data"),
        (SENDER, TO, Stream(b"a\r\n", size=2), "data"),
        (SENDER, TO, Stream(b"a\n", size=2), "data"),
        (SENDER, TO, Stream(b"", size=2), "data"),
    ],
)
async def test_invalid_input_is_refused_before_anything_is_sent(
    sender: str, to: list[str], message: Any, stage: str
) -> None:
    async with session(HELLO + TAKEN + "C: QUIT") as (smtp, _):
        with pytest.raises(InputError) as caught:
            await smtp.submit(sender, to, message)
        assert isinstance(caught.value, ValueError)
        assert caught.value.stage == stage
        assert not caught.value.retryable
        assert smtp.usable
        receipt = await smtp.submit(SENDER, TO, MESSAGE)
    assert receipt.accepted == ("alice@example.com",)
    assert receipt.refused == {}
    assert receipt.reply.code == 250
    if isinstance(message, Stream):
        assert message.opened == message.closed


@pytest.mark.parametrize("chunking", [False, True])
async def test_a_stream_with_other_line_ends_counts_them_as_crlf(chunking: bool) -> None:
    content = Stream(b"Subject: x\n", b"\r", b"\nHello\r", b".\n", b".", size=26)
    wires = b"Subject: x\r\n\r\nHello\r\n.\r\n.\r\n"

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING", "CHUNKING")
        if chunking:
            await wire.lines(2)
            await wire.say("250 ok", "250 ok")
            assert await wire.line() == f"BDAT {len(wires)} LAST"
            received = b""
            while len(received) < len(wires):
                received += await wire.octets()
            assert received == wires
        else:
            await wire.envelope()
            assert unstuffed(await wire.message()) == wires
        await wire.say("250 ok")
        await wire.gone()

    content.size = len(wires)
    async with serving(server) as running, connect_smtp(running.endpoint, chunking=chunking, timeout=5) as smtp:
        await smtp.submit(SENDER, TO, content)
    assert content.closed == 1


async def test_the_receipt_has_each_address_as_given() -> None:
    dialogue = (
        HELLO
        + """C: MAIL FROM:<>
C: RCPT TO:<A@xn--bcher-kva.example>
C: RCPT TO:<b@example.com>
C: DATA
S: 250 ok
S: 250 ok
S: 550-5.1.1 no such
S: 550 5.1.1 user
S: 354 go
C: {message}
S: 250 2.0.0 queued as 7
C: QUIT
"""
    )
    async with session(dialogue) as (smtp, _):
        receipt = await smtp.submit("", ["A@bücher.example", "b@example.com", "b@example.com"], MESSAGE)
    assert receipt.accepted == ("A@bücher.example",)
    assert list(receipt.refused) == ["b@example.com"]
    assert receipt.refused["b@example.com"].enhanced == "5.1.1"
    assert receipt.refused["b@example.com"].text == "no such\nuser"
    assert receipt.reply.enhanced == "2.0.0"
    assert receipt.reply.text == "queued as 7"


REFUSALS: list[tuple[str, str, type[MailError], str]] = [
    ("S: 550 no\nS: 503 no\nS: 503 no\n", "envelope", RefusedError, ""),
    ("S: 250 ok\nS: 550 no\nS: 503 no\n", "envelope", RecipientsRefusedError, "C: RSET\nS: 250 ok\n"),
    ("S: 250 ok\nS: 250 ok\nS: 451 no\n", "data", RefusedError, "C: RSET\nS: 250 ok\n"),
    ("S: 250 ok\nS: 250 ok\nS: 354 go\nC: {message}\nS: 554 no\n", "data", RefusedError, ""),
    ("S: 250 ok\nS: 550 no\nS: 354 go\nC: .\nS: 554 no\n", "envelope", RecipientsRefusedError, ""),
]


@pytest.mark.parametrize(("said", "stage", "kind", "reset"), REFUSALS)
async def test_a_refusal_leaves_the_session_usable(said: str, stage: str, kind: type[MailError], reset: str) -> None:
    again = TAKEN
    if reset:
        command, _, answer = reset.partition("\n")
        again = f"{command}\n" + TAKEN.replace("S: 250 ok\n", answer + "S: 250 ok\n", 1)
    async with session(HELLO + GROUP + said + again + "C: QUIT") as (smtp, _):
        with pytest.raises(kind) as caught:
            await smtp.submit(SENDER, TO, MESSAGE)
        assert caught.value.stage == stage
        assert caught.value.reply is not None
        assert not caught.value.in_doubt
        assert smtp.usable
        assert (await smtp.submit(SENDER, TO, MESSAGE)).reply.code == 250


@pytest.mark.parametrize(
    ("said", "kind", "in_doubt"),
    [
        ("S: 421 bye\n!silence", RefusedError, False),
        ("!close", NetworkError, False),
        ("!reset", NetworkError, False),
        ("S: 250 ok\nS: nonsense\n!silence", ServerError, False),
        # An empty message would end that, but a recipient was taken, and would get it.
        ("S: 550 no\nS: 250 ok\nS: 354 go\n!silence", RefusedError, False),
        ("S: 250 ok\nS: 250 ok\nS: 250 ok\n!silence", ServerError, False),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nS: 250 ok\n!silence", ServerError, False),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nS: 550 too early\n!silence", RefusedError, False),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nC: {message}\n!close", NetworkError, True),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nC: {message}\n!reset", NetworkError, True),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nC: {message}\nS~ 25\n!close", NetworkError, True),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nC: {message}\nS: nonsense\n!silence", ServerError, True),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nC: {message}\nS: 354 go on\n!silence", ServerError, True),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nC: {message}\nS: 421 bye\n!silence", RefusedError, False),
    ],
)
async def test_other_errors_close_the_session(said: str, kind: type[MailError], in_doubt: bool) -> None:
    async with session(HELLO + GROUP + said) as (smtp, _):
        with pytest.raises(kind) as caught:
            await smtp.submit(SENDER, TO, MESSAGE)
        assert caught.value.in_doubt is in_doubt
        assert (caught.value.cause == "in_doubt") is in_doubt
        assert not smtp.usable
        with pytest.raises(ClosedError):
            await smtp.submit(SENDER, TO, MESSAGE)
        with pytest.raises(ClosedError):
            await smtp.noop()
        with pytest.raises(ClosedError):
            await smtp.submit_many([])


@pytest.mark.parametrize("final", [False, True])
async def test_a_timeout_closes_the_session(final: bool) -> None:
    said = "S: 250 ok\nS: 250 ok\nS: 354 go\nC: {message}\n!silence" if final else "S: 250 ok\n!silence"
    timeouts = {"timeout": 5, "final_timeout": 0.1} if final else {"timeout": 0.1}
    async with session(HELLO + GROUP + said, **timeouts) as (smtp, _):
        with pytest.raises(NetworkError) as caught:
            await smtp.submit(SENDER, TO, MESSAGE)
        assert caught.value.in_doubt is final
        assert caught.value.retryable
        assert not smtp.usable


async def test_the_timeout_applies_to_each_reply_of_a_group() -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        await wire.lines(6)
        for code in (250, 250, 250, 250, 250, 354):
            await anyio.sleep(0.08)
            await wire.say(f"{code} slowly")
        await wire.message()
        await wire.say("250 ok")
        await wire.gone()

    async with serving(server) as running, connect_smtp(running.endpoint, timeout=0.2) as smtp:
        receipt = await smtp.submit(SENDER, [f"{n}@example.com" for n in range(4)], MESSAGE)
    assert len(receipt.accepted) == 4


async def test_a_trickling_reply_times_out() -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        await wire.lines(3)
        while True:
            await wire.say("250-and")
            await anyio.sleep(0.02)

    async with serving(server) as running:
        with anyio.fail_after(20):
            async with connect_smtp(running.endpoint, timeout=0.2) as smtp:
                with pytest.raises(NetworkError, match="silent"):
                    await smtp.submit(SENDER, TO, MESSAGE)


async def test_two_hundred_recipients_are_sent_in_groups() -> None:
    recipients = [f"r{number}@example.com" for number in range(200)]
    heard: list[str] = []

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        heard.append(await wire.line())
        await wire.say("250 ok")
        for count in (100, 100):
            heard.extend(await wire.lines(count))
            with anyio.move_on_after(0.05):
                heard.append(await wire.line())  # nothing else may come before the answers
            await wire.say(*["250 ok"] * (count - 1), "550 no")
        heard.append(await wire.line())
        await wire.say("354 go")
        await wire.message()
        await wire.say("250 ok")
        await wire.gone()

    async with serving(server) as running, connect_smtp(running.endpoint, timeout=5) as smtp:
        receipt = await smtp.submit(SENDER, recipients, MESSAGE)
    assert heard[1:-1] == [f"RCPT TO:<{recipient}>" for recipient in recipients]
    assert heard[-1] == "DATA"
    assert len(receipt.accepted) == 198
    assert list(receipt.refused) == ["r99@example.com", "r199@example.com"]


async def test_several_tasks_take_turns() -> None:
    stored: list[bytes] = []

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        for _ in range(5):
            await wire.envelope()
            stored.append(unstuffed(await wire.message()))
            await anyio.sleep(0.01)
            await wire.say("250 ok")
        await wire.gone()

    messages = [b"Subject: %d\r\n\r\n" % number + b"x" * 20_000 * (number % 2) + b"\r\n" for number in range(5)]
    async with (
        serving(server) as running,
        connect_smtp(running.endpoint, timeout=5) as smtp,
        anyio.create_task_group() as group,
    ):
        for message in messages:
            group.start_soon(smtp.submit, SENDER, TO, message)
    assert sorted(stored) == sorted(messages)


@pytest.mark.parametrize("chunking", [False, True])
async def test_without_pipelining_each_command_waits_for_its_reply(chunking: bool) -> None:
    """CHUNKING alone is not used: chunks, too, would have to wait for each other."""
    content = long(1)

    async def server(wire: ServerConnection) -> None:
        await wire.greet("CHUNKING")
        for command, answer in (("MAIL", "250 ok"), ("RCPT", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go")):
            assert (await wire.line()).startswith(command)
            await anyio.sleep(0.01)
            assert not wire._heard
            await wire.say(answer)
        assert len(unstuffed(await wire.message())) == content.size
        await wire.say("250 ok")
        await wire.gone()

    async with serving(server) as running, connect_smtp(running.endpoint, timeout=5, chunking=chunking) as smtp:
        assert (await smtp.submit(SENDER, [*TO, "bob@example.com"], content)).reply.code == 250


async def test_server_limits_are_reported_without_a_command() -> None:
    hello = HELLO.replace("S: 250-CHUNKING", "S: 250-SIZE 30")
    mail = TAKEN.replace("C: MAIL FROM:<scanner@example.com>", "C: MAIL FROM:<scanner@example.com> SIZE={size}")
    cases: list[tuple[str, list[str], bytes, str]] = [
        (SENDER, TO, b"x" * 40, "message_too_large"),
        (SENDER, TO, "Subject: ü\r\n\r\n".encode(), "content_refused"),
        (SENDER, TO, "Subject: x\r\n\r\nü".encode(), "content_refused"),
        ("ü@example.com", TO, MESSAGE, "sender_refused"),
    ]
    async with session(hello + mail + "C: QUIT", b"Subject: x\r\n\r\n") as (smtp, _):
        for sender, to, message, cause in cases:
            with pytest.raises(MailError) as caught:
                await smtp.submit(sender, to, message if message is not MESSAGE else b"\r\n")
            assert caught.value.cause == cause
            assert caught.value.stage == "envelope"
            assert caught.value.reply is None
            assert not caught.value.retryable
            assert smtp.usable
        with pytest.raises(RecipientsRefusedError) as refused:
            await smtp.submit(SENDER, ["ü@example.com", "ö@example.com"], b"\r\n")
        assert {reply.enhanced for reply in refused.value.refused.values()} == {"5.6.7"}
        assert smtp.usable
        await smtp.submit(SENDER, TO, b"Subject: x\r\n\r\n")


async def test_capabilities_are_available() -> None:
    async with session(HELLO + "C: QUIT") as (smtp, _):
        assert "pipelining" in smtp.capabilities


@pytest.mark.parametrize("answer", ["S: 250 ok", "S: 550 no"])
async def test_noop(answer: str) -> None:
    async with session(HELLO + f"C: NOOP\n{answer}\nC: QUIT") as (smtp, _):
        if "550" in answer:
            with pytest.raises(RefusedError):
                await smtp.noop()
        else:
            await smtp.noop()
        assert smtp.usable


class Stubborn(Stream):
    """A long stream that fails when it is given up."""

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65_534 + b"\r\n"
        finally:
            raise OSError("cannot be closed")


async def test_an_error_when_closing_a_stream_hides_no_reply() -> None:
    refused = GROUP + "S: 550 no\nS: 503 no\nS: 503 no\n"
    async with session(HELLO + refused + TAKEN + "C: QUIT") as (smtp, _):
        with pytest.raises(RefusedError):
            await smtp.submit(SENDER, TO, Stubborn(size=1_000_000))
        assert smtp.usable
        assert (await smtp.submit(SENDER, TO, MESSAGE)).accepted


@pytest.mark.parametrize("pipelining", [False, True])
async def test_a_421_to_a_necessary_rset(pipelining: bool) -> None:
    hello = HELLO if pipelining else HELLO.replace("S: 250 PIPELINING", "S: 250 HELP")
    if pipelining:
        refused = GROUP + "S: 250 ok\nS: 250 ok\nS: 451 no\nC: RSET\n" + GROUP
    else:
        mail, rcpt, data = (line + "\n" for line in GROUP.splitlines())
        refused = mail + "S: 250 ok\n" + rcpt + "S: 250 ok\n" + data + "S: 451 no\nC: RSET\n"
    async with session(hello + refused + "S: 421 bye\n!silence") as (smtp, _):
        with pytest.raises(RefusedError):
            await smtp.submit(SENDER, TO, MESSAGE)
        with pytest.raises(RefusedError) as caught:
            await smtp.submit(SENDER, TO, MESSAGE)
        assert caught.value.cause == "server_busy"
        assert not caught.value.in_doubt
        assert not smtp.usable


async def test_noop_after_a_refused_chunk() -> None:
    group = GROUP.replace("C: DATA\n", "") + "S: 250 ok\nS: 250 ok\nC: BDAT {size} LAST\nC: {octets}\n"
    dialogue = (
        HELLO + group + "S: 552 too large\nC: NOOP\nS: 250 ok\nC: RSET\n" + group.replace("S: ", "S: 250 ok\nS: ", 1)
    )
    async with session(dialogue + "S: 250 queued\nC: QUIT", chunking=True) as (smtp, _):
        with pytest.raises(RefusedError):
            await smtp.submit(SENDER, TO, MESSAGE)
        await smtp.noop()
        assert (await smtp.submit(SENDER, TO, MESSAGE)).accepted


@pytest.mark.parametrize("chunking", [False, True])
async def test_no_content_ends_a_message_early(chunking: bool) -> None:
    """ST-13: what could be taken for an end or a command, in every cut, as the server gets it."""
    bodies = [b"\r\n" + body for body in SMUGGLING]
    wires: list[bytes] = []

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING", "8BITMIME", "CHUNKING")
        while (line := await wire.line()) != "QUIT":
            if line == "RSET":
                await wire.say("250 ok")
                continue
            assert line.startswith("MAIL")
            assert (await wire.line()).startswith("RCPT")
            if chunking:
                await wire.say("250 ok", "250 ok")
                size = int((await wire.line()).split()[1])
                received = bytearray()
                while len(received) < size:
                    received += await wire.octets(size - len(received))
                wires.append(bytes(received))
            else:
                assert await wire.line() == "DATA"
                await wire.say("250 ok", "250 ok", "354 go")
                wires.append(unstuffed(await wire.message()))
            await wire.say("250 ok")

    async with serving(server) as running, connect_smtp(running.endpoint, timeout=5, chunking=chunking) as smtp:
        expected = []
        for body in bodies:
            whole = canonical(body)
            await smtp.submit(SENDER, TO, body)
            for size in (1, 2, 3, 7):
                await smtp.submit(SENDER, TO, Stream(*cut(body, [size] * len(body)), size=len(whole)))
            expected += [whole] * 5
    assert wires == expected
    for wire in wires:
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)", wire)


@pytest.mark.parametrize(
    ("dialogue", "stage"),
    [
        ("S: 220 mail.example.com\nS: 421 4.3.2 too many connections\n!close", "capabilities"),
        (HELLO.rstrip("\n") + "\nS: 421 4.3.2 going down\n!close", "envelope"),
    ],
)
async def test_a_421_in_the_same_packet_as_a_reply(dialogue: str, stage: str) -> None:
    with pytest.raises(RefusedError) as caught:
        async with session(dialogue) as (smtp, _):
            await smtp.submit(SENDER, TO, MESSAGE)
    assert (caught.value.stage, caught.value.reply and caught.value.reply.code) == (stage, 421)
    assert caught.value.retryable


async def test_a_421_behind_a_reply_is_raised_by_the_next_command() -> None:
    async with session(HELLO + TAKEN + "S: 421 4.3.2 and now goodbye\n!silence") as (smtp, _):
        assert (await smtp.submit(SENDER, TO, MESSAGE)).accepted
        with pytest.raises(RefusedError) as caught:
            await smtp.noop()
        assert caught.value.reply is not None
        assert caught.value.reply.code == 421
        assert caught.value.retryable
        assert not smtp.usable


async def test_delivery_status_is_requested_if_offered() -> None:
    hello = HELLO.replace("CHUNKING", "DSN")
    group = TAKEN.replace("example.com>\nC: RCPT", "example.com> RET=HDRS ENVID=7\nC: RCPT", 1).replace(
        "alice@example.com>", "alice@example.com> NOTIFY=FAILURE,DELAY ORCPT=rfc822;alice@example.com"
    )
    status = DeliveryStatus(("FAILURE", "DELAY"), whole_message=False, envelope_id="7")
    async with session(hello + group + "C: QUIT") as (smtp, _):
        await smtp.submit(SENDER, TO, MESSAGE, delivery=status)
