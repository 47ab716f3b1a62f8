"""A day of operation, in which memory and files do not grow."""

from __future__ import annotations

import gc
import resource
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.service.device import Device
from mailslot.service.service import Service
from mailslot.service.systemd import ServiceManager
from mailslot.slots.connector import Connector
from mailslot.slots.records import Records
from mailslot.spool.limits import SpoolLimits
from mailslot.spool.spool import Spool
from mailslot_plugins.sandbox import run_sandbox
from service.polling_device import RECORD, USER, RecordingPipeline, mail, pop_settings
from service.sending_device import OPEN, FastClocks, SendingDevice, sandbox_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.virtual_time

DAY, SPEED = 86_400.0, 16_000.0
TIGHT = SpoolLimits(
    max_finished_jobs=50, sent_retention=3_600.0, uid_retention=3_600.0, max_keys=50, key_retention=3_600.0
)


async def test_memory_does_not_grow_in_a_day_of_operation(tmp_path: Path) -> None:
    """A poll every ten minutes, a mail in it every hour, a job every half hour."""
    async with run_sandbox(personality=OPEN) as sandbox:
        records = Records(tmp_path)
        records.change("smtp", sandbox_settings(sandbox), {})
        records.change(RECORD, {**pop_settings(sandbox, tmp_path), "check_interval": 10}, {})
        clocks, keeper = FastClocks(SPEED), RecordingPipeline()
        async with Spool(tmp_path, limits=TIGHT, clock=clocks.wall) as spool, Connector(records) as connector:
            device = Device(records, connector, spool, clocks=clocks.clocks, speed=SPEED)
            harness = SendingDevice(device)
            sizes: list[tuple[int, int, int, int]] = []

            async def live() -> None:
                for half_hour in range(48):
                    await harness.accept(text=f"job {half_hour}", lifetime=None)
                    if half_hour % 2:
                        sandbox.maildrops[USER].add(mail(f"mail {half_hour}", size=20_000))
                    await device.sleep(1800)
                    if half_hour % 6 == 5:
                        gc.collect()
                        found = {path.name: path.stat().st_size for path in (tmp_path / "spool").iterdir()}
                        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                        sizes.append((found["spool.db"], found["spool.db-wal"], len(found), memory))
                with anyio.fail_after(120):
                    while len(keeper.subjects) < 24 or len(sandbox.submissions) < 48:  # noqa: ASYNC110 - no event
                        await anyio.sleep(0.02)

            began = device.monotonic()
            await Service(device, [keeper], ServiceManager(), worker=harness.worker).run(live)
            assert device.monotonic() - began > DAY - 1
            assert len(keeper.subjects) == len(set(keeper.subjects)) == 24
            assert len(sandbox.submissions) == 48
            await spool.prune()
            assert sum((await spool.count_by_state()).values()) <= 6
            assert len(await spool.ledger.mails()) <= 6
            assert len([dialogue for dialogue in sandbox.dialogues if dialogue.protocol == "pop3"]) > 100
            (octets, _, files, memory), (octets_then, log, files_then, memory_then) = sizes[1], sizes[-1]
            assert octets_then <= octets + 200_000
            assert log < 4_500_000, "SQLite writes its log anew after a thousand pages"
            assert files_then <= files + 3
            assert memory_then <= memory + 20_000, "kilobytes"
        assert not sandbox.errors
