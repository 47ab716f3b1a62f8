"""The gateway's log: what is noted is bounded, written in one transaction, and read by other processes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.diagnosis.gateway_log import (
    MAX_DIALOGUES,
    MAX_LINES,
    MAX_UNKNOWN,
    STORE,
    Dialogue,
    GatewayLog,
)
from mailslot.spool.errors import SpoolError
from mailslot.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mailslot.spool.store import Store

pytestmark = pytest.mark.virtual_time

GOOD = Dialogue(1.0, "scan", "10.0.0.5", "TLSv1.2", True, "ok", "It sent a message.", ("> 220 ready", "< QUIT"))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Spool(tmp_path / "home") as spool:
        yield spool.store(STORE)


async def test_dialogues_are_kept_the_newest_first(store: Store) -> None:
    log, reader = GatewayLog(store), GatewayLog(store)
    for number in range(MAX_DIALOGUES + 5):
        log.note_dialogue("copier", replace(GOOD, at=float(number)))
        if number % 4 == 0:
            await log.flush()
    log.note_dialogue("other", GOOD)
    await log.flush()
    found = await reader.dialogues("copier")
    assert [each.at for each in found] == [float(MAX_DIALOGUES + 4 - number) for number in range(MAX_DIALOGUES)]
    assert found[0].lines == GOOD.lines
    assert await reader.dialogues("other") == [GOOD]
    await reader.forget(device="copier")
    assert await reader.dialogues("copier") == []


async def test_unknown_devices_are_counted_by_their_address(store: Store) -> None:
    log, reader = GatewayLog(store), GatewayLog(store)
    for at in (1.0, 2.0, 3.0):
        log.note_unknown(at, "10.0.0.7", listener="scan", helo="NPIF65E56", tls="TLSv1", verdict="Nobody knows it.")
        await log.flush()
    log.note_unknown(4.0, "10.0.0.7", listener="old", user="scan", verdict="No device has the user scan.")
    log.note_unknown(5.0, "10.0.0.7", listener="old", verdict="No device has the user scan.")
    log.note_unknown(2.5, "10.0.0.8", listener="scan", verdict="Nobody knows it.")
    await log.flush()
    first, second = await reader.unknown_devices()
    assert (first.address, first.count, first.first_at, first.last_at) == ("10.0.0.7", 5, 1.0, 5.0)
    assert (first.helo, first.user, first.tls, first.listener) == ("NPIF65E56", "scan", "TLSv1", "old")
    assert (second.address, second.count) == ("10.0.0.8", 1)
    await reader.forget(unknown=["10.0.0.7"])
    # The running gateway does not write back what was forgotten.
    log.note_unknown(6.0, "10.0.0.8", listener="scan", verdict="Nobody knows it.")
    await log.flush()
    assert [each.address for each in await reader.unknown_devices()] == ["10.0.0.8"]


async def test_what_is_noted_is_bounded(store: Store) -> None:
    log = GatewayLog(store)
    lines = tuple(f"{number} {'x' * 5000}" for number in range(5 * MAX_LINES))
    log.note_dialogue("copier", replace(GOOD, lines=lines, verdict="\x1b[31m\n" + "y" * 5000))
    for number in range(3 * MAX_UNKNOWN):
        log.note_unknown(float(number), f"10.0.{number // 256}.{number % 256}", listener="scan", verdict="No.")
        if number == MAX_UNKNOWN:
            await log.flush()
    log.note_unknown(1e9, "10.9.9.9", listener="scan", helo="\0" + "h" * 10_000, user="u\r\nv", verdict="No.")
    assert len(log._unknown) == MAX_UNKNOWN
    await log.flush()
    [kept] = await log.dialogues("copier")
    assert len(kept.lines) == MAX_LINES
    assert kept.lines[0].startswith("0 ")
    assert kept.lines[-1].startswith(f"{5 * MAX_LINES - 1} ")
    assert max(map(len, (*kept.lines, kept.verdict))) <= 500
    assert "\x1b" not in kept.verdict
    unknown = await log.unknown_devices()
    assert len(unknown) == MAX_UNKNOWN
    assert unknown[0].address == "10.9.9.9"
    assert len(unknown[0].helo) == 255
    assert unknown[0].user == "u\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}v"
    assert min(each.last_at for each in unknown) >= 2 * MAX_UNKNOWN


async def test_the_addresses_of_listeners(store: Store) -> None:
    log = GatewayLog(store)
    assert await log.listening() == {}
    log.note_listening({"scan": ("127.0.0.1", 40025)}, {"old": "The port is in use."})
    await log.flush()
    assert await GatewayLog(store).listening() == {"scan": ("127.0.0.1", 40025)}
    assert await GatewayLog(store).failures() == {"old": "The port is in use."}
    log.note_listening({"old": ("127.0.0.1", 40026)})
    await log.flush()
    assert await GatewayLog(store).failures() == {}


class Refusing:
    """A store whose disk is full at first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.full = True
        self.writes = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def update(self, *arguments: object) -> None:
        self.writes += 1
        if self.full:
            raise SpoolError("The disk is full.", cause="spool_full")
        await self._store.update(*arguments)  # type: ignore[arg-type]


async def test_nothing_is_lost_while_the_disk_refuses(store: Store) -> None:
    refusing = Refusing(store)
    log = GatewayLog(refusing)  # type: ignore[arg-type]
    log.note_dialogue("copier", GOOD)
    log.note_unknown(1.0, "10.0.0.7", listener="scan", verdict="No.")
    log.note_listening({"scan": ("127.0.0.1", 25)})
    with pytest.raises(SpoolError):
        await log.flush()
    log.note_dialogue("copier", replace(GOOD, at=2.0))
    log.note_unknown(2.0, "10.0.0.7", listener="scan", verdict="No.")
    with pytest.raises(SpoolError):
        await log.flush()
    refusing.full = False
    await log.flush()
    assert [each.at for each in await log.dialogues("copier")] == [2.0, 1.0]
    assert [each.count for each in await log.unknown_devices()] == [2]
    assert await log.listening() == {"scan": ("127.0.0.1", 25)}


async def test_many_connections_are_written_together_and_the_last_ones_at_the_end(store: Store) -> None:
    counting = Refusing(store)
    counting.full = False
    log = GatewayLog(counting)  # type: ignore[arg-type]
    async with anyio.create_task_group() as group:
        group.start_soon(log.run)
        for number in range(60):
            log.note_dialogue("copier", replace(GOOD, at=float(number)))
            await anyio.sleep(0.5)
        log.note_dialogue("copier", replace(GOOD, at=60.0))
        group.cancel_scope.cancel()
    assert counting.writes <= 18
    assert (await log.dialogues("copier"))[0].at == 60.0
