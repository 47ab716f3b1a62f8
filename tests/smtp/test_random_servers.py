"""Servers that answer at random, in random pieces (ST-24): what is told is what happened.

Whatever the server does: a receipt means that it took the message, for those recipients that it took; a message that it
took and that has no receipt is in doubt; and what comes out is a receipt or a `MailError`, and the session is usable or
closed.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import MailError, Receipt, RefusedError, Submission, connect_smtp
from mailslot.smtp.replies import ReplyParser
from mailslot.wire.protocol_error import RemoteProtocolError
from smtp.servers import SENDER, ServerConnection, serving, unstuffed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.virtual_time

RECIPIENTS = [f"r{number}@example.com" for number in range(3)]


class RandomServer:
    """A server that plays dice, and keeps account of what it took.

    Attributes:
        taken: by subject, the recipients that a message was taken for.
    """

    def __init__(self, dice: random.Random, offers: tuple[str, ...]) -> None:
        self.dice = dice
        self.offers = offers
        self.taken: dict[bytes, list[str]] = {}
        # How bad it is: most answers of most servers are fine, else nothing would ever be taken.
        self.badness = dice.choice([0.0, 0.02, 0.1, 0.3])
        self.untold = dice.choice([0.0, 0.1, 0.4])

    def answer(self, good: int) -> tuple[bytes, int]:
        """Return what to say where `good` is due, and the code that it is; 0 for none."""
        if self.dice.random() >= self.badness:
            return self.reply(good), good
        return self.dice.choice(
            [
                (self.reply(code := self.dice.choice([450, 451, 452, 550, 552, 554])), code),
                (self.reply(code := self.dice.choice([450, 550])), code),
                (self.reply(421), 421),
                (self.reply(good)[: self.dice.randrange(5)], 0),
                (b"", 0),
                (b"nonsense\r\n", 0),
            ]
        )

    def reply(self, code: int) -> bytes:
        lines = ["250 354 550", "", "2.0.0 x", "é"][: self.dice.randint(1, 4)]
        marks = ["-"] * (len(lines) - 1) + [" "]
        return "".join(f"{code}{mark}{line}\r\n" for mark, line in zip(marks, lines, strict=True)).encode()

    def pieces(self, octets: bytes) -> Iterator[bytes]:
        while octets:
            size = self.dice.choice([1, 2, 7, 1000])
            yield octets[:size]
            octets = octets[size:]

    async def say(self, wire: ServerConnection, good: int) -> int:
        """Answer; return the code that was said, or raise `EOFError` where it says nothing more."""
        octets, code = self.answer(good)
        for piece in self.pieces(octets):
            await wire.stream.send(piece)
        if not code:
            raise EOFError
        if code == 421:
            raise EOFError
        return code

    async def serve(self, wire: ServerConnection) -> None:
        await wire.greet(*self.offers)
        recipients: list[str] = []
        sender = spoiled = False
        while True:
            line = await wire.line()
            verb = line.partition(" ")[0]
            match verb:
                case "RSET":
                    recipients, sender, spoiled = [], False, False
                    octets = self.reply(250)
                    await wire.stream.send(octets)
                case "MAIL":
                    sender = await self.say(wire, 250) == 250
                    recipients = []
                case "RCPT":
                    if await self.say(wire, 250 if sender else 503) == 250 and sender:
                        recipients.append(line.partition("<")[2].partition(">")[0])
                case "DATA":
                    # Some servers say 354 to nobody's message (RFC 2920 section 3.1).
                    good = 354 if recipients or (sender and self.dice.random() < 0.5) else 503
                    if await self.say(wire, good) != 354:
                        continue
                    await self.take(wire, unstuffed(await wire.message()), recipients)
                    sender = False
                case "BDAT":
                    _, size, *last = line.split()
                    octets = b""
                    while len(octets) < int(size):
                        octets += await wire.octets(int(size) - len(octets))
                    assert last == ["LAST"]
                    if spoiled or not recipients:
                        spoiled = True
                        await self.say(wire, 503)
                    else:
                        spoiled = await self.take(wire, octets, recipients) != 250
                    sender = False
                case "QUIT":
                    return

    async def take(self, wire: ServerConnection, message: bytes, recipients: list[str]) -> int:
        """Take a message, perhaps, and answer; a message may be taken and the answer lost."""
        octets, code = self.answer(250 if recipients else 554)
        if self.dice.random() < self.untold:
            octets, code = self.dice.choice([b"", b"25", b"250-", b"nonsense\r\n"]), 0
        told = is_a_reply(octets)
        if recipients and (code == 250 or (not told and self.dice.random() < 0.5)):
            self.taken[message.partition(b"\r\n")[0]] = list(recipients)
        for piece in self.pieces(octets):
            await wire.stream.send(piece)
        if not code or code == 421:
            raise EOFError
        return code


def is_a_reply(octets: bytes) -> bool:
    """Whether something was answered at all."""
    reader = ReplyParser()
    reader.feed(octets)
    try:
        return reader.next() is not None
    except RemoteProtocolError:
        return False


def hold(server: RandomServer, subject: bytes, result: Receipt | MailError, recipients: list[str]) -> None:
    """Hold what was told of a message against what happened."""
    taken = server.taken.get(subject)
    if isinstance(result, Receipt):
        assert taken is not None
        assert list(result.accepted) == taken
        assert set(result.accepted) | set(result.refused) == set(recipients)
        return
    if taken is not None:
        assert result.in_doubt, repr(result)
    assert result.in_doubt is (result.cause == "in_doubt")
    if isinstance(result, RefusedError):
        assert result.reply is not None
        assert not result.in_doubt
        assert result.retryable or (result.reply.code or 0) >= 500
    assert str(result)


@pytest.mark.parametrize("seed", range(40))
async def test_messages_sent_singly(seed: int) -> None:
    dice = random.Random(seed)
    server = RandomServer(dice, dice.choice([(), ("PIPELINING",)]))
    async with serving(server.serve) as running, connect_smtp(running.endpoint, timeout=2, final_timeout=2) as smtp:
        for number in range(8):
            recipients = RECIPIENTS[: dice.randint(1, 3)]
            subject = b"Subject: %d" % number
            message = subject + b"\r\n\r\n" + b".\r\n..\r\n" * dice.choice([0, 3, 9_000])
            try:
                result: Receipt | MailError = await smtp.submit(SENDER, recipients, message)
            except MailError as error:
                result = error
            hold(server, subject, result, recipients)
            if not smtp.usable:
                break
            assert isinstance(result, (Receipt, RefusedError))


@pytest.mark.parametrize("seed", range(40))
async def test_messages_sent_in_batches(seed: int) -> None:
    dice = random.Random(seed)
    chunking = dice.random() < 0.6
    server = RandomServer(dice, ("PIPELINING", *(["CHUNKING"] if chunking else [])))
    submissions = [
        Submission(
            SENDER, RECIPIENTS[: dice.randint(1, 3)], b"Subject: %d\r\n\r\n" % number + b".\r\n" * dice.choice([0, 3])
        )
        for number in range(20)
    ]
    async with (
        serving(server.serve) as running,
        connect_smtp(running.endpoint, timeout=2, final_timeout=2, chunking=chunking) as smtp,
    ):
        with anyio.fail_after(60):
            results = await smtp.submit_many(submissions)
        usable = smtp.usable
    assert len(results) == 20
    for number, (submission, result) in enumerate(zip(submissions, results, strict=True)):
        hold(server, b"Subject: %d" % number, result, list(submission.recipients))
    if usable:
        assert all(isinstance(result, (Receipt, RefusedError)) for result in results)
