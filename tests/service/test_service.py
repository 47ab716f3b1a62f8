"""The service: failing tasks, notifications to the service manager, and log formats."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.service.log import JsonLines, PlainLines, set_up_logging
from mailslot.service.service import Service
from mailslot.service.systemd import ServiceManager
from mailslot.spool.errors import SpoolError
from service.polling_device import RecordingPipeline
from service.sending_device import FastClocks, opened, run_sending_device

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailslot.service.device import Device

pytestmark = pytest.mark.virtual_time


async def run(service: Service, stop: anyio.Event) -> None:
    with anyio.fail_after(60):
        await service.run(stop.wait)


async def test_a_failing_task_does_not_stop_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    began: list[float] = []

    async def failing() -> None:
        began.append(device.monotonic())
        if len(began) < 5:
            raise ValueError("the token is hunter2")
        stop.set()

    async with run_sending_device(tmp_path, FastClocks(100)) as (harness, _):
        device = harness.device
        job = await harness.accept()
        stop = anyio.Event()
        service = Service(device, [], ServiceManager(), extra_tasks=[("failing", failing)], worker=harness.worker)
        await run(service, stop)
        pauses = [later - sooner for sooner, later in pairwise(began)]
        assert all(pause > least - 0.01 for pause, least in zip(pauses, (1, 2, 4, 8), strict=True))
        assert (await harness.job(job)).state == "sent"
        failures = [record for record in caplog.records if getattr(record, "task", None) == "failing"]
        assert len(failures) == 4
        assert "hunter2" not in caplog.text


class WorkingPipeline(RecordingPipeline):
    """A pipeline with work beside its mail, which fails once."""

    def __init__(self, stop: anyio.Event) -> None:
        super().__init__(polls="smtp")
        self.runs = 0
        self._stop = stop

    async def run(self, device: Device) -> None:
        self.runs += 1
        if self.runs == 1:
            raise RuntimeError
        self._stop.set()
        await anyio.sleep_forever()


async def test_a_pipeline_runs_and_one_that_polls_a_non_pop_record_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_sending_device(tmp_path, FastClocks(100)) as (harness, _):
        stop = anyio.Event()
        pipeline = WorkingPipeline(stop)
        await run(Service(harness.device, [pipeline], ServiceManager(), worker=harness.worker), stop)
        assert pipeline.runs == 2
        assert "wants to poll smtp, which is not a POP record" in caplog.text


async def test_only_one_service_per_home(tmp_path: Path) -> None:
    async with run_sending_device(tmp_path) as (harness, _), anyio.create_task_group() as group:
        stop, ready = anyio.Event(), anyio.Event()
        group.start_soon(Service(harness.device, [], ServiceManager()).run, stop.wait, ready.set)
        await ready.wait()
        async with opened(harness.device.records) as other:
            with pytest.raises(SpoolError, match=r"serves .* already") as caught:
                await Service(other.device, [], ServiceManager()).run(anyio.sleep_forever)
        assert caught.value.cause == "spool_busy"
        stop.set()


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(f"\0mailslot-test-manager-{os.getpid()}")
        yield listener


def heard(manager: socket.socket) -> list[str]:
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(manager.recv(1000).decode())
    return found


def test_service_manager_notifications(manager: socket.socket) -> None:
    service_manager = ServiceManager.from_environment({"NOTIFY_SOCKET": f"@mailslot-test-manager-{os.getpid()}"}, 7)
    service_manager.ready()
    service_manager.status("1 job waits")
    service_manager.status("1 job waits")
    service_manager.status("2 jobs wait")
    service_manager.stopping()
    assert heard(manager) == ["READY=1", "STATUS=1 job waits", "STATUS=2 jobs wait", "STOPPING=1"]


@pytest.mark.parametrize(
    ("pause", "process", "kept"),
    [("20000", "7", True), ("20000", "8", False), ("20000", None, True), ("x", "7", False)],
)
async def test_the_watchdog_is_notified_twice_per_period(
    manager: socket.socket, pause: str, process: str | None, kept: bool
) -> None:
    environment = {"NOTIFY_SOCKET": f"@mailslot-test-manager-{os.getpid()}", "WATCHDOG_USEC": pause}
    if process is not None:
        environment["WATCHDOG_PID"] = process
    with anyio.move_on_after(0.2) as scope:
        await ServiceManager.from_environment(environment, 7).keep_watchdog()
    assert scope.cancelled_caught is kept
    assert (len(heard(manager)) > 3) is kept


async def test_no_service_manager() -> None:
    for address in ("", "@mailslot-nobody", "/nowhere/at/all"):
        ServiceManager(address, 0.01).ready()


def record_of(message: str, *arguments: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("mailslot.x", level, "x.py", 1, message, arguments, None)
    made.__dict__.update(extra)
    return made


def test_the_json_log_format() -> None:
    line = json.loads(JsonLines().format(record_of("Sent to %s\nnow", "ä", job=7, record="smtp", other=1)))
    assert (line["message"], line["job"], line["record"], line["level"]) == ("Sent to ä now", 7, "smtp", "info")
    assert "other" not in line
    assert line["time"].endswith("+00:00")


def test_the_text_log_format() -> None:
    line = PlainLines().format(record_of("Sent", level=logging.WARNING, job=7, cause=None))
    assert line.endswith("warning: Sent  (job=7)")


@pytest.mark.parametrize(
    "secret",
    [
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl",
        "ya29.a0AfH6SMBx-_1234567",
        "1//0gLu8Abcdefghijklmnopqrs",
    ],
)
def test_token_like_text_is_masked(secret: str) -> None:
    for formatter in (JsonLines(), PlainLines()):
        line = formatter.format(record_of("The server said %s.", secret))
        assert secret not in line
        assert "•••" in line


def test_a_foreign_error_is_logged_without_its_text_and_traceback() -> None:
    made = record_of("It failed", level=logging.ERROR)
    try:
        raise ValueError("hunter2")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = JsonLines().format(made)
    assert "hunter2" not in line
    assert "Traceback" not in line
    assert json.loads(line)["message"].startswith("It failed (ValueError, raised at test_service.py:")


def test_logging_keeps_our_records_and_others_warnings(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (
        root.handlers,
        root.level,
        {name: logging.getLogger(name).level for name in ("mailslot", "mailslot_plugins")},
    )
    log = tmp_path / "log"
    try:
        with log.open("w") as stream:
            handler = set_up_logging(stream, plain=False)
            logging.getLogger("mailslot.x").info("ours")
            logging.getLogger("httpx2").info("POST https://example.com/?code=secret")
            logging.getLogger("httpx2").warning("amiss")
            handler.flush()
    finally:
        root.handlers, level, levels = before
        root.setLevel(level)
        for name, each in levels.items():
            logging.getLogger(name).setLevel(each)
    assert [json.loads(line)["message"] for line in log.read_text().splitlines()] == ["ours", "amiss"]
