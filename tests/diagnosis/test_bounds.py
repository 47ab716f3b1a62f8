"""A connection test ends in time, with a cause and without open connections, whatever the server does."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from diagnosis.device import SCANNER
from diagnosis.scenarios import POP, SMTP
from mailslot.diagnosis import connection_test
from mailslot_plugins.sandbox import Fault, WebFault
from smtp.servers import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from diagnosis.device import Device
    from mailslot.diagnosis.result import TestResult
    from mailslot_plugins.sandbox import Sandbox
    from smtp.servers import ServerConnection

pytestmark = pytest.mark.virtual_time

HELLO = ("220 mail.example.com ready",)


async def trickle(wire: ServerConnection, octets: bytes) -> None:
    """Say octets one by one, slowly, and the last of them again and again."""
    for octet in octets:
        await wire.stream.send(bytes([octet]))
        await anyio.sleep(0.1)
    while True:
        await wire.stream.send(octets[-1:])
        await anyio.sleep(0.1)


async def trickled_greeting(wire: ServerConnection) -> None:
    await trickle(wire, b"220 mail.example.com is glad to see you, ")


async def greeting_of_many_lines(wire: ServerConnection) -> None:
    while True:
        await wire.stream.send(b"220-mail.example.com\r\n" * 1000)


async def greeting_of_one_long_line(wire: ServerConnection) -> None:
    await wire.stream.send(b"220 ")
    while True:
        await wire.stream.send(b"x" * 10_000)


async def trickled_capabilities(wire: ServerConnection) -> None:
    await wire.say(*HELLO)
    await wire.line()
    await trickle(wire, b"250-mail.example.com\r\n250-")


async def endless_capabilities(wire: ServerConnection) -> None:
    await wire.say(*HELLO)
    await wire.line()
    while True:
        await wire.stream.send(b"250-X\r\n" * 1000)


async def silent_probe(wire: ServerConnection) -> None:
    await wire.greet()
    await wire.line()
    await anyio.sleep_forever()


async def trickled_probe(wire: ServerConnection) -> None:
    await wire.greet()
    await wire.line()
    await trickle(wire, b"250-ok\r\n250-")


TIMEOUT = 0.4


async def measured(device: Device, slot: str, most: float = 4 * TIMEOUT) -> TestResult:
    """Test a slot; it must not take longer than so many seconds."""
    begun = anyio.current_time()
    result = await device.test(slot, timeout=TIMEOUT)
    assert anyio.current_time() - begun < most, result
    assert not result.ok
    return result


@pytest.fixture(autouse=True)
async def nothing_stays_open() -> AsyncIterator[None]:
    """See to it that no connection is open once a test has ended."""
    before = descriptors()
    yield
    with anyio.fail_after(60):
        while descriptors() > before:  # noqa: ASYNC110 - no event tells of it
            await anyio.sleep(0.01)


def descriptors() -> int:
    """Return how many connections are open."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        # Some are closed meanwhile, that of the folder among them.
        with suppress(FileNotFoundError):
            found += "socket:" in str(link.readlink())
    return found


def unsigned(device: Device, slot: str, port: int, **values: Any) -> None:
    sender = {"sender_address": SCANNER} if slot == SMTP else {}
    device.set(slot, server="127.0.0.1", port=port, security="none", timeout=1, **sender, **values)


@pytest.mark.parametrize(
    ("handler", "stage", "cause"),
    [
        (trickled_greeting, "greeting", "connection_timeout"),
        (greeting_of_many_lines, "greeting", "not_a_mail_server"),
        (greeting_of_one_long_line, "greeting", "not_a_mail_server"),
        (trickled_capabilities, "capabilities", "connection_lost"),
        (endless_capabilities, "capabilities", "protocol_error"),
        (silent_probe, "probe", "connection_lost"),
        (trickled_probe, "probe", "connection_lost"),
    ],
)
async def test_smtp(
    device: Device, handler: Callable[[ServerConnection], Awaitable[None]], stage: str, cause: str
) -> None:
    async with serving(handler) as server:
        unsigned(device, SMTP, server.endpoint.port)
        result = await measured(device, SMTP)
    assert (result.stage, result.diagnosis.cause) == (stage, cause)


async def pop_greeting(wire: ServerConnection) -> None:
    await trickle(wire, b"+OK wait for it ")


async def pop_capabilities(wire: ServerConnection) -> None:
    await wire.say("+OK ready")
    await wire.line()
    await trickle(wire, b"+OK\r\nX\r\nX")


async def pop_endless_capabilities(wire: ServerConnection) -> None:
    await wire.say("+OK ready")
    await wire.line()
    await wire.say("+OK")
    while True:
        await wire.stream.send(b"X\r\n" * 1000)


@pytest.mark.parametrize(
    ("handler", "stage", "cause"),
    [
        (pop_greeting, "greeting", "connection_timeout"),
        (pop_capabilities, "capabilities", "connection_lost"),
        (pop_endless_capabilities, "capabilities", "protocol_error"),
    ],
)
async def test_pop(
    device: Device, handler: Callable[[ServerConnection], Awaitable[None]], stage: str, cause: str
) -> None:
    async with serving(handler) as server:
        unsigned(device, POP, server.endpoint.port)
        result = await measured(device, POP)
    assert (result.stage, result.diagnosis.cause) == (stage, cause)


async def silent(wire: ServerConnection) -> None:
    await wire.gone()


async def test_a_tls_handshake_that_never_begins_times_out(device: Device) -> None:
    async with serving(silent) as server:
        unsigned(device, SMTP, server.endpoint.port)
        device.set(SMTP, security="tls")
        result = await measured(device, SMTP)
    assert (result.stage, result.diagnosis.cause) == ("tls", "connection_timeout")


async def test_slow_steps_within_the_timeout_pass(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox)
    sandbox.faults += [Fault("challenge", delay=0.3), Fault("sign_in", delay=0.3)]
    result = await device.test(SMTP, timeout=TIMEOUT)
    assert result.ok, result


async def test_a_stage_has_one_timeout_for_all_its_steps(
    device: Device, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await device.set_up_slot(SMTP, sandbox)
    sandbox.faults += [Fault(moment, delay=0.3) for moment in ("MAIL", "RCPT", "RSET")]
    monkeypatch.setattr(connection_test, "GRACE", -0.1)
    result = await device.test(SMTP, timeout=TIMEOUT)
    assert (result.stage, result.diagnosis.cause) == ("probe", "connection_lost")


async def test_a_silent_token_service(device: Device, sandbox: Sandbox) -> None:
    """It is asked three times, each for the ten seconds that are set, with pauses."""
    await device.set_up_slot(SMTP, sandbox, left=-10)
    sandbox.token_service.faults.append(WebFault("token", delay=math.inf))
    begun = anyio.current_time()
    result = await device.test(SMTP)
    assert anyio.current_time() - begun < 40
    assert (result.stage, result.diagnosis.cause) == ("token", "token_service_unreachable")


async def test_a_host_with_only_an_ipv6_address(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    async def only(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int, int, int]]]:
        return [(10, 1, 6, "", ("2001:db8::1", 25, 0, 0))]

    monkeypatch.setattr(anyio, "getaddrinfo", only)
    device.set(SMTP, server="six.example", security="none", sender_address=SCANNER, timeout=1)
    result = await measured(device, SMTP)
    assert result.stage == "connect"
    assert result.diagnosis.cause in {"network_unreachable", "connection_timeout"}


async def test_an_internal_error_is_a_result_and_no_traceback(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("words that may quote a secret")

    monkeypatch.setattr(anyio, "getaddrinfo", broken)
    device.set(SMTP, server="any.example", security="none", sender_address=SCANNER)
    result = await device.test(SMTP)
    assert (result.ok, result.stage, result.diagnosis.cause) == (False, "resolve", "unknown")
    assert "ZeroDivisionError" in result.diagnosis.detail
    assert "quote" not in str(result.as_json())
