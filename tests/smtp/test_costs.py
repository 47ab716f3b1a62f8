"""What a message costs, in calls, waits and system calls, so that no change makes it slow unnoticed."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import pytest

from costs import Costs
from mailslot import Endpoint, Receipt, Security, Submission, connect_smtp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from mailslot import SmtpSession

pytestmark = pytest.mark.skipif(sys.implementation.name != "cpython", reason="other interpreters have other calls")

MESSAGES = 50
MESSAGE = b"From: scanner@example.com\r\nSubject: a scan\r\n\r\n" + b"A line as long as any.\r\n" * 80
SENDER, TO = "scanner@example.com", ["office@example.com"]


def serve(server: socket.socket, costs: Costs) -> None:
    """Accept everything; reply to all commands of a group in one segment, once the client waits for it."""
    connection, _ = server.accept()
    with connection, suppress(ConnectionError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        out, buffer, in_message, count = b"220 sink\r\n", b"", False, 0
        while True:
            if out:
                if costs.counting:
                    costs.waits_begun.acquire(timeout=60)
                connection.sendall(out)
            data, out = connection.recv(262_144), b""
            if not data:
                return
            buffer += data
            while True:
                if in_message:
                    _, end, rest = buffer.partition(b"\r\n.\r\n")
                    if not end:
                        break
                    # As with any real server, the reply to each message is another one.
                    count += 1
                    buffer, in_message, out = rest, False, out + b"250 2.0.0 queued as %d\r\n" % count
                    continue
                line, end, rest = buffer.partition(b"\r\n")
                if not end:
                    break
                buffer = rest
                if line == b"DATA":
                    in_message, out = True, out + b"354 go on\r\n"
                elif line.startswith(b"EHLO"):
                    out += b"250-sink\r\n250-PIPELINING\r\n250-SIZE 10000000\r\n250 8BITMIME\r\n"
                else:
                    out += b"221 bye\r\n" if line == b"QUIT" else b"250 2.1.0 ok\r\n"


@contextmanager
def sink(costs: Costs) -> Iterator[Endpoint]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server, costs))
        thread.start()
        yield Endpoint("127.0.0.1", server.getsockname()[1], Security.NONE)
        thread.join()


async def submit(session: SmtpSession, count: int) -> None:
    for _ in range(count):
        await session.submit(SENDER, TO, MESSAGE)


async def submit_many(session: SmtpSession, count: int) -> None:
    results = await session.submit_many([Submission(SENDER, TO, MESSAGE) for _ in range(count)])
    assert all(isinstance(result, Receipt) for result in results)


MAX_CALLS = {
    ("submit", "asyncio"): 165,
    ("submit", "trio"): 205,
    ("submit_many", "asyncio"): 128,
    ("submit_many", "trio"): 150,
}
"""Calls a message; a few are to spare. The client waits for every reply, and the event loop's calls for that are some
30 on asyncio and 50 on Trio for each."""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("work", [submit, submit_many], ids=["submit", "submit_many"])
def test_the_costs_of_a_message(
    work: Callable[[SmtpSession, int], Awaitable[None]], backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Hypothesis lets Trio sort its tasks in each turn.
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", False)
    round_trips = 2 if work is submit else 1
    costs = Costs()

    async def measure() -> None:
        with sink(costs) as endpoint:
            async with connect_smtp(endpoint) as session:
                with costs:
                    # The first messages fill what is remembered.
                    await work(session, 3)
                    costs.clear()
                    await work(session, MESSAGES)

    # Not by the tests' own loop: it runs Trio as a guest, which hands each wait to a thread.
    anyio.run(measure, backend=backend)
    per_message = {name: count / MESSAGES for name, count in costs.system_calls.items()}
    assert per_message["send"] <= round_trips + 2 / MESSAGES, per_message
    # Tried before each wait, and once more when the octets have come.
    assert per_message["recv_into"] <= 2 * round_trips + 0.2, per_message
    assert costs.waits / MESSAGES <= round_trips + 0.2, per_message
    assert costs.calls / MESSAGES <= MAX_CALLS["submit" if work is submit else "submit_many", backend], (
        costs.calls / MESSAGES
    )
