"""Retrieval: messages are complete or an error, in order, and never mixed up."""

from __future__ import annotations

import random
from itertools import chain, count
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import ClosedError, Entry, InputError, MailError, NetworkError, RefusedError, Transcript
from mailslot.pop3.retrieval import MAX_AHEAD, MAX_DISCARDED, WINDOW
from mailslot_plugins.sandbox import DOVECOT, EXCHANGE
from pop3.conftest import USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot.pop3.retrieval import Retrieval
    from mailslot_plugins.sandbox import Sandbox

pytestmark = pytest.mark.virtual_time

pipelining = pytest.mark.parametrize("personality", [DOVECOT, EXCHANGE], ids=["PIPELINING", "lockstep"])


def fill(sandbox: Sandbox, *sizes: int) -> list[bytes]:
    """Put messages of these sizes into the maildrop, each with octets of its own."""
    messages = []
    for number, size in enumerate(sizes, 1):
        line = b".%d %s\r\n" % (number, b"x" * 60)
        body = (line * (size // len(line) + 1))[: max(size - 2, 0)]
        messages.append((body[:-1] + b"x" if body.endswith(b"\r") else body) + b"\r\n")
        sandbox.maildrops[USER].add(messages[-1])
    return messages


async def read(retrieval: Retrieval) -> bytes:
    return b"".join([chunk async for chunk in retrieval])


def asked(sandbox: Sandbox, verb: str = "RETR") -> list[str]:
    """What the client said, by verb."""
    lines = str(sandbox.dialogues[-1].transcript).splitlines()
    return [line.removeprefix("C: ") for line in lines if line.startswith(f"C: {verb}")]


@pipelining
class TestOne:
    async def test_a_message_is_complete(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, 2, 100, 70_000, 3_000_000)
        async with open_session() as session:
            for entry in await session.listing():
                assert await read(session.retrieve(entry)) == messages[entry.number - 1]
        assert sandbox.violations == []

    async def test_retr_is_sent_when_reading_begins(self, sandbox: Sandbox, open_session) -> None:
        fill(sandbox, 100)
        async with open_session() as session:
            (entry,) = await session.listing()
            session.retrieve(entry)
            session.retrieve_many([entry])
            await session.noop()
        assert asked(sandbox) == []

    async def test_reading_after_the_end_yields_nothing(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, 100)
        async with open_session() as session:
            (entry,) = await session.listing()
            retrieval = session.retrieve(entry)
            assert await read(retrieval) == messages[0]
            assert await read(retrieval) == b""
            await session.noop()
            assert await read(retrieval) == b""
        assert asked(sandbox) == ["RETR 1"]

    async def test_an_abandoned_message_is_skipped(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, 1_000_000, 100)
        async with open_session() as session:
            first, second = await session.listing()
            left = session.retrieve(first)
            async for _ in left:
                break
            assert await session.stat() == (2, 1_000_100)
            with pytest.raises(ClosedError, match="before it was complete"):
                await read(left)
            assert await read(session.retrieve(second)) == messages[1]
            assert session.usable
        assert sandbox.violations == []

    async def test_an_abandoned_long_message_ends_the_session(self, sandbox: Sandbox, open_session) -> None:
        fill(sandbox, MAX_DISCARDED + 1_000_000, 100)
        async with open_session() as session:
            first, second = await session.listing()
            left = session.retrieve(first)
            async for _ in left:
                break
            with pytest.raises(ClosedError, match="too long"):
                await session.stat()
            assert not session.usable
            for use in (
                session.stat,
                session.listing,
                session.noop,
                lambda: read(left),
                lambda: session.delete(second),
            ):
                with pytest.raises(ClosedError):
                    await use()
        assert asked(sandbox, "QUIT") == []

    async def test_abandoned_before_the_session_ends(self, sandbox: Sandbox, open_session) -> None:
        fill(sandbox, 100_000)
        async with open_session() as session:
            (entry,) = await session.listing()
            async for _ in session.retrieve(entry):
                break
        # The session does not await the response.
        await anyio.sleep(1)
        assert len(asked(sandbox, "QUIT")) == 1

    async def test_deletions_are_lost_if_the_session_was_aborted(self, sandbox: Sandbox, open_session) -> None:
        fill(sandbox, 10, MAX_DISCARDED + 1_000_000)
        with pytest.raises(NetworkError, match="too long") as caught:  # noqa: PT012 - any of it may be where it fails
            async with open_session() as session:
                first, second = await session.listing()
                await session.delete(first)
                async for _ in session.retrieve(second):
                    break
        assert caught.value.stage == "quit"
        assert len(sandbox.maildrops[USER].messages) == 2

    async def test_a_refused_retrieval_leaves_the_session_usable(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, 100)
        async with open_session() as session:
            gone = session.retrieve(Entry(9, "", 0))
            with pytest.raises(RefusedError, match="does not give message 9") as caught:
                await read(gone)
            assert caught.value.stage == "transaction"
            with pytest.raises(ClosedError):
                await read(gone)
            assert await read(session.retrieve(Entry(1, "", 0))) == messages[0]

    async def test_a_new_retrieval_closes_the_previous_one(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, 200_000, 200_000)
        async with open_session() as session:
            first, second = await session.listing()
            older, younger = session.retrieve(first), session.retrieve(second)
            beginning = await anext(older)
            assert messages[0].startswith(beginning)
            end = await anext(younger)
            with pytest.raises(ClosedError):
                await anext(older)
            assert end + await read(younger) == messages[1]

    async def test_top(self, sandbox: Sandbox, open_session) -> None:
        sandbox.maildrops[USER].add(b"Subject: x\r\n\r\n.one\r\ntwo\r\n")
        async with open_session() as session:
            (entry,) = await session.listing()
            assert await read(session.top(entry)) == b"Subject: x\r\n\r\n"
            top = session.top(entry, 1)
            assert top.entry == entry
            assert await read(top) == b"Subject: x\r\n\r\n.one\r\n"
            with pytest.raises(InputError):
                session.top(entry, -1)

    @pytest.mark.parametrize("size", [0, 1, 10**17])
    async def test_wrong_size_hints(self, sandbox: Sandbox, open_session, size: int) -> None:
        messages = fill(sandbox, *[5_000] * 20)
        async with open_session() as session:
            entries = [Entry(number, "", size) for number in range(1, 21)]
            assert [await read(message) async for message in session.retrieve_many(entries)] == messages
            assert await read(session.retrieve(entries[3])) == messages[3]


@pipelining
class TestMany:
    async def test_messages_arrive_in_order(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, *[random.Random(n).randrange(2, 20_000) for n in range(60)])
        async with open_session() as session:
            entries = await session.listing()
            entries.reverse()
            found = {message.entry.number: await read(message) async for message in session.retrieve_many(entries)}
        assert list(found) == list(range(60, 0, -1))
        assert [found[number + 1] for number in range(60)] == messages
        assert sandbox.violations == []

    async def test_no_messages(self, sandbox: Sandbox, open_session) -> None:
        async with open_session() as session:
            assert [message async for message in session.retrieve_many([])] == []
            await session.noop()

    async def test_entries_of_an_endless_generator(self, sandbox: Sandbox, open_session) -> None:
        # A server allows so many commands for each message that there is.
        messages = fill(sandbox, *[100] * MAX_AHEAD)
        async with open_session() as session:
            fetch = session.retrieve_many(Entry(number, "", 100) for number in chain((1, 2), count(MAX_AHEAD + 1)))
            assert await read(await anext(fetch)) == messages[0]
            assert await read(await anext(fetch)) == messages[1]
            third = await anext(fetch)
            with pytest.raises(RefusedError):
                await read(third)
            await session.noop()
        assert len(asked(sandbox)) <= MAX_AHEAD + 3

    async def test_refusals_in_the_middle(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, 100, 100, 100)
        async with open_session() as session:
            wanted = [Entry(number, "", 100) for number in (7, 1, 8, 9, 2, 3, 7)]
            got, refused = [], []
            async for message in session.retrieve_many(wanted):
                try:
                    got.append(await read(message))
                except RefusedError as error:
                    refused.append(str(error).split(":")[0].split(" ")[-1])
            assert (got, refused) == (messages, ["7", "8", "9", "7"])
            assert await session.stat() == (3, 300)

    async def test_messages_that_are_skipped(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, *[30_000] * 6)
        async with open_session() as session:
            got = []
            entries = [*(await session.listing()), Entry(9, "", 900_000), Entry(6, "", 30_000)]
            async for message in session.retrieve_many(entries):
                if message.entry.number in {2, 6}:
                    got.append(await read(message))
                elif message.entry.number == 4:
                    await anext(message)
            assert got == [messages[1], messages[5], messages[5]]
            await session.noop()

    async def test_a_skipped_message_is_closed(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, 100, 100)
        async with open_session() as session:
            fetch = session.retrieve_many(await session.listing())
            first = await anext(fetch)
            second = await anext(fetch)
            with pytest.raises(ClosedError):
                await read(first)
            assert await read(second) == messages[1]
            assert await read(second) == b""
            with pytest.raises(StopAsyncIteration):
                await anext(fetch)
            with pytest.raises(StopAsyncIteration):
                await anext(fetch)

    async def test_abandoned_in_the_middle(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, *[10_000] * 30)
        async with open_session() as session:
            entries = await session.listing()
            async for message in session.retrieve_many(entries):
                if message.entry.number == 3:
                    await anext(message)
                    break
            assert await session.stat() == (30, 300_000)
            assert await read(session.retrieve(entries[20])) == messages[20]
        assert sandbox.violations == []

    async def test_other_commands_during_a_retrieval_lose_nothing(self, sandbox: Sandbox, open_session) -> None:
        """A message that nobody was given is asked for again, not passed over."""
        messages = fill(sandbox, *[3_000] * 12)
        async with open_session() as session:
            got = {}
            async for message in session.retrieve_many(await session.listing()):
                got[message.entry.number] = await read(message)
                await session.delete(message.entry)
            assert list(got.values()) == messages
            assert await session.stat() == (0, 0)
        assert sandbox.maildrops[USER].messages == []

    async def test_what_has_arrived_is_not_requested_again(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, *[300] * 12)
        async with open_session() as session:
            retrieval = session.retrieve_many(await session.listing())
            got = [await read(await anext(retrieval))]
            await anyio.sleep(1)
            # With PIPELINING, all others arrive with the second one.
            got += [await read(await anext(retrieval)), await read(await anext(retrieval))]
            await session.noop()
            got += [await read(message) async for message in retrieval]
            assert got == messages
        assert asked(sandbox) == [f"RETR {number}" for number in range(1, 13)]

    async def test_two_alternating_retrievals(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, *[3_000] * 6)
        async with open_session() as session:
            entries = await session.listing()
            evens, odds = session.retrieve_many(entries[1::2]), session.retrieve_many(entries[::2])
            got = []
            for _ in range(3):
                got += [await read(await anext(odds)), await read(await anext(evens))]
            assert got == messages

    async def test_replies_stay_matched_after_skipping(self, sandbox: Sandbox, open_session) -> None:
        """What was asked for and refused or left counts no more, so that asking ahead goes on."""
        fill(sandbox, *[50_000] * 8)
        async with open_session() as session:
            entries = [Entry(100 + number, "", WINDOW) for number in range(5)] + await session.listing()
            fetch = session.retrieve_many(entries)
            async for message in fetch:
                if message.entry.number == 2:
                    await session.noop()
                elif message.entry.number in {4, 6}:
                    await anext(message)
            assert fetch._octets_ahead == 0


class TestDelete:
    @pipelining
    async def test_the_first_refusal_is_named_and_the_others_are_marked(self, sandbox: Sandbox, open_session) -> None:
        fill(sandbox, 10, 10, 10)
        async with open_session() as session:
            entries = [Entry(number, "", 0) for number in (7, 1, 8, 3)]
            with pytest.raises(RefusedError, match="does not delete message 7"):
                await session.delete(*entries)
            assert await session.stat() == (1, 10)
        assert len(sandbox.maildrops[USER].messages) == 1

    @pipelining
    async def test_deleting_none_and_very_many(self, sandbox: Sandbox, open_session) -> None:
        fill(sandbox, *[10] * 350)
        async with open_session() as session:
            await session.delete()
            await session.delete(*await session.listing())
        assert sandbox.maildrops[USER].messages == []
        assert sandbox.violations == []

    @pipelining
    async def test_repeated_listings_are_current(self, sandbox: Sandbox, open_session) -> None:
        fill(sandbox, 10, 10)
        async with open_session() as session:
            first, second = await session.listing()
            await session.delete(first)
            assert await session.listing() == [second]
        assert asked(sandbox, "CAPA") == ["CAPA", "CAPA"]


class TestWindow:
    async def test_pipelining_stays_within_the_window(self, sandbox: Sandbox, open_session) -> None:
        fill(sandbox, *[WINDOW * 2 // 7] * 10)
        notes = Transcript()

        def said() -> int:
            return sum(line.startswith("C: RETR") for line in notes.lines)

        async with open_session(transcript=notes) as session:
            fetch = session.retrieve_many(await session.listing())
            first = await anext(fetch)
            await anext(first)
            assert said() == 4
            await read(first)
            assert said() == 4
            await read(await anext(fetch))
            assert said() == 4
            # Half of the window has arrived in the middle of the third.
            await read(await anext(fetch))
            assert said() == 6

    async def test_the_window_limits_the_number_of_messages(self, sandbox: Sandbox, open_session) -> None:
        fill(sandbox, *[10] * (MAX_AHEAD + 20))
        async with open_session() as session:
            fetch = session.retrieve_many(await session.listing())
            await anext(await anext(fetch))
            await session.noop()
            assert len(asked(sandbox)) <= MAX_AHEAD + 1
            assert len([await read(message) async for message in fetch]) == MAX_AHEAD + 19

    async def test_long_messages_pipelined_after_a_small_one_end_the_session(
        self, sandbox: Sandbox, open_session
    ) -> None:
        fill(sandbox, 100, MAX_DISCARDED + 500_000)
        async with open_session() as session:
            async for message in session.retrieve_many(await session.listing()):
                await read(message)
                with pytest.raises(ClosedError, match="too long"):
                    await session.noop()
                break


class TestTasks:
    async def test_tasks_take_turns(self, sandbox: Sandbox, open_session) -> None:
        messages = fill(sandbox, *[50_000] * 4)
        stats, whole, left = [], [], []

        async with open_session() as session:
            entries = await session.listing()

            async def ask() -> None:
                for _ in range(10):
                    stats.append(await session.stat())
                    await anyio.lowlevel.checkpoint()

            async def fetch(entry: Entry) -> None:
                for _ in range(6):
                    try:
                        whole.append(await read(session.retrieve(entry)) == messages[entry.number - 1])
                    except ClosedError:
                        left.append(entry.number)

            with anyio.fail_after(60):
                async with anyio.create_task_group() as group:
                    for _ in range(2):
                        group.start_soon(ask)
                    for entry in entries:
                        group.start_soon(fetch, entry)
            assert session.usable
        assert set(stats) == {(4, 200_000)}
        assert all(whole)
        assert len(whole) + len(left) == 24

    async def test_a_message_abandoned_by_another_task_is_no_timeout(self, sandbox: Sandbox, open_session) -> None:
        """The reader waits for its turn while another task reads its message over."""
        fill(sandbox, 200_000)
        async with open_session() as session:
            (entry,) = await session.listing()
            retrieval = session.retrieve(entry)
            await anext(retrieval)
            outcome: list[BaseException] = []

            async def go_on() -> None:
                try:
                    await read(retrieval)
                except MailError as error:
                    outcome.append(error)

            async with anyio.create_task_group() as group, session._dialogue.exclusive_use("transaction"):
                group.start_soon(go_on)
                await anyio.wait_all_tasks_blocked()
                await session._dialogue.set_reader(None)
            assert [type(error) for error in outcome] == [ClosedError]
            assert session.usable
            await session.noop()

    @pytest.mark.parametrize("at_once", [True, False])
    async def test_one_retrieval_in_two_tasks_is_never_complete(
        self, sandbox: Sandbox, open_session, at_once: bool
    ) -> None:
        messages = fill(sandbox, 300_000)
        got: list[bytes | None] = []
        async with open_session() as session:
            (entry,) = await session.listing()
            retrieval = session.retrieve(entry)

            async def take() -> None:
                try:
                    got.append(await read(retrieval))
                except ClosedError:
                    got.append(None)

            async with anyio.create_task_group() as group:
                if at_once:
                    # Both wait for the same turn.
                    async with session._dialogue.exclusive_use("transaction"):
                        group.start_soon(take)
                        group.start_soon(take)
                        await anyio.wait_all_tasks_blocked()
                else:
                    group.start_soon(take)
                    group.start_soon(take)
        pieces = [piece for piece in got if piece is not None]
        # Either both shared it, or it ended with an error for somebody; nobody got nothing and no error.
        assert None in got or sum(map(len, pieces)) == len(messages[0])


@pipelining
@pytest.mark.parametrize("seed", range(8))
async def test_any_order_of_operations(sandbox: Sandbox, open_session, seed: int) -> None:
    """A random walk: every message that ends normally is whole and the right one, and every answer is true."""
    rng = random.Random(seed)
    messages = fill(sandbox, *[rng.randrange(4, 9_000) for _ in range(12)])
    deleted: set[int] = set()
    open_ones: list[Retrieval] = []

    def content(number: int) -> bytes:
        return messages[number - 1]

    async def some(retrieval: Retrieval) -> None:
        try:
            got = await read(retrieval) if rng.random() < 0.6 else await anext(retrieval, b"")
        except RefusedError:
            assert retrieval.entry.number in deleted
        except ClosedError:
            assert session.usable
        else:
            assert got in content(retrieval.entry.number)

    async with open_session() as session:
        entries = await session.listing()
        for _ in range(60):
            match rng.choice(["stat", "listing", "new", "new", "old", "many", "many", "delete", "noop", "whole"]):
                case "stat":
                    assert (await session.stat())[0] == 12 - len(deleted)
                case "listing":
                    assert {entry.number for entry in await session.listing()} == set(range(1, 13)) - deleted
                case "new":
                    open_ones.append(session.retrieve(rng.choice(entries)))
                    await some(open_ones[-1])
                case "old" if open_ones:
                    await some(rng.choice(open_ones))
                case "many":
                    wanted = rng.sample(entries, rng.randrange(1, 12))
                    given = []
                    async for message in session.retrieve_many(wanted):
                        given.append(message.entry)
                        open_ones.append(message)
                        if rng.random() < 0.7:
                            await some(message)
                        if rng.random() < 0.2:
                            await session.noop()
                        if rng.random() < 0.1:
                            break
                    else:
                        assert given == wanted
                    assert given == wanted[: len(given)]
                case "delete" if len(deleted) < 8:
                    entry = rng.choice(entries)
                    try:
                        await session.delete(entry)
                    except RefusedError:
                        assert entry.number in deleted
                    deleted.add(entry.number)
                case "noop":
                    await session.noop()
                case "whole":
                    entry = rng.choice(entries)
                    if entry.number not in deleted:
                        assert await read(session.retrieve(entry)) == content(entry.number)
    assert len(sandbox.maildrops[USER].messages) == 12 - len(deleted)
    assert sandbox.violations == []


async def test_entries_that_fail_end_the_session(sandbox: Sandbox, open_session) -> None:
    """What the caller's own iterator raises is the caller's, and no command is half asked for."""
    fill(sandbox, 10)

    def entries() -> Iterator[Entry]:
        yield Entry(1, "", 10)
        raise ValueError("mine")

    async with open_session() as session:
        with pytest.raises(ValueError, match="mine"):
            await anext(session.retrieve_many(entries()))
        assert not session.usable
