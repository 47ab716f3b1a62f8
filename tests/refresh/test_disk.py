"""A full or read-only disk: the token is used all the same, the error is reported, and the stored grant is unharmed."""

from __future__ import annotations

import logging
import os
import subprocess
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.errors import MailError
from refresh.device import running
from refresh.service import ScriptedResponse
from vault.conftest import limit_file_size
from vault.test_disk import fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from refresh.service import Service


@pytest.fixture
def small_home(home: Path) -> Iterator[Path]:
    """A home folder on a file system of its own, of 64 KiB."""
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(home)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield home
    finally:
        subprocess.run(["umount", str(home)], check=True)


async def test_a_full_disk(small_home: Path, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    async with running(small_home, service) as device:
        await device.sign_in(age=7200)
        before = await device.grant()
        fill(small_home / "filler")

        first = await device.token()
        assert device.source.save_error is not None
        assert device.source.save_error.cause == "token_store_unwritable"
        assert "disk is full" in str(device.source.save_error)
        assert [record.levelname for record in caplog.records if "memory only" in record.message] == ["ERROR"]
        assert await device.grant() == before
        assert await device.token() == first
        device.clocks.pass_by(3000)
        second = await device.token()
        assert second != first
        assert await device.grant() == before
        assert (device.refreshes, service.state.reused) == (2, 0)

        (small_home / "filler").unlink()
        assert await device.token() == second
        assert device.source.save_error is None
        kept = await device.grant()
        assert kept.access_token == second
        device.restart()
        assert await device.token() == second
        device.clocks.pass_by(3000)
        await device.token()
        assert service.state.reused == 0


async def test_the_service_writes_an_unsaved_grant_without_a_token_request(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        with limit_file_size(10):
            given = await device.token()
            await device.source.refresh_if_idle()
            assert device.source.save_error is not None
        assert await device.source.refresh_if_idle()
        assert device.source.save_error is None
        assert (await device.grant()).access_token == given
        assert device.asked == 1


async def test_settings_change_while_the_disk_is_full(home: Path, service: Service) -> None:
    """The source that comes in its place writes what the former one could not."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        with limit_file_size(10):
            given = await device.token()
            former, device.source = device.source, device.another()
            device.source.adopt_unsaved(former.unsaved)
            assert device.source.save_error is not None
        assert await device.token() == given
        assert device.source.save_error is None
        assert (await device.grant()).access_token == given
        assert (device.asked, service.state.reused) == (1, 0)


async def test_a_read_only_disk(small_home: Path, service: Service) -> None:
    """Nobody can hold a lock there, so nobody may renew; what lasts is used."""
    async with running(small_home, service) as device:
        old = await device.sign_in(age=3300)
        await anyio.run_process(["mount", "-o", "remount,ro", str(small_home)])
        assert await device.token() == old
        device.clocks.pass_by(301)
        await device.refuse("token_store_unwritable")
        assert device.asked == 0
        await anyio.run_process(["mount", "-o", "remount,rw", str(small_home)])
        await device.token()


async def test_a_disk_that_fails_completely_afterwards(home: Path, service: Service) -> None:
    """What is in memory is used, though what is on the disk cannot even be read."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        with limit_file_size(10):
            given = await device.token()
        file = home / "vault" / "smtp.json"
        good = file.read_bytes()
        file.write_bytes(b"damaged")
        assert await device.token() == given
        assert device.source.save_error is not None
        file.write_bytes(good)
        assert await device.token() == given
        assert device.source.save_error is None


async def test_a_token_deleted_while_a_newer_one_is_in_memory(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        with limit_file_size(10):
            await device.token()
        await device.store.delete()
        await device.refuse("token_not_retrieved")
        assert await device.store.load() is None


async def test_a_token_obtained_while_a_newer_one_is_in_memory(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        with limit_file_size(10):
            await device.token()
        obtained = await device.sign_in()
        assert await device.token() == obtained
        assert device.source.save_error is None
        assert (await device.grant()).access_token == obtained


async def test_a_failure_in_another_process_while_a_newer_grant_is_in_memory(home: Path, service: Service) -> None:
    """The other has the old refresh token only; what it notes of that is not about the new one."""
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        with limit_file_size(10):
            given = await device.token()
        service.say = [ScriptedResponse(429)]
        with pytest.raises(MailError):
            await device.another().token()
        assert (await device.grant()).failure is not None
        assert await device.token() == given
        kept = await device.grant()
        assert (kept.access_token, kept.failure) == (given, None)
        assert device.source.save_error is None


async def test_a_refresh_by_another_process_while_a_newer_grant_is_in_memory(home: Path, service: Service) -> None:
    """Where old refresh tokens stay good, the other succeeds, and the latest on the disk counts."""
    async with running(home, service) as device:
        service.policy = "lax"
        await device.sign_in(age=7200)
        with limit_file_size(10):
            await device.token()
        latest = (await device.another().token()).value
        assert await device.token() == latest
        assert device.source.save_error is None


async def test_a_refusal_is_remembered_in_memory_too(home: Path, service: Service) -> None:
    async with running(home, service) as device:
        await device.sign_in(age=7200)
        service.say = [ScriptedResponse(400, {"error": "invalid_grant"})] * 2
        with limit_file_size(10):
            for _ in range(3):
                await device.refuse("token_update_failed")
            assert device.asked == 2
            assert (await device.grant()).failure is None
        await device.refuse("token_update_failed")
        assert (await device.grant()).failure is not None
        assert device.asked == 2


async def test_repeated_failures_are_logged_once(
    home: Path, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mailslot")
    async with running(home, service) as device:
        old = await device.sign_in(age=3100)
        service.say = [ScriptedResponse(400, {"error": "invalid_grant"})] * 2
        for _ in range(20):
            assert await device.token() == old
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
