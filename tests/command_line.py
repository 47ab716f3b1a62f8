"""``mailslot`` as it is typed: each command is a process of its own, forked from one that has loaded all it needs.

A program that is started anew spends more time on its imports than on most commands. Whether it starts at all, and
what it makes of a terminal, are the matter of `test_cli` and `test_hostile_terminal`, which start it anew.

What forks takes its orders from a socket, and answers how each command ended.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, suppress
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

SECONDS = 300
CODE = "import sys, command_line; command_line.fork_commands(int(sys.argv[1])); command_line.run_command()"
LOADED_LATE = (
    "anyio._backends._asyncio",
    "rich.console",
    "rich.markdown",
    "rich.table",
    "tomlkit",
    "typer._adapters",
    "typer.rich_utils",
)


def no_service(home: Path) -> str:
    """What commands say on standard error where no service runs."""
    return f"No service is running, so nothing is sent or fetched. Start it with: mailslot --home {home} serve\n"


class Forks:
    """The process that forks, while it is there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, order: object, streams: list[int]) -> int:
        """Run a command on streams that are open files; return its exit code."""
        with self._lock, tempfile.TemporaryFile() as file:
            file.write(json.dumps(order).encode())
            file.flush()
            if self._process is None:
                self._start()
            socket.send_fds(self._channel, [b"\0"], [file.fileno(), *streams])
            try:
                answer = self._channel.recv(16)
            except TimeoutError:
                self.end()
                raise
            assert answer, "what forks has ended"
            return int(answer)

    def _start(self) -> None:
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(SECONDS)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", CODE, str(theirs.fileno())],
                cwd=Path(__file__).parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def end(self) -> None:
        """End it, and the command that it runs."""
        if self._process is not None:
            self._channel.close()
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


forks = Forks()
atexit.register(forks.end)


def mailslot(*arguments: object, typed: str | bytes = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without a terminal.

    Args:
        arguments: what follows ``mailslot``.
        typed: its standard input.
        environment: variables besides those of the tests.

    Raises:
        TimeoutError: it did not end within `SECONDS`.
    """
    with ExitStack() as stack:
        streams = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        streams[0].write(typed.encode() if isinstance(typed, str) else typed)
        streams[0].seek(0)
        order = {
            "arguments": [str(argument) for argument in arguments],
            "environment": {**os.environ, **environment},
            "folder": str(Path.cwd()),
        }
        code = forks.run(order, [stream.fileno() for stream in streams])
        for stream in streams[1:]:
            stream.seek(0)
        out, said = (stream.read().decode() for stream in streams[1:])
        return subprocess.CompletedProcess(["mailslot", *order["arguments"]], code, out, said)


def fork_commands(descriptor: int) -> None:
    """Fork for each order that comes; this returns in each child, which is the command then."""
    load()
    channel = socket.socket(fileno=descriptor)
    while True:
        asked, descriptors, _, _ = socket.recv_fds(channel, 1, 4)
        if not asked:
            os._exit(0)
        if not (child := os.fork()):
            break
        for number in descriptors:
            os.close(number)
        channel.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    channel.close()
    with os.fdopen(descriptors[0], "rb") as file:
        file.seek(0)
        order = json.load(file)
    for number, stream in enumerate(descriptors[1:]):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(order["folder"])
    tempfile.tempdir = None
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv[:] = ["mailslot", *order["arguments"]]


def run_command() -> None:
    """Run the command that the arguments name, and end this process.

    What an interpreter does last is left out: it would take all apart that was loaded, of which this process then
    needs copies, and so longer than most commands.
    """
    from mailslot.cli import main  # noqa: PLC0415 - what forks has loaded it

    try:
        main()
        code = 0
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise
        code = end.code or 0
    threading._shutdown()  # type: ignore[attr-defined] # as an interpreter calls it
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def load() -> None:
    """Load what commands need, sooner or later."""
    packages = ["mailslot", *(entry.module.rpartition(".")[0] for entry in entry_points(group="mailslot.commands"))]
    for package in packages:
        with suppress(ImportError):  # where an extra is not installed
            import_module(package)
            for module in pkgutil.walk_packages(sys.modules[package].__path__, f"{package}."):
                _load(module.name)
    for name in LOADED_LATE:
        _load(name)
    # The collector would touch, and so copy, what the children share.
    gc.collect()
    gc.freeze()


def _load(name: str) -> None:
    with suppress(ImportError):
        import_module(name)
