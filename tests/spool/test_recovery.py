"""Recovery after a dead process, without disturbing living ones."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot import InputError
from mailslot.oauth.location import locate
from mailslot.spool.folder.files import NewFile, mark_released
from mailslot.spool.folder.recovery import recover
from mailslot.spool.job import RecipientRefusal
from mailslot.spool.recovery import Recovery
from mailslot.spool.spool import Spool
from spool.conftest import MESSAGE, Clock, files, message, new, octets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mailslot.spool.incoming import Incoming


@pytest.fixture(autouse=True)
async def delivering(spool: Spool) -> AsyncIterator[None]:
    async with spool.delivery_lock():
        yield


async def receive(spool: Spool, uid: str) -> Incoming:
    async with spool.ledger.receive("status-pop", uid) as file:
        await file.write(b"Subject: " + uid.encode() + b"\r\n\r\n")
    assert file.mail is not None
    return file.mail


async def test_nothing_to_recover(spool: Spool) -> None:
    await spool.accept(new(), message())
    await receive(spool, "u1")
    assert await spool.recover() == Recovery()


async def test_interrupted_jobs_are_queued_and_jobs_in_doubt_unchanged(spool: Spool) -> None:
    for _ in range(3):
        await spool.accept(new("a@example.com", "b@example.com", "c@example.com"), message())
    for _ in range(2):
        await spool.claim("smtp")
    await spool.hand_over(2)
    await spool.record_replies(2, accepted=["a@example.com"], refused={"b@example.com": RecipientRefusal("550 no")})
    await spool.claim("smtp")
    await spool.hand_over(2)
    before = await spool.job(2)
    assert (await spool.recover()).requeued == (1,)
    assert (await spool.job(1)).state == "queued"
    # A job that kills its process each time must not be tried without end.
    assert (await spool.job(1)).attempts == 1
    after = await spool.job(2)
    # Whoever waited for the answer has died.
    assert (before.delivering, after.delivering) == (True, False)
    assert "the answer never came; it may arrive twice" in after.sentence
    assert replace(after, delivering=True, sentence=before.sentence) == before
    assert [each.state for each in before.recipients] == ["accepted", "refused", "waiting"]


async def test_unknown_files(spool: Spool, home: Path) -> None:
    await spool.accept(new(), message())
    for name in ("a.job", "b.job.new", "c.status-pop.mail", "d.status-pop.mail.new"):
        (home / "spool" / name).write_bytes(b"x" * 100)
    (home / "spool" / "notes.txt").write_bytes(b"a person's")
    recovered = await spool.recover()
    assert (recovered.files, recovered.octets) == (4, 400)
    assert len(files(home)) == 1
    assert (home / "spool" / "notes.txt").exists()


async def test_files_being_written(spool: Spool, home: Path) -> None:
    unfinished, finished = spool._storage.new_file(".job"), spool._storage.new_file(".job")
    unfinished.write(b"x")

    def recovered_before_it_is_known(name_file: Callable[[], None]) -> None:
        name_file()
        location = locate(home / "spool" / "delivery.lock")
        assert recover(spool._storage, home / "spool", Clock(), location) == Recovery()
        assert len(files(home)) == 2

    finished.commit(b"x", recovered_before_it_is_known)
    mark_released(finished.path)
    unfinished.discard()
    # Nobody made the other one known.
    assert (await spool.recover()).files == 1
    assert files(home) == []


async def test_a_file_that_is_registered_while_recovery_opens_it(
    spool: Spool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = NewFile(spool._storage.database, ".job")
    accepted.write(b"x")
    open_file = os.open

    def open_late(path: Path, flags: int, *mode: int) -> int:
        descriptor = open_file(path, flags, *mode)
        if path.suffix == ".new" and not accepted.closed:
            monkeypatch.undo()
            accepted.commit(b"", lambda name_file: name_file())
        return descriptor

    monkeypatch.setattr(os, "open", open_late)
    assert await spool.recover() == Recovery()
    assert files(home) == [accepted.name]


async def test_recovery_while_others_accept(spool: Spool, home: Path, clock: Clock) -> None:
    done = 0

    async def accept(through: Spool, name: str) -> None:
        nonlocal done
        for n in range(20):
            await through.accept(new(), message(MESSAGE * 1000))
            await receive(through, f"{name}{n}")
            done += 1

    async with Spool(home, clock=clock) as other:
        async with anyio.create_task_group() as group:
            group.start_soon(accept, other, "a")
            group.start_soon(accept, spool, "b")
            while done < 40:
                recovered = await spool.recover()
                # A file may be taken between its making and its first octet: its writer then makes another.
                assert replace(recovered, files=0) == Recovery()
        assert len(await other.jobs()) == 40
        assert len(files(home)) == 80
        for job in await other.jobs():
            assert await octets(other.content(job)) == MESSAGE * 1000


@pytest.mark.parametrize("missing", [True, False])
async def test_a_missing_or_truncated_message(spool: Spool, home: Path, missing: bool) -> None:
    for n in range(6):
        await spool.accept(new(via=str(n)), message())
    await spool.claim("1")
    await spool.defer(2, 1e12, "server_busy", "")
    await spool.claim("3")
    await spool.hand_over(4)
    await spool.fail(5, "content_refused", "No.")
    await spool.cancel(6)
    for name in files(home):
        path = home / "spool" / name
        if missing:
            path.unlink()
        else:
            os.truncate(path, path.stat().st_size - 1)
    recovered = await spool.recover()
    assert recovered.failed == (1, 2, 3, 4, 5)
    jobs = {job.id: job for job in await spool.jobs()}
    states = [jobs[n].state for n in range(1, 7)]
    assert states == ["failed", "failed", "failed", "in_doubt", "failed", "cancelled"]
    assert jobs[1].cause == "spool_unreadable"
    assert "missing or incomplete in the spool" in jobs[1].sentence
    assert jobs[5].cause == "content_refused"
    assert files(home) == []
    # What is left is kept for a while, and is no message.
    assert len(files(home, ".job.damaged")) == (0 if missing else 5)
    for number in (1, 4):
        with pytest.raises(InputError, match="not kept any more"):
            await spool.retry(number)
    assert await spool.recover() == Recovery()


async def test_a_missing_mail(spool: Spool, home: Path) -> None:
    mails = [await receive(spool, f"u{n}") for n in range(4)]
    await spool.ledger.begin_handling(mails[1].id)
    await spool.ledger.mark_deleted("status-pop", ["u2"])
    for mail in mails[:3]:
        assert mail.path is not None
        mail.path.unlink()
    assert (await spool.recover()).lost_mails == (1, 2, 3)
    known = await spool.ledger.known_uids("status-pop")
    # Still on the server, and nothing was done with it: it is fetched anew. The others may have been handled.
    assert (known["u0"].mail, known["u0"].state) == (None, None)
    assert [known[uid].state for uid in ("u1", "u2", "u3")] == ["set_aside", "set_aside", "fetched"]
    assert "missing or incomplete" in (await spool.ledger.mail(2)).reason
    again = await receive(spool, "u0")
    assert (again.state, again.tries) == ("fetched", 0)
    # One that the server still had is kept again, for a person.
    back = await receive(spool, "u1")
    assert (back.id, back.state) == (2, "set_aside")
    assert back.path is not None
    assert back.path.exists()
    assert await spool.recover() == Recovery()


async def test_a_file_whose_deletion_was_not_completed(
    spool: Spool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process died after the job had ended and before its file was gone."""
    await spool.accept(new(), message())
    monkeypatch.setattr("mailslot.spool.folder.storage.remove_file", lambda path: None)
    await spool.cancel(1)
    assert len(files(home)) == 1
    assert (await spool.recover()).files == 1
