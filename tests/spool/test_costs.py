"""What a job and a mail cost the disk: counted, since a disk's speed is its own. Not less, either: each is promised."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from mailslot.spool.database import Database
from spool.conftest import message, new

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.spool.spool import Spool


class Costs:
    """What was done to the disk.

    Attributes:
        syncs: of files and folders; SQLite's own are as many as commits.
        commits: transactions that write.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.syncs = self.commits = 0
        sync, write = os.fsync, Database.write_blocking

        def counted_sync(descriptor: int) -> None:
            self.syncs += 1
            sync(descriptor)

        def counted_write(database: Database, work: Callable[..., Any]) -> Any:
            self.commits += 1
            return write(database, work)

        patch.setattr(os, "fsync", counted_sync)
        patch.setattr(Database, "write_blocking", counted_write)

    def since(self) -> tuple[int, int]:
        """Return the syncs and commits since the last call."""
        found = self.syncs, self.commits
        self.syncs = self.commits = 0
        return found


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> Costs:
    return Costs(monkeypatch)


async def test_cost_of_a_job(spool: Spool, costs: Costs) -> None:
    job = await spool.accept(new(), message())
    assert costs.since() == (2, 1), "its file, the folder that names it, and its row"
    async with spool.delivery_lock():
        await spool.claim("smtp")
        await spool.hand_over(job.id)
        await spool.record_replies(job.id, accepted=["to@example.com"])
    assert costs.since() == (0, 3), "one commit a state"


async def test_cost_of_a_fetched_mail(spool: Spool, costs: Costs) -> None:
    ledger = spool.ledger
    async with ledger.polling_lock("status-pop"):
        costs.since()
        async with ledger.receive("status-pop", "uid", 9) as file:
            await ledger.count_fetch("status-pop", "uid")
            await file.write(b"a: b\r\n\r\nc")
        assert costs.since() == (2, 2), "its file, its folder, its row; and before its first octet, the try"
        assert file.mail is not None
        await ledger.begin_handling(file.mail.id)
        await ledger.mark_done(file.mail.id)
        assert costs.since() == (0, 2)
