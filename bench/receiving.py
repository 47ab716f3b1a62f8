"""Measure our SMTP server against aiosmtpd and Postfix's smtp-sink: ``python -m bench.receiving [--quick]``.

None of them stores anything. The sender is Postfix's smtp-source, which waits for each reply; it uses the same
processors, so the server's own processor time says more than the time that has passed. Peers that are not installed are
left out: ``pip install aiosmtpd``, ``apt-get install postfix``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent

# Name, messages, octets of each, and smtp-source's options.
LOADS = (
    ("2 kB, 10 connections", 6_000, 2_000, ("-d", "-s", "10")),
    ("2 kB, a connection each", 2_000, 2_000, ("-s", "10")),
    ("20 kB, 10 connections", 3_000, 20_000, ("-d", "-s", "10")),
    ("50 MB, 1 connection", 10, 50_000_000, ("-d", "-s", "1")),
)
CONNECTIONS = 200
"""Connections in the middle of a message at once, for the memory of each."""


@dataclass
class Server:
    """A server process.

    Attributes:
        process: the process.
        port: its port.
    """

    process: subprocess.Popen[str]
    port: int

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_kib(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/status").read_text().split("VmRSS:")[1].split()[0])


@contextmanager
def running(name: str) -> Iterator[Server]:
    """Run a server."""
    if name == "smtp-sink":
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            port = reserved.getsockname()[1]
        command = ["smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "100"]
    else:
        port, command = 0, [sys.executable, "-m", "bench.receivers", name]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "transport"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        try:
            assert process.stdout is not None
            server = Server(process, port or int(process.stdout.readline()))
            wait_for(server.port)
            yield server
        finally:
            process.kill()


def wait_for(port: int) -> None:
    """Wait until a server accepts connections."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return


def measure(server: Server, messages: int, size: int, options: tuple[str, ...]) -> tuple[float, float]:
    """Send messages; return the seconds that passed, and the server's processor time."""
    envelope = ("-f", "a@example.com", "-t", "b@example.com")
    command = ["smtp-source", *options, "-m", str(messages), "-l", str(size), *envelope, f"127.0.0.1:{server.port}"]
    began, used = time.monotonic(), server.processor_seconds()
    subprocess.run(command, check=True)
    return time.monotonic() - began, server.processor_seconds() - used


def memory_of_a_connection(server: Server) -> float:
    """Return the KiB of each connection in the middle of a message of which a megabyte has come."""
    piece = (b"x" * 70 + b"\r\n") * 800
    before, clients = 0, []
    # The first few fill the server's own pools.
    for count in (5, CONNECTIONS):
        before = server.resident_kib()
        clients += [begin_message(server.port) for _ in range(count)]
        for _ in range(18):
            for client in clients[-count:]:
                client.sendall(piece)
        time.sleep(1)
    used = (server.resident_kib() - before) / CONNECTIONS
    for client in clients:
        client.close()
    return used


def begin_message(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    for line in (b"", b"HELO x\r\n", b"MAIL FROM:<a@example.com>\r\n", b"RCPT TO:<b@example.com>\r\n", b"DATA\r\n"):
        client.sendall(line)
        client.recv(1_000)
    return client


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.receiving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages")
    scale = 10 if parser.parse_args().quick else 1
    if shutil.which("smtp-source") is None:
        sys.exit("Postfix's smtp-source is needed: apt-get install postfix")
    names = ["asyncio", "trio"]
    names += ["aiosmtpd"] if importlib.util.find_spec("aiosmtpd") else []
    names += ["smtp-sink"] if shutil.which("smtp-sink") else []
    results: dict[str, dict[str, float]] = {}
    for name in names:
        with running(name) as server:
            for load, messages, size, options in LOADS:
                count = max(1, messages // scale)
                seconds, used = measure(server, count, size, options)
                results.setdefault(load, {})[name] = used / count
                print(
                    f"{name:10} {load:24} {count / seconds:8,.0f}/s {count * size / seconds / 1e6:6,.0f} MB/s"
                    f" {used / count * 1e3:9.3f} ms of processor time each",
                    flush=True,
                )
            print(
                f"{name:10} {memory_of_a_connection(server):.1f} KiB for each connection within a message", flush=True
            )
    for load, by_name in results.items():
        if ours := by_name.get("aiosmtpd"):
            print(f"{load:24} {ours / by_name['asyncio']:.1f} times as fast as aiosmtpd, by processor time")


if __name__ == "__main__":
    main()
