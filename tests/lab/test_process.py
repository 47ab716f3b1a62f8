"""The lab's servers stop with the tests, and missing ones are reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.fixtures import need
from lab.process import answers, free_ports, running, wait_until

TESTS = """
import sys, time
from pathlib import Path
from lab.process import running

port, log = sys.argv[1:]
server = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", port]
with running(server, ports=[int(port)], log=Path(log)):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_server_does_not_outlive_tests_that_are_killed(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-c", TESTS, str(port), str(tmp_path / "log")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == b"ready\n"
        assert answers(port)
        tests.kill()
    wait_until(lambda: not answers(port))


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo out of luck; exit 1"]
    with (
        pytest.raises(RuntimeError, match="out of luck"),
        running(command, ports=free_ports(1), log=tmp_path / "log"),
    ):
        pass


def test_tests_of_a_missing_server_are_skipped_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILSLOT_LAB", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"left out: Postfix \(need root on Debian\)"):
        need("Postfix", False, "need root on Debian")


def test_a_missing_server_is_an_error_if_the_lab_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILSLOT_LAB", "required")
    with pytest.raises(pytest.fail.Exception, match="Postfix is missing"):
        need("Postfix", False, "need root on Debian")
