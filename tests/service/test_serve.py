"""``mailslot serve``: from ready to stopped, through kills, settings that change and disks that fill."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest

from lab.fixtures import need
from lab.process import free_ports
from mailslot.message import Message
from mailslot.slots.records import Records
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from mailslot_plugins.sandbox import Fault, run_sandbox
from service.polling_device import RECORD, USER, mail, pop_settings
from service.sending_device import ALICE, OPEN, SENDER, sandbox_settings
from service.service_process import command, mailslot, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from mailslot_plugins.sandbox import Sandbox

BACKENDS = ["asyncio", "trio"]


@pytest.fixture(scope="module", params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The tests' own; the service's is an argument."""
    return str(request.param)


@asynccontextmanager
async def run_device_home(home: Path, **settings: object) -> AsyncIterator[Sandbox]:
    """A sandbox, and a home that is set up for it; the mailbox is polled once a minute, and at the start."""
    async with run_sandbox(personality=OPEN) as sandbox:
        records = Records(home)
        records.change("smtp", sandbox_settings(sandbox), {})
        records.change(RECORD, {**pop_settings(sandbox, home), "check_interval": 1, **settings}, {})
        yield sandbox
        assert not sandbox.errors


async def accept(home: Path, subject: str) -> int:
    async with Spool(home) as spool:
        message = Message(sender=SENDER, to=[ALICE], subject=subject, text="Hello.")
        return (await spool.accept(NewJob("scan", "smtp", SENDER, [ALICE], subject), message)).id


async def until_state(home: Path, job_id: int, state: str) -> None:
    async with Spool(home) as spool:
        with anyio.fail_after(120):
            async for job in spool.watch(job_id):
                if job.state == state:
                    return


async def until_sent(home: Path, job_id: int) -> None:
    await until_state(home, job_id, "sent")


async def until_true(test: Callable[[], bool]) -> None:
    with anyio.fail_after(120):
        while not test():  # noqa: ASYNC110 - it is another process
            await anyio.sleep(0.02)


async def until_empty(sandbox: Sandbox) -> None:
    await until_true(lambda: not sandbox.maildrops[USER].messages)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_delivers_and_polls_until_it_is_stopped(tmp_path: Path, backend: str, number: int) -> None:
    async with run_device_home(tmp_path) as sandbox:
        sandbox.maildrops[USER].add(mail("one"))
        early = await accept(tmp_path, "early")
        async with serving(tmp_path, "--backend", backend, WATCHDOG_USEC="400000") as service:
            await until_sent(tmp_path, early)
            await until_sent(tmp_path, await accept(tmp_path, "late"))
            await until_empty(sandbox)
            line = await service.until(lambda line: "mail" in line)
            assert (line["record"], line["pipeline"]) == (RECORD, "status")
            await service.until(lambda line: line.get("job") == early)
            await until_true(lambda: service.read_notifications().count("WATCHDOG=1") >= 2)
            assert await service.stop(number) == 0
            notifications = service.read_notifications()
            assert notifications.count("READY=1") == notifications.count("STOPPING=1") == 1
            assert any(line.startswith("STATUS=") for line in notifications)
            assert [line["level"] for line in service.lines if line["level"] == "error"] == []


@pytest.mark.parametrize("backend", BACKENDS)
async def test_it_stops_during_a_hanging_transaction(tmp_path: Path, backend: str) -> None:
    async with run_device_home(tmp_path, check_interval=0) as sandbox:
        sandbox.faults.append(Fault("RCPT", delay=60))
        job_id = await accept(tmp_path, "stuck")
        async with serving(tmp_path, "--backend", backend) as service:
            await until_true(lambda: "MAIL" in sandbox.transcript)
            assert await service.stop() == 0
        sandbox.faults.clear()
        async with serving(tmp_path, "--backend", backend):
            await until_sent(tmp_path, job_id)
        assert len(sandbox.submissions) == 1


async def test_a_killed_service_continues_after_a_restart(tmp_path: Path) -> None:
    async with run_device_home(tmp_path) as sandbox:
        async with serving(tmp_path) as service:
            service.process.kill()
            await service.process.wait()
        sandbox.maildrops[USER].add(mail("one"))
        job_id = await accept(tmp_path, "one")
        async with serving(tmp_path) as service:
            await until_sent(tmp_path, job_id)
            await until_empty(sandbox)
            assert await service.stop() == 0
        assert len(sandbox.submissions) == 1


async def test_only_one_service_per_home(tmp_path: Path) -> None:
    async with run_device_home(tmp_path), serving(tmp_path) as service:
        code, _, errors = await mailslot(tmp_path, "serve", "--log", "plain")
        assert code == 1
        assert errors.splitlines()[-1] == f"Another process of mailslot serves {tmp_path} already."
        assert await service.stop() == 0


def replace_file(file: Path, text: str) -> None:
    """Write it at once; for the service, a file that is emptied before it is written has good settings: none."""
    new = file.with_name("new")
    new.write_text(text)
    new.replace(file)


async def test_settings_edited_while_running(tmp_path: Path) -> None:
    async with run_device_home(tmp_path, check_interval=0) as sandbox, serving(tmp_path) as service:
        sandbox.maildrops[USER].add(mail("one"))
        file = tmp_path / "mailslot.toml"
        text = file.read_text()
        replace_file(file, text.replace("check_interval = 0", "check_interval = = 1"))
        line = await service.said("The settings that were read before are kept")
        assert "mailslot.toml" in line["message"]
        job_id = await accept(tmp_path, "one")
        await until_sent(tmp_path, job_id)
        replace_file(file, text.replace("check_interval = 0", "check_interval = 1"))
        await service.said("The settings were read again")
        await until_empty(sandbox)
        assert await service.stop() == 0


async def test_broken_settings_at_the_start(tmp_path: Path) -> None:
    async with run_device_home(tmp_path):
        file = tmp_path / "mailslot.toml"
        file.write_text(file.read_text() + '\n[nonsense]\na = 1\n[records.smtp2]\nport = "x"\n')
        code, out, errors = await mailslot(tmp_path, "serve", "--log", "json")
        assert code == 1
        assert out == ""
        assert "mailslot.toml:" in errors.splitlines()[-1]
        assert "[records.smtp2]" in errors.splitlines()[-1]
        assert "Traceback" not in errors


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A file system of its own; what is given can change its size."""

    def mount(options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return not subprocess.run(command, check=False, capture_output=True).returncode

    folder.mkdir()
    need("a small disk", mount(f"size={size},mode=0700"), "needs root on Debian")
    try:
        yield lambda size: need("a small disk", mount(f"remount,size={size}"), "needs root on Debian")
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    """The spool wants 64 MB to stay free, so that a disk of 60 MB is full, and one of 200 MB is not."""
    home = tmp_path / "home"
    with disk(home, "60m") as resize:
        async with run_device_home(home) as sandbox:
            sandbox.maildrops[USER].add(mail("one"))
            async with serving(home) as service:
                # The service's own poll is over then, and its next one a minute away.
                await service.said("must stay free")
                code, out, errors = await mailslot(home, "poll", "status.pop")
                assert (code, out) == (1, "")
                assert "must stay free" in errors
                assert len(sandbox.maildrops[USER].messages) == 1
                resize("200m")
                code, out, errors = await mailslot(home, "poll", "status.pop")
                assert (code, errors) == (0, "")
                assert "1 fetched, 1 deleted there" in out
                assert sandbox.maildrops[USER].messages == []
                assert await service.stop() == 0


async def test_it_listens_only_where_configured(tmp_path: Path) -> None:
    [port] = free_ports(1)
    async with run_device_home(tmp_path) as sandbox:
        sandbox.maildrops[USER].add(mail("one"))
        for backend in BACKENDS:
            async with serving(tmp_path, "--listen", str(port), "--backend", backend) as service:
                await until_sent(tmp_path, await accept(tmp_path, "one"))
                await until_empty(sandbox)
                async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                    health = await client.get("/healthz")
                    assert (health.status_code, health.json()) == (200, {"status": "ok"})
                    answer = await client.get("/metrics")
                    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
                    assert 'mailslot_jobs{pipeline="scan",state="sent"}' in answer.text
                    assert (await client.get("/")).headers["location"] == "/first-start"
                    assert (await client.post("/metrics")).status_code == 403
                code, _, errors = await mailslot(tmp_path / "other", "serve", "--listen", f"127.0.0.1:{port}")
                assert (code, errors) == (1, f"127.0.0.1:{port} cannot be listened to: Address already in use.\n")
                assert await service.stop() == 0


async def test_an_invalid_address(tmp_path: Path) -> None:
    for address in ("here", "127.0.0.1:", ":99999", "127.0.0.1:http"):
        code, _, errors = await mailslot(tmp_path, "serve", "--listen", address)
        assert code == 2, address
        assert errors.startswith(f"{address!r} is not of the form HOST:PORT")


@pytest.mark.parametrize("how", ["removed", "replaced", "overwritten", "log removed", "index removed"])
async def test_a_job_database_lost_while_running(tmp_path: Path, how: str) -> None:
    """It ends with an exit code that has it started again, says so in few words, and has the list again then."""
    home, path = tmp_path / "home", tmp_path / "home" / "spool" / "spool.db"
    async with run_device_home(home) as sandbox:
        sandbox.rules.content = "451 4.7.1 Come back"
        job = await accept(home, "one")
        copy = path.read_bytes()
        async with serving(home) as served:
            await served.said("Come back")
            await until_state(home, job, "deferred")
            if how == "removed":
                path.unlink()
            elif how == "log removed":
                path.with_name("spool.db-wal").unlink()
            elif how == "index removed":
                path.with_name("spool.db-shm").unlink()
            elif how == "replaced":
                path.with_name("other").write_bytes(copy)
                path.with_name("other").replace(path)
            else:
                for each in (path, path.with_name("spool.db-wal")):
                    with each.open("r+b") as file:
                        file.write(b"\xff" * each.stat().st_size)
            with anyio.fail_after(300):
                assert await served.process.wait() == 1
            await served.said("Stop every mailslot on this device and start it again")
            warnings = [line for line in served.lines if line.get("level") in {"warning", "error"}]
            assert len(warnings) < 15, warnings
        sandbox.rules.content = None
        kept = how in {"replaced", "log removed", "index removed"}
        async with serving(home) as served:
            if not kept:
                await served.said("The list of jobs was lost and rebuilt from the messages: 1 jobs and mails")
            later = await accept(home, "two")
            await until_sent(home, later)
            assert await served.stop() == 0
        assert later > job
        async with Spool(home) as spool:
            found = {job.subject: job for job in await spool.jobs()}
            assert found["one"].state in ({"deferred", "sent"} if kept else {"in_doubt"})
        code, out, _ = await mailslot(home, "metrics")
        assert code == 0
        assert ("mailslot_jobs_lost_timestamp_seconds " in out) == (not kept)


async def test_a_home_removed_while_running(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with run_device_home(home), serving(home) as served:
        home.rename(tmp_path / "elsewhere")
        with anyio.fail_after(120):
            assert await served.process.wait() == 1
        line = await served.said("The service ends")
        assert f"The folder {home / 'spool'} is not there any more" in line["message"]
        assert not any("damaged" in line["message"] for line in served.lines)


@contextmanager
def soft_limit(files: int) -> Iterator[int]:
    """Lower the soft limit on open files, which programs inherit; yield the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_it_may_open_as_many_files_as_the_system_allows(tmp_path: Path) -> None:
    with soft_limit(512) as hard:
        async with serving(tmp_path) as served:
            most = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
            assert resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE) == (most, hard)


async def test_a_home_without_settings_is_reported(tmp_path: Path) -> None:
    async with serving(tmp_path / "home") as served:
        line = await served.said("There are no settings")
        assert line["level"] == "warning"
        assert str(tmp_path / "home" / "mailslot.toml") in line["message"]
        assert await served.stop() == 0
        assert len([line for line in served.lines if line.get("level") == "warning"]) == 1


async def test_a_damaged_message_without_database_is_reported(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with run_device_home(home):
        await accept(home, "cut short")
        [file] = (home / "spool").glob("*.job")
        file.chmod(0o600)
        file.write_bytes(file.read_bytes()[:-1])
        for path in (home / "spool").glob("spool.db*"):
            path.unlink()
        # Another command makes the new list, and the service tells of it all the same.
        code, out, _ = await mailslot(home, "jobs")
        assert code == 0
        assert "cut short" in out
        assert "failed" in out
        async with serving(home) as served:
            await served.said("1 jobs are damaged and have failed")
            assert await served.stop() == 0
        async with serving(home) as served:
            await served.said("The service is ready")
            assert await served.stop() == 0
        assert not any("damaged" in line["message"] for line in served.lines)
        _, out, _ = await mailslot(home, "metrics")
        assert "mailslot_jobs_lost_damaged 1\n" in out
        assert 'mailslot_jobs{pipeline="scan",state="failed"} 1\n' in out


async def test_commands_report_that_no_service_is_running(tmp_path: Path) -> None:
    home = tmp_path / "my home"
    said_line = f"No service is running, so nothing is sent or fetched. Start it with: mailslot --home '{home}' serve\n"
    async with run_device_home(home) as sandbox:
        (tmp_path / "page.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
        scan = ("scan", str(tmp_path / "page.pdf"), "--to", ALICE)
        for command, expected in (
            (("slots",), 0),
            (("jobs",), 0),
            (scan, 3),
            (("jobs", "--json"), 0),
            (("slots", "--json"), 0),
            ((*scan, "--json"), 3),
            (("token", "get", "status.pop"), 0),
        ):
            code, out, errors = await mailslot(home, *command)
            assert (code, errors) == (expected, said_line)
            if "--json" in command:
                json.loads(out)
        # It has been delivered, and nobody needs a service for that.
        assert (await mailslot(home, *scan, "--wait"))[::2] == (0, "")
        sandbox.rules.content = "451 4.7.1 Come back"
        code, _, errors = await mailslot(home, *scan, "--wait")
        assert code == 3
        assert errors.endswith(said_line)
        assert (await mailslot(home, "jobs", "retry", "4"))[::2] == (0, said_line)
        sandbox.rules.content = None
        async with serving(home):
            for command in (("slots",), ("jobs", "--json"), ("jobs",)):
                code, _, errors = await mailslot(home, *command)
                assert (code, errors) == (0, "")


async def test_an_unread_log_does_not_block(tmp_path: Path) -> None:
    """Such as ``mailslot serve 2>&1 | less``: what is written there must not hold up the rest, nor the end."""
    home = tmp_path / "home"
    async with run_device_home(home):
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writing, b"." * 1024)
        os.set_blocking(writing, True)
        job = await accept(home, "one")
        process = await anyio.open_process(command(home, "serve"), stdout=subprocess.DEVNULL, stderr=writing)
        os.close(writing)
        try:
            await until_sent(home, job)
            process.terminate()
            with anyio.fail_after(120):
                assert await process.wait() == 0
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            os.close(reading)
