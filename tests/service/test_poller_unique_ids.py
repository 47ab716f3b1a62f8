"""Unique-ids that are missing, repeated or renumbered; and servers with a login delay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot.pop3.listing import Entry
from mailslot.service import poller
from mailslot.service.poll_plan import plan_poll
from mailslot.spool.incoming import KnownUid
from mailslot_plugins.sandbox import DOVECOT, GMAIL, Fault
from service.polling_device import mail, run_polling_device

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot_plugins.sandbox.maildrop import Maildrop

pytestmark = pytest.mark.virtual_time

NO_UIDL = Fault("UIDL", act=False, replace=b"-ERR Unknown command\r\n")


def renumber(maildrop: Maildrop, prefix: str) -> None:
    """Give all mails new unique-ids, as a server does that was moved."""
    maildrop.messages = [replace(message, uid=f"{prefix}{message.uid}") for message in maildrop.messages]


async def test_new_unique_ids_for_known_mails_duplicate_nothing(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, after_fetch="keep") as harness:
        harness.add("one", "two")
        await harness.poll()
        renumber(harness.maildrop, "new-")
        harness.add("three")
        report = await harness.poll()
        assert (report.fetched, report.copies) == (1, 2)
        assert harness.keeper.subjects == ["one", "two", "three"]
        assert (await harness.poll()).copies == 0


async def test_new_unique_ids_do_not_make_old_mails_new(tmp_path: Path) -> None:
    """What was passed over at the first poll was never read; only its date tells that it is old."""
    async with run_polling_device(tmp_path, first_poll="new") as harness:
        harness.add("old", "older")
        await harness.poll()
        renumber(harness.maildrop, "new-")
        harness.maildrop.add(mail("new").replace(b"Tue, 24 Nov 2026", b"Thu, 24 Nov 2050"))
        report = await harness.poll()
        assert (report.fetched, report.passed_over) == (1, 2)
        assert "new unique-ids" in report.notes[0]
        assert harness.keeper.subjects == ["new"]
        report = await harness.poll()
        assert (report.fetched, report.passed_over, report.notes) == (0, 2, [])


async def test_one_unique_id_for_identical_mails(tmp_path: Path) -> None:
    """RFC 1939 section 7 allows it."""
    async with run_polling_device(tmp_path) as harness:
        for _ in range(3):
            harness.maildrop.add(mail("one"), uid="same")
        report = await harness.poll()
        assert (report.fetched, report.copies, report.deleted) == (1, 2, 3)
        assert harness.keeper.subjects == ["one"]
        assert harness.maildrop.messages == []


async def test_one_unique_id_for_different_mails(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        for name in ("one", "two", "three"):
            harness.maildrop.add(mail(name), uid="same")
        assert (await harness.poll()).fetched == 3
        assert sorted(harness.keeper.subjects) == ["one", "three", "two"]
        for name in ("four", "one"):
            harness.maildrop.add(mail(name), uid="same")
        report = await harness.poll()
        assert (report.fetched, report.copies) == (1, 1)
        assert harness.keeper.subjects[-1] == "four"
        assert harness.maildrop.messages == []


async def test_a_unique_id_reused_after_deletion(tmp_path: Path) -> None:
    """RFC 1939 section 7 forbids that only as long as the mail exists: some servers number what is there."""
    async with run_polling_device(tmp_path) as harness:
        for name in ("one", "two"):
            harness.maildrop.add(mail(name), uid="1")
            assert (await harness.poll()).fetched == 1
            assert (await harness.poll()).listed == 0, "it is seen to be gone"
        assert harness.keeper.subjects == ["one", "two"]
        for name in ("three", "thirteen"):
            harness.maildrop.add(mail(name), uid="1")
            assert (await harness.poll()).fetched == 1, "nobody has looked in between"
        assert harness.keeper.subjects == ["one", "two", "three", "thirteen"]
        assert harness.maildrop.messages == []


async def test_a_mail_that_reappears_after_deletion(tmp_path: Path) -> None:
    """Such as from a backup of the server, whether or not somebody has looked in between."""
    async with run_polling_device(tmp_path) as harness:
        for look in (True, False):
            harness.maildrop.add(mail("one"), uid="1")
            report = await harness.poll()
            assert report.deleted == 1
            if look:
                await harness.poll()
        assert harness.keeper.subjects == ["one"]
        assert harness.maildrop.messages == []


async def test_a_server_that_never_deletes_is_not_refetched_at_each_poll(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.maildrop.add(mail("one"), uid="1")
        there = list(harness.maildrop.messages)
        for _ in range(3):
            await harness.poll()
            harness.maildrop.messages = list(there)
        assert [verbs.count("RETR") for verbs in harness.verbs] == [1, 0, 0]
        assert harness.keeper.subjects == ["one"]


async def test_no_unique_ids_at_all(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.sandbox.faults.append(NO_UIDL)
        harness.add("one", "two")
        assert (await harness.poll()).deleted == 2
        harness.maildrop.add(mail("one"))
        harness.add("three")
        report = await harness.poll()
        assert (report.fetched, report.copies) == (1, 1)
        assert harness.keeper.subjects == ["one", "two", "three"]
        assert harness.maildrop.messages == []


async def test_too_large_and_without_a_unique_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger cannot note it, and the listing does not tell its size: it is fetched once a poll, not for ever."""
    monkeypatch.setattr(poller, "MAX_MAIL_OCTETS", 50_000)
    async with run_polling_device(tmp_path) as harness:
        harness.add("one")
        harness.add("endless", size=200_000)
        harness.add("two")
        harness.sandbox.faults += [NO_UIDL, Fault("LIST", replace=b"+OK\r\n1 10\r\n2 10\r\n3 10\r\n.\r\n")]
        with anyio.fail_after(120):
            report = await harness.poll()
        assert (report.fetched, report.refused, report.left) == (2, 1, 0)
        assert harness.keeper.subjects == ["one", "two"]
        assert [message.content for message in harness.maildrop.messages] == [mail("endless", 200_000)]
        assert len(harness.sandbox.dialogues) == 2


async def test_unretrievable_mails_do_not_delay_others(tmp_path: Path) -> None:
    """Without unique-ids nothing counts how often each was tried: they are asked for once a poll, not for ever."""
    async with run_polling_device(tmp_path) as harness:
        for number in range(25):
            harness.add(f"mail {number}")
        refused = [Fault("RETR", n, connection=1, act=False, replace=b"-ERR no\r\n") for n in range(1, 23)]
        harness.sandbox.faults += [NO_UIDL, *refused]
        with anyio.fail_after(60):
            report = await harness.poll()
        assert (report.ok, report.left) == (True, 0)
        assert harness.keeper.subjects == [f"mail {number}" for number in range(20, 25)]


@pytest.mark.parametrize(
    ("settings", "setting"),
    [({"after_fetch": "keep"}, "after_fetch to delete"), ({"first_poll": "new"}, "first_poll to all")],
)
async def test_without_unique_ids_keeping_mail_is_refused(
    tmp_path: Path, settings: dict[str, str], setting: str
) -> None:
    async with run_polling_device(tmp_path, **settings) as harness:
        harness.sandbox.faults.append(NO_UIDL)
        harness.add("one")
        report = await harness.poll()
        assert report.cause == "not_configured"
        assert setting in report.sentence
        assert len(harness.maildrop.messages) == 1
        assert harness.keeper.subjects == []


async def test_the_announced_login_delay_is_respected(tmp_path: Path) -> None:
    """Gmail says LOGIN-DELAY 300: one session fetches all, and the next poll is refused here, not there."""
    async with run_polling_device(tmp_path, GMAIL) as harness:
        harness.add(*(f"mail {number}" for number in range(30)))
        report = await harness.poll()
        assert (report.fetched, report.pause) == (30, 305)
        assert len(harness.sandbox.dialogues) == 1
        report = await harness.poll()
        assert (report.cause, report.retryable) == ("login_delay", True)
        assert 300 < report.pause <= 305
        assert len(harness.sandbox.dialogues) == 1, "it was not even asked"
        harness.clocks.set(-1000)
        assert (await harness.poll()).ok, "a clock that was set back does not keep the device from polling"
        harness.clocks.set(400)
        assert (await harness.poll()).ok


async def test_an_unannounced_login_delay(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, replace(DOVECOT, login_delay=60)) as harness:
        harness.add(*(f"mail {number}" for number in range(30)))
        report = await harness.poll()
        assert (report.fetched, report.deleted, report.cause) == (20, 20, "login_delay")
        assert report.pause >= 60
        assert len(harness.keeper.subjects) == 20
        assert len(harness.maildrop.messages) == 10


entries = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c", "d"]), st.integers(0, 3000)), max_size=12).map(
    lambda found: [Entry(number, uid, size) for number, (uid, size) in enumerate(found, 1)]
)
known = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.builds(
        KnownUid,
        uid=st.just(""),
        mail=st.none() | st.just(1),
        state=st.sampled_from(["fetched", "done", "set_aside", "passed_over", None]),
        tries=st.integers(0, 4),
        deleted=st.booleans(),
        size=st.none() | st.integers(0, 3000),
    ),
)


@given(entries, known, st.booleans(), st.booleans())
def test_a_plan_deletes_only_stored_mails(
    listed: list[Entry], ledger: dict[str, KnownUid], deletes: bool, again: bool
) -> None:
    plan = plan_poll(listed, ledger, deletes=deletes, max_octets=2000, retry_set_aside=again)
    wanted = [entry.number for group in plan.to_fetch for entry in group]
    parts = [*wanted, *(entry.number for part in (plan.to_delete, plan.refused, plan.passed_over) for entry in part)]
    assert len(parts) == len(set(parts))
    assert set(parts) <= {entry.number for entry in listed}
    uids = [entry.uid for entry in listed]
    for entry in plan.to_delete:
        assert deletes
        assert ledger[entry.uid].state in {"fetched", "done"}
        assert uids.count(entry.uid) == 1
        assert entry.uid not in plan.reused
    for entry in listed:
        state = ledger[entry.uid].state if entry.uid in ledger else None
        if state == "passed_over" and entry.uid:
            assert entry.number not in wanted
        if entry.size <= 2000 and (not entry.uid or entry.uid not in ledger):
            assert entry.number in wanted
    batches: list[int] = []
    while plan.to_fetch:
        batches += [entry.number for entry in plan.next_batch(long=False)]
    assert batches == wanted
