"""Cancelled at every place where it can wait: the connection is closed, and nothing is left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import pytest
import sniffio
import trio

from mailslot import AccessToken, InputError, OAuth, Security, Submission, connect_smtp
from mailslot_plugins.conformance.doubles import ListedTokenSource
from smtp.servers import MESSAGE, SENDER, TO, ServerConnection, Stream, long, serving

if TYPE_CHECKING:
    import ssl

    from mailslot import SmtpSession

pytestmark = pytest.mark.virtual_time

USER = "scanner@example.com"


class Hanging(Exception):  # noqa: N818 - it is where the server stops, not what fails
    """The server says nothing more."""


@dataclass
class Stage:
    """How far the server plays along."""

    name: str
    security: Security = Security.NONE
    auth: bool = False
    offers: tuple[str, ...] = ("PIPELINING", "CHUNKING")


STAGES = [
    Stage("greeting"),
    Stage("EHLO"),
    Stage("STARTTLS", Security.STARTTLS),
    Stage("handshake", Security.STARTTLS),
    Stage("handshake", Security.TLS),
    Stage("EHLO again", Security.STARTTLS),
    Stage("AUTH", Security.TLS, auth=True),
    Stage("response", Security.TLS, auth=True),
    Stage("reasons", Security.TLS, auth=True),
    Stage("AUTH again", Security.TLS, auth=True),
    Stage("envelope"),
    Stage("MAIL", offers=()),
    Stage("RCPT", offers=()),
    Stage("DATA", offers=()),
    Stage("content"),
    Stage("content", Security.TLS),
    Stage("answer"),
    Stage("answer", Security.TLS),
    Stage("noop"),
]


async def play(wire: ServerConnection, stage: Stage, context: ssl.SSLContext) -> None:
    """Play along up to `stage`; raises `Hanging` there."""

    async def here(name: str) -> None:
        if stage.name == name:
            raise Hanging

    if stage.security is Security.TLS:
        await here("handshake")
        await wire.start_tls(context)
    await here("greeting")
    await wire.say("220 mail.example.com")
    await wire.line()
    await here("EHLO")
    if stage.security is Security.STARTTLS:
        await wire.say("250-mail.example.com", "250 STARTTLS")
        await wire.line()
        await here("STARTTLS")
        await wire.say("220 go")
        await here("handshake")
        await wire.start_tls(context)
        await wire.line()
        await here("EHLO again")
    await wire.say("250-mail.example.com", *(f"250-{offer}" for offer in stage.offers), "250 AUTH XOAUTH2")
    for attempt in ("", " again") if stage.auth else ():
        await wire.line()
        await here("AUTH" + attempt)
        await wire.say("334 ")
        await wire.line()
        await here("response")
        await wire.say("334 e30=")
        await wire.line()
        await here("reasons")
        await wire.say("535 5.7.8 no")
    if stage.offers:
        await wire.line()
        await here("noop")
        await wire.lines(2)
        await here("envelope")
        await wire.say("250 ok", "250 ok", "354 go")
    else:
        for name, answer in (("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go")):
            await wire.line()
            await here(name)
            await wire.say(answer)
    await here("content")
    await wire.message()
    raise Hanging


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: f"{stage.name} {stage.security.value}")
async def test_cancelled_while_the_server_is_silent(
    stage: Stage, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    hanging, gone = anyio.Event(), anyio.Event()

    async def server(wire: ServerConnection) -> None:
        try:
            await play(wire, stage, server_context)
        except Hanging:
            hanging.set()
            if stage.name == "content":
                await anyio.sleep(0.1)  # while both sides' buffers fill up
            await wire.gone()
            gone.set()

    before = set(anyio.get_running_tasks())  # in no order
    async with serving(server, stage.security) as running:
        sessions: list[SmtpSession] = []
        raised: list[BaseException] = []
        scope = anyio.CancelScope()

        async def client() -> None:
            auth = OAuth(USER, ListedTokenSource("first-token", "second-token")) if stage.auth else None
            with scope:
                try:
                    async with connect_smtp(running.endpoint, auth, ssl_context=client_context) as smtp:
                        sessions.append(smtp)
                        if stage.name == "noop":
                            await smtp.noop()
                        await smtp.submit(SENDER, TO, long(20) if stage.name == "content" else MESSAGE)
                except BaseException as error:
                    raised.append(error)
                    raise

        async with anyio.create_task_group() as group:
            group.start_soon(client)
            with anyio.fail_after(60):
                await hanging.wait()
            await anyio.sleep(0.05 if stage.name == "content" else 0.01)
            scope.cancel()
        with anyio.fail_after(60):
            await gone.wait()
        assert isinstance(raised[0], anyio.get_cancelled_exc_class())
        assert not any(smtp.usable for smtp in sessions)
    assert set(anyio.get_running_tasks()) == before


@pytest.mark.parametrize("size", [0.001, 5])
async def test_a_timeout_of_the_caller_propagates(size: float) -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        await wire.envelope()
        await wire.gone()

    async with serving(server) as running, connect_smtp(running.endpoint) as smtp:
        with pytest.raises(TimeoutError) as caught:
            with anyio.fail_after(0.05):
                await smtp.submit(SENDER, TO, long(size))
        assert type(caught.value) is TimeoutError
        assert not smtp.usable


class Asleep:
    """A token source that never answers."""

    def __init__(self) -> None:
        self.asked = anyio.Event()

    async def token(self, *, force: bool = False) -> AccessToken:
        self.asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def forget(self) -> None:
        pass


async def test_cancelled_during_a_token_request(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    gone = anyio.Event()

    async def server(wire: ServerConnection) -> None:
        await wire.start_tls(server_context)
        await wire.greet("AUTH XOAUTH2")
        await wire.gone()
        gone.set()

    source = Asleep()
    async with serving(server, Security.TLS) as running:
        async with anyio.create_task_group() as group:

            async def client() -> None:
                async with connect_smtp(running.endpoint, OAuth(USER, source), ssl_context=client_context):
                    pass

            group.start_soon(client)
            await source.asked.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(60):
            await gone.wait()


@pytest.mark.parametrize("begun", [False, True])
async def test_cancelled_during_reading_of_the_message(begun: bool) -> None:
    """Before anything was sent, the session is untouched; in the middle of the content it is closed."""
    content = Stream(b"Subject: x\r\n\r\n", b"x" * 99_998 + b"\r\n" if begun else b"", 9.0, b"end\r\n")

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        if begun:
            await wire.envelope()
        elif await wire.line() == "NOOP":
            await wire.say("250 ok")
        await wire.gone()

    async with serving(server) as running, connect_smtp(running.endpoint) as smtp:
        with anyio.move_on_after(0.1) as scope:
            await smtp.submit(SENDER, TO, content)
        assert scope.cancelled_caught
        assert content.opened == content.closed == 1
        assert smtp.usable is not begun
        if not begun:
            await smtp.noop()


async def test_cancelled_while_waiting_for_another_task() -> None:
    """The other's submission is not touched."""
    release = anyio.Event()

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        await wire.envelope()
        await wire.message()
        await release.wait()
        await wire.say("250 ok")
        await wire.gone()

    async with serving(server) as running, connect_smtp(running.endpoint) as smtp:
        async with anyio.create_task_group() as group:
            group.start_soon(smtp.submit, SENDER, TO, MESSAGE)
            await anyio.sleep(0.05)
            with anyio.move_on_after(0.05) as scope:
                await smtp.submit(SENDER, TO, MESSAGE)
            assert scope.cancelled_caught
            assert smtp.usable
            release.set()
        assert smtp.usable


@pytest.mark.parametrize("chunking", [False, True])
@pytest.mark.parametrize("hang", ["envelope", "answer"])
async def test_cancelled_in_a_batch(chunking: bool, hang: str) -> None:
    contents = [Stream(b"Subject: x\r\n\r\n", b"y" * (30_000 if number == 2 else 10)) for number in range(100)]
    for content in contents:
        content.size += 2
    gone = anyio.Event()

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING", "CHUNKING")
        if hang == "answer":
            if chunking:
                await wire.lines(3)
                await wire.say("250 ok", "250 ok", "250 ok")
            else:
                await wire.envelope()
        await wire.gone()
        gone.set()

    async with serving(server) as running, connect_smtp(running.endpoint, chunking=chunking) as smtp:
        with anyio.move_on_after(0.1) as scope:
            await smtp.submit_many([Submission(SENDER, TO, content) for content in contents])
        assert scope.cancelled_caught
        assert not smtp.usable
        assert [content.opened for content in contents] == [content.closed for content in contents]
        with anyio.fail_after(20):
            await gone.wait()


async def test_cancelled_during_quit() -> None:
    """QUIT is said to a server that has stopped reading; leaving gives up at once."""

    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        await wire.gone()

    async with serving(server) as running:
        with anyio.CancelScope() as scope:
            async with connect_smtp(running.endpoint) as smtp:
                scope.cancel()
        assert not smtp.usable


@pytest.mark.parametrize("to_do", ["submit", "submit_many"])
async def test_no_exception_group_is_raised(to_do: str) -> None:
    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING", "CHUNKING")
        await wire.gone()

    class Odd(Exception):  # noqa: N818 - a test's own
        pass

    def submissions() -> list[Submission]:
        raise Odd

    async with serving(server) as running, connect_smtp(running.endpoint, chunking=True, timeout=0.2) as smtp:
        if to_do == "submit":
            with pytest.raises(InputError):
                await smtp.submit(SENDER, TO, Stream(Odd()))
        else:
            generator = (
                submission
                for group in (lambda: [Submission(SENDER, TO, MESSAGE)], submissions)
                for submission in group()
            )
            results = await smtp.submit_many(generator)
            assert [type(result).__name__ for result in results] == ["NetworkError", "InputError"]


async def test_cancelled_at_every_step(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    """From the name to QUIT, at each point where the scheduler could cancel; trio tells of each step."""
    if sniffio.current_async_library() != "trio":
        pytest.skip("asyncio does not tell of its steps")
    stored = 0

    async def server(wire: ServerConnection) -> None:
        nonlocal stored
        await wire.say("220 mail.example.com")
        await wire.line()
        await wire.say("250-mail.example.com", "250 STARTTLS")
        await wire.line()
        await wire.say("220 go")
        await wire.start_tls(server_context)
        await wire.line()
        await wire.say("250-mail.example.com", "250-AUTH XOAUTH2", "250 PIPELINING")
        for answer in ("334 ", "235 2.7.0 ok"):
            await wire.line()
            await wire.say(answer)
        for _ in range(2):
            await wire.envelope()
            await wire.message()
            stored += 1
            await wire.say("250 ok")
        await wire.gone()

    class Countdown(trio.abc.Instrument):
        def __init__(self, task: object, scope: anyio.CancelScope, steps: int) -> None:
            self.task, self.scope, self.left = task, scope, steps

        def before_task_step(self, task: object) -> None:
            if task is self.task:
                self.left -= 1
                if self.left == 0:
                    self.scope.cancel()

    before = set(anyio.get_running_tasks())  # in no order
    for steps in range(1, 400):
        stored = 0
        receipts = []
        session: SmtpSession | None = None
        async with serving(server, Security.STARTTLS) as running:
            with anyio.CancelScope() as scope:
                countdown = Countdown(trio.lowlevel.current_task(), scope, steps)
                trio.lowlevel.add_instrument(countdown)
                try:
                    auth = OAuth(USER, ListedTokenSource("a-token"))
                    async with connect_smtp(running.endpoint, auth, ssl_context=client_context, timeout=5) as session:
                        receipts.append(await session.submit(SENDER, TO, MESSAGE))
                        receipts.append(await session.submit(SENDER, TO, long(0.1)))
                finally:
                    trio.lowlevel.remove_instrument(countdown)
            assert session is None or not session.usable
            assert len(receipts) <= stored
        assert set(anyio.get_running_tasks()) == before
        if countdown.left > 0:
            break
    assert len(receipts) == stored == 2
    assert 10 < steps < 399
