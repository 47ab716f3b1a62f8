"""The documented differences: each is measured, so that a change is noticed."""

from __future__ import annotations

import tomllib
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

import virtual_time
from mailslot import MailError, OAuth, Security, StaticToken, connect_smtp
from mailslot_plugins.aiosmtplib.submitter import connect
from mailslot_plugins.sandbox import Fault, run_sandbox
from smtp.servers import MESSAGE, SENDER, ServerConnection, serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.slots.submitter import Submitter

pytestmark = pytest.mark.virtual_time

LISTED = tomllib.loads(files("mailslot_plugins.aiosmtplib").joinpath("differences.toml").read_text())
LOOPS = ("asyncio", "trio")
RECIPIENTS = [f"r{number}@example.com" for number in range(3)]


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return virtual_time.backend("asyncio")


async def event_loops(submitter: Submitter) -> str:
    async def attempt() -> str:
        async with run_sandbox() as sandbox:
            token = StaticToken(sandbox.provider.issue(SENDER).value)
            try:
                async with submitter(sandbox.smtps, OAuth(SENDER, token), ssl_context=sandbox.client_context()):
                    return "works"
            except MailError as error:
                return str(error)

    found = {loop: await anyio.to_thread.run_sync(partial(anyio.run, attempt, backend=loop)) for loop in LOOPS}
    assert found["trio"] == "works" or ("trio" in found["trio"] and "set submitter to mailslot" in found["trio"])
    return ", ".join(loop for loop, said in found.items() if said == "works")


async def round_trips(submitter: Submitter) -> str:
    """Count how often the server gets nothing more before it has answered."""
    waits = 0

    async def server(wire: ServerConnection) -> None:
        nonlocal waits
        await wire.greet("PIPELINING")
        answers: list[str] = []
        for code in (250, 250, 250, 250, 354):
            if not wire._heard:
                waits += bool(answers)
                await wire.say(*answers)
                answers.clear()
            await wire.line()
            answers.append(f"{code} ok")
        await wire.say(*answers)
        await wire.message()
        waits += 2
        await wire.say("250 ok")
        await wire.line()
        await wire.say("221 bye")

    async with serving(server) as running, submitter(running.endpoint, timeout=5) as session:
        assert len((await session.submit(SENDER, RECIPIENTS, MESSAGE)).accepted) == 3
    return str(waits)


async def takes(submitter: Submitter, *answer: str) -> bool:
    async def server(wire: ServerConnection) -> None:
        await wire.greet("PIPELINING")
        await wire.line()
        await wire.say(*answer)
        await wire.gone()

    async with serving(server) as running, submitter(running.endpoint, timeout=5) as session:
        with pytest.raises(MailError) as caught:
            await session.probe(SENDER, RECIPIENTS)
    assert caught.value.cause in {"unknown", "protocol_error"}  # the reply says nothing of why
    return caught.value.cause == "unknown"


async def longest_line(submitter: Submitter) -> str:
    limit = int(LISTED["longest_line"]["aiosmtplib" if submitter is connect else "mailslot"])
    assert await takes(submitter, "550 " + "x" * (limit - 6))
    assert not await takes(submitter, "550 " + "x" * (limit + 2))
    return str(limit)


async def longest_reply(submitter: Submitter) -> str:
    limit = int(LISTED["longest_reply"]["aiosmtplib" if submitter is connect else "mailslot"])
    lines = ["550-" + "x" * 1_018] * (limit // 1_024 - 1)
    assert await takes(submitter, *lines, "550 no")
    assert not await takes(submitter, *lines, *lines[:2], "550 no")
    return str(limit)


async def tls_and_greeting(submitter: Submitter) -> str:
    stages: list[str] = []
    async with run_sandbox() as sandbox:
        sandbox.faults.append(Fault("greeting", delay=60))
        with anyio.move_on_after(0.5):
            async with submitter(sandbox.smtps, ssl_context=sandbox.client_context(), on_stage=stages.append):
                pass
    return stages[-1]


async def words_instead_of_tls(submitter: Submitter) -> str:
    async def server(wire: ServerConnection) -> None:
        await wire.greet("STARTTLS")
        await wire.line()
        await wire.say("220 go")
        await wire.octets()
        await wire.say("454 4.3.0 no certificate here")

    async with serving(server, Security.STARTTLS) as running:
        with pytest.raises(MailError) as caught:
            async with submitter(running.endpoint, timeout=5):
                pass
    return caught.value.cause + (", with its words" if "no certificate here" in str(caught.value) else "")


MEASURES: dict[str, Callable[[Submitter], Awaitable[str]]] = {
    measure.__name__: measure
    for measure in (event_loops, round_trips, longest_line, longest_reply, tls_and_greeting, words_instead_of_tls)
}


def test_every_difference_is_measured() -> None:
    assert set(MEASURES) == set(LISTED)


@pytest.mark.parametrize("name", LISTED)
async def test_the_difference_still_exists(name: str) -> None:
    row = LISTED[name]
    assert row["mailslot"] != row["aiosmtplib"]
    assert row["reason"]
    assert await MEASURES[name](connect_smtp) == row["mailslot"]
    assert await MEASURES[name](connect) == row["aiosmtplib"]
