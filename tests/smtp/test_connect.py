"""How a session begins and how it is left."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from mailslot import ClosedError, Endpoint, InputError, Password, Security, connect_smtp
from smtp.servers import HELLO, MESSAGE, SENDER, TAKEN, TO, ServerConnection, serving, session

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.virtual_time

CONTEXTLESS: list[tuple[Callable[[Endpoint], Any], str]] = [
    (lambda endpoint: connect_smtp(endpoint, Password("u", "p")), "without encryption"),
    (lambda endpoint: connect_smtp(endpoint, local_name="a\r\nMAIL FROM:<>"), "local name"),
    (lambda endpoint: connect_smtp(endpoint, local_name="ü.example"), "local name"),
    (lambda endpoint: connect_smtp(endpoint, local_name="a b"), "local name"),
    (lambda endpoint: connect_smtp(endpoint, local_name=""), "local name"),
    (lambda endpoint: connect_smtp(endpoint, local_name="x" * 600), "local name"),
    (lambda endpoint: connect_smtp(endpoint, local_name=cast("Any", b"host")), "local name"),
    (lambda endpoint: connect_smtp(endpoint, timeout=0), "timeout"),
    (lambda endpoint: connect_smtp(endpoint, timeout=-1), "timeout"),
    (lambda endpoint: connect_smtp(endpoint, timeout=math.nan), "timeout"),
    (lambda endpoint: connect_smtp(endpoint, timeout=cast("Any", None)), "timeout"),
    (lambda endpoint: connect_smtp(endpoint, timeout=cast("Any", "30")), "timeout"),
    (lambda endpoint: connect_smtp(endpoint, final_timeout=0), "timeout"),
    (lambda endpoint: connect_smtp(endpoint, ssl_context=cast("Any", "none")), "ssl_context"),
    (lambda endpoint: connect_smtp(endpoint, cast("Any", "a password")), "OAuth|Password"),
]


@pytest.mark.parametrize(("connect", "why"), CONTEXTLESS)
async def test_invalid_arguments_open_no_connection(connect: Callable[[Endpoint], Any], why: str) -> None:
    async def server(_: ServerConnection) -> None:
        raise AssertionError("a connection was made")

    async with serving(server) as running:
        with pytest.raises(InputError, match=why):
            async with connect(Endpoint("localhost", running.endpoint.port, Security.NONE)):
                pass
        await anyio.sleep(0.01)


@pytest.mark.parametrize("name", ["scanner.example.com", "[192.0.2.7]"])
async def test_the_local_name_is_sent(name: str) -> None:
    async with session(HELLO.replace("{any}", name) + "C: QUIT", local_name=name):
        pass


async def test_the_local_name_is_our_address_where_none_is_given() -> None:
    async with session(HELLO.replace("{any}", "[127.0.0.1]") + "C: QUIT"):
        pass


@pytest.mark.parametrize(
    "answered", ["S: 221 bye", "S: 421 bye", "S: 500 what", "S: nonsense", "!reset", "!silence", "!close"]
)
async def test_the_reply_to_quit_is_ignored(answered: str) -> None:
    with anyio.fail_after(20):
        async with session(HELLO + TAKEN + "C: QUIT\n" + answered) as (smtp, _):
            receipt = await smtp.submit(SENDER, TO, MESSAGE)
    assert receipt.accepted


@pytest.mark.parametrize("ending", ["!close", "!reset"])
async def test_a_disconnect_before_quit_is_ignored(ending: str) -> None:
    async with session(HELLO + TAKEN + ending) as (smtp, _):
        receipt = await smtp.submit(SENDER, TO, MESSAGE)
        await anyio.sleep(0.02)
    assert receipt.accepted


async def test_leaving_by_an_exception_sends_no_quit() -> None:
    with pytest.raises(KeyError):
        async with session(HELLO) as (smtp, _):
            raise KeyError(smtp)


async def test_a_session_is_closed_after_its_context() -> None:
    async with session(HELLO + "C: QUIT") as (smtp, _):
        pass
    assert not smtp.usable
    with pytest.raises(ClosedError):
        await smtp.noop()
