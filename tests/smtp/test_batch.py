"""Many messages in one session: chained, and whole transactions in a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from mailslot import (
    ClosedError,
    InputError,
    MailError,
    NetworkError,
    Receipt,
    RecipientsRefusedError,
    RefusedError,
    ServerError,
    Submission,
    Transcript,
    connect_smtp,
)
from smtp.servers import MESSAGE, SENDER, TO, Server, ServerConnection, Stream, long, serving, unstuffed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

    from mailslot import SmtpSession

pytestmark = pytest.mark.virtual_time


class Store:
    """A strict server that keeps what it takes, and refuses what a message's addresses or subject ask it to.

    A local part says how a command is answered, such as ``550@…``; ``X-Answer: 554`` how the message is;
    ``lost`` instead of a code closes the connection there.

    Attributes:
        stored: the messages taken.
        commands: every command.
        turns: how often the server had to wait for the client, if it was asked to count that.
    """

    def __init__(self, *offers: str, counts: bool = False) -> None:
        self.offers = offers
        self.counts = counts
        self.stored: list[bytes] = []
        self.commands: list[str] = []
        self.turns = 0

    async def __call__(self, wire: ServerConnection) -> None:
        await wire.greet(*self.offers)
        sender = spoiled = False
        recipients = 0
        while True:
            if self.counts and not wire._heard:
                self.turns += 1
                await anyio.sleep(1)  # no time passes until all is here that the client has to say
            line = await wire.line()
            self.commands.append(line)
            verb, _, argument = line.partition(" ")
            code = argument.partition("<")[2].partition("@")[0]
            answer = code if code.isdigit() else "250"
            match verb:
                case "RSET":
                    sender, recipients, spoiled = False, 0, False
                case "MAIL":
                    assert not sender
                    assert not spoiled
                    sender = answer == "250"
                case "RCPT":
                    answer = answer if sender else "503"
                    recipients += answer == "250"
                case "DATA" | "BDAT":
                    if verb == "DATA":
                        answer = "354" if sender else "503"
                        if answer == "354":
                            await wire.say("354 go")
                            message = unstuffed(await wire.message())
                    else:
                        size, *last = argument.split()
                        assert last == ["LAST"]
                        message = bytearray()
                        while len(message) < int(size):
                            message += await wire.octets(int(size) - len(message))
                    if verb == "BDAT" or answer == "354":
                        asked = bytes(message).partition(b"X-Answer: ")[2][:4].decode().strip()
                        answer = (asked or "250") if recipients and not spoiled else "554"
                        if answer == "250":
                            self.stored.append(bytes(message))
                        spoiled = verb == "BDAT" and answer != "250"
                        code = asked
                    sender, recipients = False, 0
                case "QUIT":
                    await wire.say("221 bye")
                    return
            if code == "lost":
                return
            await wire.say(f"{answer} {verb}")
            if answer == "421":
                return


def connected(server: Server, *, chunking: bool) -> AbstractAsyncContextManager[SmtpSession]:
    return connect_smtp(server.endpoint, chunking=chunking, timeout=2, final_timeout=2)


def message(number: int, answer: str = "", size: int = 0) -> bytes:
    lines = [f"Subject: {number}"] + ([f"X-Answer: {answer}"] if answer else []) + ["", "x" * size]
    return "".join(f"{line}\r\n" for line in lines).encode()


WAYS = pytest.mark.parametrize(
    ("offers", "chunking"),
    [((), False), (("PIPELINING",), False), (("PIPELINING", "CHUNKING"), True), (("CHUNKING",), True)],
    ids=["one by one", "chained", "windowed", "chunks one by one"],
)


@WAYS
async def test_all_messages_are_sent_once_in_order(offers: tuple[str, ...], chunking: bool) -> None:
    store = Store(*offers)
    messages = [message(number, size=[10, 30_000, 16_300, 0][number % 4]) for number in range(60)]
    async with serving(store) as running, connected(running, chunking=chunking) as smtp:
        results = await smtp.submit_many(Submission(SENDER, TO, data) for data in messages)
        assert smtp.usable
        assert (await smtp.submit(SENDER, TO, message(999))).accepted
    assert all(isinstance(result, Receipt) for result in results)
    assert len(results) == 60
    assert store.stored == [*messages, message(999)]


async def test_pipelining_saves_round_trips() -> None:
    turns = {}
    for offers, chunking in (((), False), (("PIPELINING",), False), (("PIPELINING", "CHUNKING"), True)):
        store = Store(*offers, counts=True)
        async with serving(store) as running, connected(running, chunking=chunking) as smtp:
            await smtp.submit_many([Submission(SENDER, TO, message(number)) for number in range(10)])
        turns[len(offers)] = store.turns
    assert turns[0] > 3 * 10
    assert turns[1] <= 2 * 10 + 5
    assert turns[2] <= 10


def mixed() -> list[tuple[Submission, type[Receipt | MailError], str]]:
    """Return messages of every fate, with what has to come of each."""
    fine = message(0)
    return [
        (Submission(SENDER, TO, message(1)), Receipt, ""),
        (Submission("550@example.com", TO, fine), RefusedError, "unknown"),
        (Submission(SENDER, TO, message(2)), Receipt, ""),
        (Submission(SENDER, ["550@example.com", "450@example.com"], fine), RecipientsRefusedError, "recipient_refused"),
        (Submission(SENDER, TO, message(3)), Receipt, ""),
        (Submission("a b@example.com", TO, fine), InputError, "invalid_input"),
        (Submission(SENDER, [], fine), InputError, "invalid_input"),
        (Submission(SENDER, TO, Stream(OSError("disk"))), InputError, "invalid_input"),
        (Submission(SENDER, TO, Stream(b"x\r\n", size=99)), InputError, "invalid_input"),
        (Submission(SENDER, ["ü@example.com"], fine), RecipientsRefusedError, "recipient_refused"),
        (Submission(SENDER, [*TO, "550@example.com"], message(4)), Receipt, ""),
        (Submission(SENDER, TO, message(0, "554")), RefusedError, "unknown"),
        (Submission(SENDER, TO, message(0, "452")), RefusedError, "try_again_later"),
        (Submission(SENDER, TO, message(5, size=30_000)), Receipt, ""),
        (Submission(SENDER, TO, message(0, "552", size=30_000)), RefusedError, "message_too_large"),
        (Submission("452@example.com", TO, message(0, size=30_000)), RefusedError, "try_again_later"),
        (Submission(SENDER, [f"r{n}@example.com" for n in range(150)], message(6)), Receipt, ""),
        (Submission(SENDER, TO, message(7)), Receipt, ""),
    ]


@WAYS
async def test_each_message_has_its_own_result(offers: tuple[str, ...], chunking: bool) -> None:
    cases = mixed()
    store = Store(*offers)
    async with serving(store) as running, connected(running, chunking=chunking) as smtp:
        results = await smtp.submit_many([submission for submission, _, _ in cases])
        assert smtp.usable
    for (submission, kind, cause), result in zip(cases, results, strict=True):
        assert isinstance(result, kind), result
        if isinstance(result, MailError):
            assert result.cause == cause
            assert not result.in_doubt
        if isinstance(result, RefusedError):
            in_envelope = submission.sender[0].isdigit() or cause == "recipient_refused"
            assert result.stage == ("envelope" if in_envelope else "data")
    partial = results[10]
    assert isinstance(partial, Receipt)
    assert list(partial.refused) == ["550@example.com"]
    assert [data.split(b"\r\n")[0] for data in store.stored] == [b"Subject: %d" % number for number in range(1, 8)]


@WAYS
@pytest.mark.parametrize("ending", ["421", "lost"])
@pytest.mark.parametrize("where", ["sender", "recipient", "message"])
async def test_a_connection_lost_in_the_middle(
    offers: tuple[str, ...], chunking: bool, ending: str, where: str
) -> None:
    """What was taken is a receipt; what may have been is in doubt; what was not sent is neither."""
    store = Store(*offers)
    submissions = [Submission(SENDER, TO, message(number)) for number in range(100)]
    submissions[3] = {
        "sender": Submission(f"{ending}@example.com", TO, message(3)),
        "recipient": Submission(SENDER, [f"{ending}@example.com", *TO], message(3)),
        "message": Submission(SENDER, TO, message(3, ending)),
    }[where]
    notes = Transcript()
    async with (
        serving(store) as running,
        connect_smtp(running.endpoint, chunking=chunking, timeout=2, final_timeout=2, transcript=notes) as smtp,
    ):
        results = await smtp.submit_many(submissions)
        assert not smtp.usable
        with pytest.raises(ClosedError):
            await smtp.submit(SENDER, TO, MESSAGE)
    assert len(results) == 100
    assert all(isinstance(result, Receipt) for result in results[:3])
    assert store.stored == [message(number) for number in range(3)]
    lost = results[3]
    assert isinstance(lost, MailError)
    assert lost.retryable
    if ending == "421":
        assert isinstance(lost, RefusedError)
        assert lost.cause == "server_busy"
        assert not lost.in_doubt
    else:
        handed_over = where == "message" or "windowed" in _way(offers, chunking)
        assert lost.in_doubt is handed_over
    for result in results[4:]:
        assert isinstance(result, NetworkError)
        assert result.retryable
        assert result.in_doubt is (result.cause == "in_doubt")
    doubts = [isinstance(result, MailError) and result.in_doubt for result in results[4:]]
    assert not any(doubts) or "windowed" in _way(offers, chunking)
    # Doubt is a stretch behind the loss, as far as was sent, and never comes back.
    assert doubts == sorted(doubts, reverse=True)
    if "windowed" in _way(offers, chunking):
        assert sum(doubts) == sum(line.startswith("C: MAIL") for line in notes.lines) - 4


def _way(offers: tuple[str, ...], chunking: bool) -> str:
    return "windowed" if chunking and len(offers) == 2 else "one"


@WAYS
async def test_a_timeout_in_the_middle(offers: tuple[str, ...], chunking: bool) -> None:
    store = Store(*offers)
    taken = 0

    async def server(wire: ServerConnection) -> None:
        nonlocal taken
        say = wire.say

        async def mute(*lines: str) -> None:
            nonlocal taken
            if len(store.stored) == 3:
                await anyio.sleep_forever()
            await say(*lines)

        wire.say = mute  # type: ignore[method-assign]  # a server that falls silent
        await store(wire)

    async with (
        serving(server) as running,
        connect_smtp(running.endpoint, chunking=chunking, timeout=5, final_timeout=5) as smtp,
    ):
        results = await smtp.submit_many([Submission(SENDER, TO, message(number)) for number in range(9)])
        assert not smtp.usable
    assert [isinstance(result, Receipt) for result in results] == [True] * 2 + [False] * 7
    third = results[2]
    assert isinstance(third, NetworkError)
    assert third.in_doubt
    assert "silent" in str(third)
    assert not any(isinstance(result, ServerError) for result in results)


async def test_a_protocol_error_in_a_pipelined_group() -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING", "CHUNKING")
        await wire.lines(3)
        # One answer is missing: a later one is taken for it, and that is found out at the first RSET refused.
        await wire.say("250 RSET", "250 MAIL", "550 RCPT", "250 BDAT", "250 RSET")
        await wire.gone()

    async with serving(server) as running, connected(running, chunking=True) as smtp:
        results = await smtp.submit_many([Submission(SENDER, TO, message(number)) for number in range(3)])
        assert not smtp.usable
    assert all(isinstance(result, MailError) for result in results)
    assert isinstance(results[0], ServerError)
    assert results[0].in_doubt


@WAYS
async def test_a_stream_of_the_wrong_size_affects_no_other_message(offers: tuple[str, ...], chunking: bool) -> None:
    """A long one is found out when it has been sent: what was taken before stays so, what comes after is lost."""
    store = Store(*offers)
    liar = Stream(*long(0.2)._pieces, size=7)
    submissions = [Submission(SENDER, TO, message(number)) for number in range(6)]
    submissions[3] = Submission(SENDER, TO, liar)
    async with serving(store) as running, connected(running, chunking=chunking) as smtp:
        results = await smtp.submit_many(submissions)
        assert not smtp.usable
    assert [type(result).__name__ for result in results] == ["Receipt"] * 3 + ["InputError"] + ["NetworkError"] * 2
    assert not any(isinstance(result, MailError) and result.in_doubt for result in results)
    assert store.stored == [message(number) for number in range(3)]
    assert liar.opened == liar.closed


@WAYS
async def test_messages_are_opened_in_turn_and_closed(offers: tuple[str, ...], chunking: bool) -> None:
    contents = [Stream(message(number)) for number in range(6)]
    taken: list[int] = []

    def submissions() -> Iterator[Submission]:
        for number, content in enumerate(contents):
            taken.append(number)
            yield Submission(SENDER, TO, content)

    store = Store(*offers)
    async with serving(store) as running, connected(running, chunking=chunking) as smtp:
        await smtp.submit_many(submissions())
    assert taken == list(range(6))
    assert [(content.opened, content.closed) for content in contents] == [(1, 1)] * 6


@WAYS
async def test_an_exception_of_the_caller_loses_no_result(offers: tuple[str, ...], chunking: bool) -> None:
    def submissions() -> Iterator[Submission]:
        yield Submission(SENDER, TO, message(1))
        raise KeyError("no more")

    contents = Store(*offers)
    async with serving(contents) as running, connected(running, chunking=chunking) as smtp:
        taken, broken = await smtp.submit_many(submissions())
        assert isinstance(taken, Receipt)
        assert isinstance(broken, InputError)
        assert isinstance(broken.__cause__, KeyError)
        assert smtp.usable


class Unreadable(list[str]):
    """Recipients that cannot be looked at."""

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("gone")


@WAYS
async def test_an_invalid_submission_affects_no_other_result(offers: tuple[str, ...], chunking: bool) -> None:
    given: list[Any] = [
        Submission(SENDER, TO, message(1)),
        Submission(SENDER, cast("Any", None), message(2)),
        "nothing of the kind",
        Submission(SENDER, TO, cast("Any", 5)),
        Submission(SENDER, Unreadable(TO), message(2)),
        Submission(SENDER, TO, message(3)),
    ]
    store = Store(*offers)
    async with serving(store) as running, connected(running, chunking=chunking) as smtp:
        first, *wrong, last = await smtp.submit_many(given)
    assert isinstance(first, Receipt)
    assert isinstance(last, Receipt)
    assert all(isinstance(result, InputError) for result in wrong)


async def test_mailmax_is_respected() -> None:
    store = Store("PIPELINING", "LIMITS MAILMAX=3")
    async with serving(store) as running, connected(running, chunking=False) as smtp:
        results = await smtp.submit_many([Submission(SENDER, TO, message(number)) for number in range(5)])
    assert [isinstance(result, Receipt) for result in results] == [True, True, True, False, False]
    assert {result.cause for result in results if isinstance(result, MailError)} == {"try_again_later"}
    assert all(result.retryable for result in results if isinstance(result, MailError))
    assert sum(command.startswith("MAIL") for command in store.commands) == 3


async def test_no_messages() -> None:
    store = Store("PIPELINING")
    async with serving(store) as running, connected(running, chunking=False) as smtp:
        assert await smtp.submit_many([]) == []
        assert smtp.usable


async def test_a_server_that_stops_reading_in_a_pipelined_group() -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING", "CHUNKING")
        await anyio.sleep_forever()

    submissions = [Submission(SENDER, TO, message(number, size=16_000)) for number in range(2000)]
    async with (
        serving(server, receive_buffer=4096) as running,
        connect_smtp(running.endpoint, chunking=True, timeout=5, final_timeout=10) as smtp,
    ):
        with anyio.fail_after(60):
            results = await smtp.submit_many(submissions)
        assert not smtp.usable
    assert len(results) == 2000
    assert all(isinstance(result, MailError) for result in results)
    assert isinstance(results[0], MailError)
    assert results[0].in_doubt
    assert isinstance(results[-1], MailError)
    assert not results[-1].in_doubt


class OneByOne:
    """A server that offers PIPELINING, and refuses what is sent along with something else.

    Args:
        refusal: what it says to it.
        refuses: ``"behind"``, what comes behind the end of a message; ``"end"``, the message that something comes
            behind; ``"window"``, a transaction that comes in one piece, RSET in it excepted; ``"all"``, RSET too.
        lost_at: the subject's number of a message after which it closes the connection.

    Attributes:
        stored: the messages taken.
        refused: how often it refused something for that.
    """

    def __init__(self, refusal: str, refuses: str, lost_at: int = -1) -> None:
        self.stored: list[bytes] = []
        self.refused = 0
        self._refusal = refusal
        self._refuses = refuses
        self._lost = b"Subject: %d\r\n" % lost_at

    async def __call__(self, wire: ServerConnection) -> None:
        await wire.greet("PIPELINING", *["CHUNKING"] if self._refuses in {"window", "all"} else [])
        while (line := await wire.line()) != "QUIT":
            match line.split()[0]:
                case "RSET" if b"BDAT" in wire._heard:
                    self.refused += 1
                    await wire.say(self._refusal if self._refuses == "all" else "250 ok")
                    await wire.lines(2)
                    await self._chunk(wire, await wire.line())
                    await wire.say(*[self._refusal] * 3)
                case "DATA":
                    await wire.say("354 go")
                    await self._taken(wire, unstuffed(await wire.message()))
                case "BDAT":
                    await self._taken(wire, await self._chunk(wire, line))
                case _:
                    await wire.say("250 ok")

    async def _chunk(self, wire: ServerConnection, line: str) -> bytes:
        octets = b""
        while len(octets) < int(line.split()[1]):
            octets += await wire.octets(int(line.split()[1]) - len(octets))
        return octets

    async def _taken(self, wire: ServerConnection, data: bytes) -> None:
        behind = bool(wire._heard)
        self.refused += behind
        if behind and self._refuses == "end":
            await wire.say(self._refusal)
            return
        self.stored.append(data)
        if data.startswith(self._lost):
            raise EOFError
        await wire.say("250 ok")
        if behind:
            await wire.say(*[self._refusal for _ in await wire.lines(3)])


REFUSALS = pytest.mark.parametrize("refusal", ["503 nested MAIL", "503 5.5.1 out of order", "554 5.5.0 no pipelining"])


@REFUSALS
@pytest.mark.parametrize(("refuses", "most"), [("behind", 1), ("end", 1), ("window", 10), ("all", 10)])
async def test_messages_refused_in_a_batch_are_retried_singly(refusal: str, refuses: str, most: int) -> None:
    """A message refused in a group is sent again alone, and later messages are sent singly."""
    server = OneByOne(refusal, refuses)
    messages = [message(number) for number in range(10)]
    async with serving(server) as running, connected(running, chunking=refuses in {"window", "all"}) as smtp:
        results = await smtp.submit_many(Submission(SENDER, TO, data) for data in messages)
        assert 1 <= server.refused <= most
        before = server.refused
        further = await smtp.submit_many([Submission(SENDER, TO, message(number)) for number in (10, 11)])
        assert smtp.usable
    assert [type(result) for result in results + further] == [Receipt] * 12
    assert sorted(server.stored) == sorted([*messages, message(10), message(11)])
    assert server.refused == before


@pytest.mark.parametrize("refuses", ["behind", "end"])
async def test_a_connection_lost_during_the_retry(refuses: str) -> None:
    again = 1 if refuses == "behind" else 0
    server = OneByOne("503 out of order", refuses, lost_at=again)
    async with serving(server) as running, connected(running, chunking=False) as smtp:
        results = await smtp.submit_many([Submission(SENDER, TO, message(number)) for number in range(4)])
    first, second, *others = results
    taken, lost = (first, second) if again else (second, first)
    assert isinstance(taken, Receipt)
    assert isinstance(lost, NetworkError)
    assert (lost.cause, lost.in_doubt) == ("in_doubt", True)
    for other in others:
        assert isinstance(other, NetworkError)
        assert (other.cause, other.in_doubt, other.retryable) == ("connection_lost", False, True)
    assert server.stored == [message(1 - again), message(again)]


async def test_a_connection_lost_before_the_retry() -> None:
    """The message is refused for what came behind it, which is what the connection is lost with."""

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        await wire.envelope()
        await wire.message()
        await wire.say("503 out of order", "250 ok")
        await wire.lines(3)

    async with serving(server) as running, connected(running, chunking=False) as smtp:
        results = await smtp.submit_many([Submission(SENDER, TO, message(number)) for number in range(3)])
    for result in results:
        assert isinstance(result, NetworkError)
        assert (result.cause, result.in_doubt, result.retryable) == ("connection_lost", False, True)


@pytest.mark.parametrize("chunking", [False, True])
async def test_messages_refused_singly_too_are_refused(chunking: bool) -> None:
    """It was not for its company, which others may still have."""
    store = Store("PIPELINING", "CHUNKING")
    addresses = ["503@example.com" if number == 3 else TO[0] for number in range(8)]
    async with serving(store) as running, connected(running, chunking=chunking) as smtp:
        results = await smtp.submit_many(
            Submission(SENDER, [address], message(number)) for number, address in enumerate(addresses)
        )
        assert smtp._dialogue.can_batch
    assert [type(result) for result in results] == [*[Receipt] * 3, RecipientsRefusedError, *[Receipt] * 4]
    assert store.commands.count("RCPT TO:<503@example.com>") == 2
    assert store.stored == [message(number) for number in range(8) if number != 3]


async def test_no_empty_message_is_sent_if_the_sender_was_refused_and_a_recipient_accepted() -> None:
    """As where a server has forgotten nothing of the message before when it takes the next one's commands."""
    ends = 0

    async def server(wire: ServerConnection) -> None:
        nonlocal ends
        await wire.greet("PIPELINING")
        await wire.envelope()
        await wire.message()
        await wire.say("250 ok")
        await wire.lines(3)
        await wire.say("503 nested MAIL", "250 ok", "354 go")
        ends = (await wire.gone()).count(b".\r\n")

    async with serving(server) as running, connected(running, chunking=False) as smtp:
        results = await smtp.submit_many([Submission(SENDER, TO, MESSAGE)] * 3)
        assert not smtp.usable
    assert isinstance(results[0], Receipt)
    for result in results[1:]:
        assert isinstance(result, NetworkError)
        assert (result.in_doubt, result.retryable) == (False, True)
    assert ends == 0
