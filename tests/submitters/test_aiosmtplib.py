"""aiosmtplib with hostile servers, readers and callers: our own client's tests, and some more."""

from __future__ import annotations

import logging
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import virtual_time
from mailslot import InputError, MailError, NetworkError, OAuth, Security
from mailslot_plugins.aiosmtplib.submitter import connect
from mailslot_plugins.conformance.doubles import ListedTokenSource
from smtp import test_before_end, test_cancellation, test_upload
from smtp.servers import MESSAGE, SENDER, TO, ServerConnection, Stream, long, serving

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.virtual_time


BORROWED: list[Callable[[], Awaitable[None]]] = [
    partial(test_upload.test_every_octet_arrives, 3_000_000, chunking=False),
    partial(test_upload.test_every_octet_arrives, 65_536, chunking=False),
    partial(test_upload.test_a_refusal_during_the_content_stops_the_stream, "550 5.7.1 no more", reads_on=True),
    partial(test_upload.test_a_refusal_during_the_content_stops_the_stream, "421 4.3.2 bye", reads_on=True),
    test_upload.test_a_refusal_outranks_the_broken_pipe_after_it,
    partial(test_upload.test_a_server_that_stops_reading_times_out, chunking=False),
    partial(test_upload.test_a_slow_but_steady_reader_is_served, chunking=False),
    test_upload.test_the_final_reply_has_a_longer_timeout,
    partial(test_upload.test_a_missing_final_reply_is_in_doubt, "250-2.0.0 Ok\r\n", "reset", 1),
    partial(test_upload.test_a_missing_final_reply_is_in_doubt, "nonsense\r\n", "close", 0.001),
    partial(test_upload.test_a_connection_lost_before_the_end_is_not_in_doubt, "close", chunking=False),
    partial(test_upload.test_a_connection_lost_before_the_end_is_not_in_doubt, "reset", chunking=False),
    partial(test_before_end.test_the_hook_does_not_run_after_a_refused_envelope, "DATA", pipelining=False),
    partial(test_before_end.test_a_slow_hook_is_not_a_server_timeout, 1),
    partial(test_before_end.test_a_cancellation_in_the_hook_sends_nothing, 1),
    partial(test_cancellation.test_a_timeout_of_the_caller_propagates, 5),
    partial(test_cancellation.test_cancelled_during_reading_of_the_message, begun=True),
    test_cancellation.test_cancelled_while_waiting_for_another_task,
    test_cancellation.test_cancelled_during_quit,
]
HANGING = [stage for stage in test_cancellation.STAGES if not stage.offers and stage.name != "noop"]


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual_time.backend("asyncio")


@pytest.fixture(autouse=True)
def through_aiosmtplib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the tests of other modules use this client, and servers take one command at a time."""

    def connected(*args: Any, chunking: bool = False, **arguments: Any) -> Any:
        assert not chunking
        return connect(*args, **arguments)

    async def envelope(wire: ServerConnection, recipients: int = 1) -> None:
        for code in (*[250] * (1 + recipients), 354):
            await wire.line()
            await wire.say(f"{code} ok")

    for module in (test_cancellation, test_before_end, test_upload):
        monkeypatch.setattr(module, "connect_smtp", connected)
    monkeypatch.setattr(ServerConnection, "envelope", envelope)


@pytest.mark.parametrize("test", BORROWED, ids=lambda test: getattr(test, "func", test).__name__[5:])
async def test_the_same_results_as_our_own_client(test: Callable[[], Awaitable[None]]) -> None:
    await test()


@pytest.mark.parametrize("stage", HANGING, ids=lambda stage: f"{stage.name} {stage.security.value}")
async def test_cancelled_while_the_server_is_silent(
    stage: test_cancellation.Stage, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    await test_cancellation.test_cancelled_while_the_server_is_silent(stage, client_context, server_context)


@pytest.mark.parametrize("stage", ["EHLO", "MAIL"])
async def test_cancellation_does_not_close_a_reused_file_descriptor(
    stage: str, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """asyncio keeps a list of its sockets by number; one that was closed behind its back would spoil the next."""

    async def server(wire: ServerConnection) -> None:
        await wire.start_tls(server_context)
        if stage == "MAIL":
            await wire.greet("PIPELINING")
        await wire.gone()

    async with serving(server, Security.TLS) as running:
        for _ in range(5):
            with anyio.move_on_after(0.05):
                async with connect(running.endpoint, ssl_context=client_context) as session:
                    await session.submit(SENDER, TO, MESSAGE)


@pytest.mark.parametrize("when", ["with the greeting", "with an answer", "before the next"])
async def test_an_extra_reply_is_never_matched_to_the_next_command(when: str) -> None:
    """aiosmtplib keeps what comes behind an answer, and takes it for the answer to the next command."""
    heard: list[str] = []

    async def server(wire: ServerConnection) -> None:
        extra = ["250 mail.example.com"] if when == "with the greeting" else []
        await wire.say("220 mail.example.com", *extra)
        for _ in range(4):
            heard.append((await wire.line())[:4])
            answer = "550 no" if heard[-1] == "RCPT" else "250 ok"
            again = ["250 ok"] if when != "with the greeting" and heard[-1] == "MAIL" else []
            if when == "before the next" and again:
                await wire.say(answer)
                await anyio.sleep(0.05)
                await wire.say(*again)
            else:
                await wire.say(answer, *again)

    async with serving(server) as running:
        with pytest.raises(MailError) as caught:
            async with connect(running.endpoint, timeout=5) as session:
                await session.probe(SENDER, TO)
    assert caught.value.cause in {"protocol_error", "recipient_refused"}
    assert "DATA" not in heard


async def test_memory_does_not_grow_with_the_message() -> None:
    """Without our changes, aiosmtplib keeps five copies of a message."""
    content = Stream(*[(b"." + b"x" * 97 + b"\r\n") * 600] * 160)

    async def server(wire: ServerConnection) -> None:
        await wire.greet("SIZE")
        await wire.envelope()
        tail = b""
        while not tail.endswith(b"\r\n.\r\n"):
            tail = (tail + await wire.octets())[-5:]
        await wire.say("250 ok")
        await wire.gone()

    async with serving(server) as running, connect(running.endpoint, timeout=10) as session:
        tracemalloc.start()
        await session.submit(SENDER, TO, content)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2_500_000 < content.size


async def test_a_long_chunk_does_not_block_other_tasks() -> None:
    """Others get their turn while forty megabytes go out at once."""
    turns = 0

    async def server(wire: ServerConnection) -> None:
        await wire.greet("SIZE")
        await wire.envelope()
        await wire.message()
        await wire.say("250 ok")
        await wire.gone()

    async def others() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with (
        serving(server) as running,
        connect(running.endpoint, timeout=10) as session,
        anyio.create_task_group() as group,
    ):
        group.start_soon(others)
        await session.submit(
            SENDER, TO, Stream(b"".join(piece for piece in long(8)._pieces if isinstance(piece, bytes)))
        )
        group.cancel_scope.cancel()
    assert turns > 100


async def test_the_asyncio_log_contains_no_token(
    caplog: pytest.LogCaptureFixture, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.start_tls(server_context)
        await wire.greet("AUTH XOAUTH2")
        await wire.line()
        await wire.say("334 ")
        token = await wire.line()
        await wire.say(f"535 {token}", f"250 {token}")

    with caplog.at_level(logging.DEBUG):
        async with serving(server, Security.TLS) as running:
            auth = OAuth("scanner@example.com", ListedTokenSource("a-token-that-is-long"))
            with pytest.raises(MailError) as caught:
                async with connect(running.endpoint, auth, ssl_context=client_context, timeout=5):
                    pass
    assert "a-token-that-is-long" not in caplog.text + repr(caught.value) + caught.value.detail


async def test_an_invalid_timeout_is_refused_immediately() -> None:
    async with serving(lambda wire: wire.gone()) as running:  # type: ignore[arg-type,return-value]  # it is awaited
        for wrong in ({"timeout": 0}, {"final_timeout": -1}):
            with pytest.raises(InputError):
                async with connect(running.endpoint, **wrong):
                    pass
        assert running.wires == []
    with pytest.raises(NetworkError):
        async with connect(running.endpoint, timeout=1):
            pass
