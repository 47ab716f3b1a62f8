"""Cancelled at every await: the connection is closed, nothing is deleted, nothing is left running."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import AccessToken, ClosedError, Entry, NetworkError, OAuth, RefusedError, connect_pop3
from mailslot.net.channel import Channel
from mailslot_plugins.sandbox import DOVECOT, EXCHANGE
from mailslot_plugins.sandbox.faults import Fault
from pop3.conftest import USER

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot_plugins.sandbox import Sandbox

pytestmark = pytest.mark.virtual_time


class Tokens:
    """The first token is refused."""

    def __init__(self, sandbox: Sandbox, called: Callable[[], None]) -> None:
        self._sandbox = sandbox
        self._called = called

    async def token(self, *, force: bool = False) -> AccessToken:
        self._called()
        await anyio.lowlevel.checkpoint()
        return self._sandbox.provider.issue(USER) if force else AccessToken("refused")

    async def forget(self) -> None:
        raise NotImplementedError


async def poll(sandbox: Sandbox, called: Callable[[], None], *, tls: bool) -> None:
    endpoint = sandbox.pop3s if tls else sandbox.pop3
    auth = OAuth(USER, Tokens(sandbox, called))
    async with connect_pop3(endpoint, auth, ssl_context=sandbox.client_context(), timeout=5) as session:
        entries = await session.listing()
        await session.stat()
        async for _ in session.retrieve(entries[0]):
            pass
        async for message in session.retrieve_many(entries):
            async for _ in message:
                break
        await session.delete(*entries)
        await session.noop()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("personality", [DOVECOT, EXCHANGE], ids=["PIPELINING", "lockstep"])
async def test_cancelled_at_every_await(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, anyio_backend_name: str, after: bool
) -> None:
    """Every use of the channel is one moment; the cancellation comes right before or right after it."""
    moments = 0
    due = 0
    scope = anyio.CancelScope()

    def moment() -> None:
        nonlocal moments
        moments += 1
        if moments == due:
            scope.cancel()

    def tasks() -> int:
        # Trio has none without a nursery around it.
        return len(asyncio.all_tasks()) if anyio_backend_name == "asyncio" else 0

    def watched(name: str) -> None:
        original = getattr(Channel, name)

        async def method(self, *arguments, **named):
            if not after:
                moment()
            try:
                return await original(self, *arguments, **named)
            finally:
                if after:
                    moment()

        monkeypatch.setattr(Channel, name, method)

    for name in ("send", "receive", "start_tls"):
        watched(name)
    mailbox = sandbox.maildrops[USER]
    mailbox.add(b"x" * 200_000)
    mailbox.add(b"second")
    before = tasks()
    while True:
        due, moments, scope = due + 1, 0, anyio.CancelScope()
        sandbox.dialogues.clear()
        with anyio.fail_after(60), scope:
            await poll(sandbox, moment, tls=bool(due % 2))
        if not scope.cancel_called:
            break
        with anyio.fail_after(60):
            # The server sees the end of the connection, and no task of ours is left.
            while mailbox.locked or tasks() > before:  # noqa: ASYNC110 - the server tells nobody
                await anyio.sleep(0.001)
        if any("C: QUIT" in dialogue.transcript.lines for dialogue in sandbox.dialogues):
            # It came so late that QUIT was out.
            mailbox.messages += mailbox.removed
            mailbox.removed.clear()
        assert len(mailbox.messages) == 2
    assert due > 25
    assert mailbox.messages == []
    assert sandbox.violations == []


async def test_a_session_that_was_cancelled_is_closed(sandbox: Sandbox, open_session) -> None:
    """Continuing after a cancelled call raises an error, at the latest at the end: the deletions are lost."""
    sandbox.maildrops[USER].add(b"x")
    sandbox.faults.append(Fault(at="NOOP", delay=60))
    with pytest.raises(NetworkError, match="still there") as caught:  # noqa: PT012 - any of it may be where it fails
        async with open_session() as session:
            (entry,) = await session.listing()
            await session.delete(entry)
            with anyio.move_on_after(0.05):
                await session.noop()
            assert not session.usable
            with pytest.raises(ClosedError):
                await session.stat()
    assert (caught.value.stage, caught.value.retryable) == ("quit", True)
    assert len(sandbox.maildrops[USER].messages) == 1


async def test_waiting_for_a_turn_may_be_cancelled(sandbox: Sandbox, open_session) -> None:
    """Nothing was said yet, so the session goes on."""
    async with open_session() as session:
        async with session._dialogue.exclusive_use("transaction"), anyio.create_task_group() as group:
            group.start_soon(session.stat)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        await session.noop()


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), ExceptionGroup("mine", [ValueError()])])
async def test_leaving_by_an_exception_deletes_nothing(sandbox: Sandbox, open_session, error: BaseException) -> None:
    sandbox.maildrops[USER].add(b"x")
    with pytest.raises(type(error)) as caught:  # noqa: PT012 - any of it may be where it fails
        async with open_session() as session:
            await session.delete(*(await session.listing()))
            raise error
    assert caught.value is error
    assert len(sandbox.maildrops[USER].messages) == 1
    assert "C: QUIT" not in sandbox.transcript


async def test_a_refused_deletion_deletes_nothing(sandbox: Sandbox, open_session) -> None:
    sandbox.maildrops[USER].add(b"x")
    with pytest.raises(RefusedError):  # noqa: PT012 - any of it may be where it fails
        async with open_session() as session:
            await session.delete(*(await session.listing()))
            await session.delete(Entry(7, "", 0))
    assert len(sandbox.maildrops[USER].messages) == 1
