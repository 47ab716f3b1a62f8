"""A server process on loopback that cannot outlive the tests."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

LOWEST_PORT = 20_000
"""Below, there are ports of well-known services."""

READY_WITHIN = 120.0
"""Seconds; every server of the lab is ready in less than one, on a machine that does nothing else."""

# The kernel closes the pipe when the tests end, however they end, and the keeper then stops the
# server. PR_SET_PDEATHSIG would not do: the kernel forgets it when Postfix changes its user.
KEEPER = """
exec 3<&0
"$@" 3<&- </dev/null & server=$!
{ read -r _ <&3; kill $server; } 2>/dev/null & watch=$!
wait $server; status=$?
kill $watch 2>/dev/null
exit $status
"""


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    ports: Sequence[int],
    log: Path,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Run a server in the foreground, from the moment its ports answer until the end of the block.

    Args:
        command: the server and its arguments; it stops at SIGTERM.
        ports: the ports of 127.0.0.1 that it will listen on.
        log: where its output goes.
        user: who it runs as; None for whoever runs the tests.
        environment: its environment; None for that of the tests.

    Raises:
        RuntimeError: it ended by itself, or did not answer in time; with the log.
    """
    with (
        log.open("ab") as output,
        subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, "sh", *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            start_new_session=True,  # Ctrl-C is for the tests, which stop it in their own order
        ) as keeper,
    ):
        deadline = time.monotonic() + READY_WITHIN
        while not all(map(answers, ports)):
            if keeper.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()}")
            time.sleep(0.01)
        yield


def answers(port: int) -> bool:
    """Whether something listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        refused = probe.connect_ex(("127.0.0.1", port))
        # Where nothing listens, a socket may by chance have reached itself (RFC 9293 section 3.5).
        return not refused and probe.getsockname() != probe.getpeername()


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on, all different.

    They are below those that the system gives to sockets without a port of their own, so that no client or server of
    another test gets one before it is used, or while it is expected to refuse. Each process of one run has its own
    ports, and gives none a second time until it has given all of them.
    """
    with ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("", next(_own_ports())))
                found.append(probe.getsockname()[1])
        return found


@cache
def _own_ports() -> Iterator[int]:
    """Return the ports of this process, in a circle that begins anywhere."""
    highest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert highest > LOWEST_PORT + 1_000, "the system leaves no ports to be chosen"
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = range(LOWEST_PORT + number, highest, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    # Not the numbers of the module, which tests set a seed for.
    start = SystemRandom().randrange(len(own))
    return itertools.cycle([*own[start:], *own[:start]])


def wait_until(done: Callable[[], bool], within: float = 120) -> None:
    """Wait until a condition is true; fail after so many seconds."""
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.01)
