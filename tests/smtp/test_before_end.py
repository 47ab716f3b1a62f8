"""The hook before the end of a message: it runs once, in time, and only if the end is sent."""

from __future__ import annotations

import re

import anyio
import pytest

from mailslot import InputError, MailError, RefusedError, connect_smtp
from mailslot_plugins.conformance.doubles import RecordingHook
from smtp.servers import SENDER, TO, ServerConnection, Stream, long, serving

pytestmark = pytest.mark.virtual_time

SMALL = b"Subject: x\r\n\r\nHello.\r\n"
# The last one ends on a piece's border, the one before has a last chunk of several pieces.
SIZES = [0, 0.02, 0.25, 1]


def message(megabytes: float) -> Stream:
    return long(megabytes) if megabytes >= 0.1 else Stream(SMALL * (1 + int(megabytes * 1_000_000) // len(SMALL)))


async def take(wire: ServerConnection, *, chunking: bool) -> bool:
    """Take a message; tell whether all of it came."""
    if not chunking:
        while not re.search(rb"(?:^|\r\n)\.\r\n$", bytes(wire.received)):
            wire.received += await wire.octets()
        return True
    last = False
    while not last:
        _, size, *end = (await wire.line()).split()
        left, last = int(size), bool(end)
        while left:
            octets = await wire.octets(min(left, 65_536))
            wire.received += octets
            left -= len(octets)
        if not last:
            await wire.say("250 ok")
    return True


@pytest.mark.parametrize("chunking", [False, True])
@pytest.mark.parametrize("megabytes", SIZES)
async def test_the_hook_runs_once_before_the_final_octets(megabytes: float, chunking: bool) -> None:
    whole = False
    seen: list[tuple[bool, int]] = []

    async def server(wire: ServerConnection) -> None:
        nonlocal whole
        await wire.greet("PIPELINING", "CHUNKING")
        await wire.lines(2 if chunking else 3)
        await wire.say("250 ok", "250 ok", *[] if chunking else ["354 go"])
        whole = await take(wire, chunking=chunking)
        await wire.say("250 ok")
        await wire.gone()

    content = message(megabytes)
    async with (
        serving(server) as running,
        connect_smtp(running.endpoint, timeout=5, chunking=chunking) as smtp,
    ):

        async def look() -> None:
            # What has left may still be on its way; all but the last piece has.
            with anyio.move_on_after(10):
                while len(running.wires[0].received) < content.size - 2 * 65_536:  # noqa: ASYNC110 - the server only counts
                    await anyio.sleep(0.01)
            await anyio.sleep(0.05)
            seen.append((whole, len(running.wires[0].received)))

        receipt = await smtp.submit(SENDER, TO, content, before_end=look)
    assert receipt.accepted == tuple(TO)
    assert whole
    [(was_whole, received)] = seen
    assert not was_whole
    assert content.size - received <= 2 * 65_536


@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("pipelining", [False, True])
async def test_the_hook_does_not_run_after_a_refused_envelope(at: str, pipelining: bool) -> None:
    hook = RecordingHook()

    async def server(wire: ServerConnection) -> None:
        await wire.greet(*["PIPELINING"] if pipelining else [])
        refused = False
        while (line := await wire.line()) != "QUIT":
            refused = refused or line.startswith(at)
            await wire.say("451 not now" if refused else "354 go" if line == "DATA" else "250 ok")

    async with serving(server) as running, connect_smtp(running.endpoint, timeout=5) as smtp:
        with pytest.raises(RefusedError):
            await smtp.submit(SENDER, TO, SMALL, before_end=hook)
        assert smtp.usable
    assert hook.calls == 0


@pytest.mark.parametrize("chunking", [False, True])
async def test_the_hook_does_not_run_after_a_refusal_during_the_content(chunking: bool) -> None:
    hook = RecordingHook()

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING", "CHUNKING")
        await wire.lines(2 if chunking else 3)
        await wire.say("250 ok", "250 ok", *[] if chunking else ["354 go"])
        await wire.octets()
        await wire.say("552 5.3.4 too large")
        await wire.gone()

    async with serving(server) as running, connect_smtp(running.endpoint, timeout=5, chunking=chunking) as smtp:
        with pytest.raises(RefusedError):
            await smtp.submit(SENDER, TO, long(20), before_end=hook)
    assert hook.calls == 0


@pytest.mark.parametrize("size", [10, -10])
@pytest.mark.parametrize("megabytes", SIZES)
async def test_the_hook_does_not_run_for_a_message_of_the_wrong_size(megabytes: float, size: int) -> None:
    hook = RecordingHook()
    content = message(megabytes)
    content.size += size

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        await wire.lines(3)
        await wire.say("250 ok", "250 ok", "354 go")
        await wire.gone()

    async with serving(server) as running, connect_smtp(running.endpoint, timeout=5) as smtp:
        with pytest.raises(InputError):
            await smtp.submit(SENDER, TO, content, before_end=hook)
    assert hook.calls == 0


@pytest.mark.parametrize("chunking", [False, True])
@pytest.mark.parametrize("megabytes", SIZES)
@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "no space left on device"),
        EOFError("ours"),
        TimeoutError("ours"),
        ValueError("ours"),
        MailError("The spool cannot be written.", stage="data", cause="unknown"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_of_the_hook_is_raised_and_nothing_was_sent(
    error: Exception, megabytes: float, chunking: bool
) -> None:
    hook = RecordingHook(error)
    content = message(megabytes)

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING", "CHUNKING")
        await wire.lines(2 if chunking else 3)
        await wire.say("250 ok", "250 ok", *[] if chunking else ["354 go"])
        wire.received += await wire.gone()

    async with serving(server) as running, connect_smtp(running.endpoint, timeout=5, chunking=chunking) as smtp:
        with pytest.raises(type(error)) as caught:
            await smtp.submit(SENDER, TO, content, before_end=hook)
        assert caught.value is error
        assert not getattr(error, "in_doubt", False)
        assert not smtp.usable
    assert hook.calls == 1
    received = bytes(running.wires[0].received)
    assert not received.endswith(b"\r\n.\r\n")
    assert len(received) < content.size


@pytest.mark.parametrize("megabytes", [0, 1])
async def test_a_slow_hook_is_not_a_server_timeout(megabytes: float) -> None:
    hook = RecordingHook(pause=0.5)

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        await wire.envelope()
        await wire.message()
        await wire.say("250 ok")
        await wire.gone()

    async with serving(server) as running, connect_smtp(running.endpoint, timeout=0.2, final_timeout=5) as smtp:
        assert (await smtp.submit(SENDER, TO, message(megabytes), before_end=hook)).reply.code == 250
    assert hook.calls == 1


@pytest.mark.parametrize("megabytes", [0, 1])
async def test_a_cancellation_in_the_hook_sends_nothing(megabytes: float) -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        await wire.envelope()
        wire.received += await wire.gone()

    content = message(megabytes)
    async with serving(server) as running, connect_smtp(running.endpoint, timeout=5) as smtp:
        with anyio.CancelScope() as scope:

            async def give_up() -> None:
                scope.cancel()
                await anyio.sleep(5)

            await smtp.submit(SENDER, TO, content, before_end=give_up)
        assert scope.cancelled_caught
        assert not smtp.usable
    assert len(running.wires[0].received) < content.size


@pytest.mark.parametrize("megabytes", [0, 1])
async def test_a_connection_lost_during_the_hook_is_not_in_doubt(megabytes: float) -> None:
    """The system takes nothing for it any more, so the end is not out."""
    broken = anyio.Event()

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        await wire.envelope()
        await ending.wait()
        await wire.reset()
        broken.set()

    async def before_end() -> None:
        ending.set()
        await broken.wait()
        await anyio.sleep(0.05)

    ending = anyio.Event()
    async with serving(server) as running, connect_smtp(running.endpoint, timeout=5) as smtp:
        with pytest.raises(MailError) as caught:
            await smtp.submit(SENDER, TO, message(megabytes), before_end=before_end)
    assert (caught.value.cause, caught.value.in_doubt, caught.value.retryable) == ("connection_lost", False, True)


@pytest.mark.parametrize("chunking", [False, True])
async def test_the_wait_for_the_final_reply_is_bounded(chunking: bool) -> None:
    """While it runs, the ear for the server listens anew: its time is up, or a chunk's answer comes."""
    ending, anew = anyio.Event(), anyio.Event()

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING", "CHUNKING")
        await wire.lines(2 if chunking else 3)
        await wire.say("250 ok", "250 ok", *[] if chunking else ["354 go"])
        if chunking:
            size = int((await wire.line()).split()[1])
            while len(wire.received) < size:
                wire.received += await wire.octets(size - len(wire.received))
            await ending.wait()
            await wire.say("250 ok")
        await wire.gone()

    async with (
        serving(server) as running,
        connect_smtp(running.endpoint, timeout=30 if chunking else 2, final_timeout=1, chunking=chunking) as smtp,
    ):
        channel = smtp._dialogue.channel
        receive = channel.receive

        async def counted(deadline: float) -> bytes:
            if ending.is_set():
                anew.set()
            return await receive(deadline)

        async def before_end() -> None:
            ending.set()
            await anew.wait()

        channel.receive = counted  # type: ignore[method-assign]  # it is only counted
        with anyio.fail_after(30), pytest.raises(MailError) as caught:
            await smtp.submit(SENDER, TO, message(0.3 if chunking else 0.1), before_end=before_end)
        assert (caught.value.cause, caught.value.in_doubt) == ("in_doubt", True)
