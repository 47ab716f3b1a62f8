"""A poll: which mails are fetched, deleted, kept, skipped and handled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.connection_test import check_connection as connection_test
from mailslot.errors import MailError
from mailslot.service import poller
from mailslot.service.pipeline import Later
from mailslot.slots.slot import SlotDirectory
from mailslot.spool.errors import full_error
from mailslot.spool.folder.files import NewFile
from mailslot.spool.limits import SpoolLimits
from mailslot_plugins.sandbox import DOVECOT, EXCHANGE, GMAIL, Fault
from service.polling_device import RECORD, mail, run_polling_device

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot_plugins.sandbox.personality import Personality

pytestmark = pytest.mark.virtual_time

personalities = pytest.mark.parametrize("personality", [DOVECOT, EXCHANGE, GMAIL], ids=lambda each: each.name)


@personalities
async def test_new_mail_is_fetched_deleted_and_handled_once(tmp_path: Path, personality: Personality) -> None:
    async with run_polling_device(tmp_path, personality) as harness:
        harness.add("one", "two", "three")
        report = await harness.poll()
        assert (report.ok, report.listed, report.fetched, report.deleted) == (True, 3, 3, 3)
        assert harness.keeper.subjects == ["one", "two", "three"]
        first = report.handled[0]
        assert (first.outcome, first.note, first.subject) == ("done", "kept one", "one")
        assert first.sender == "Alice <alice@example.com>"
        assert harness.maildrop.messages == []
        harness.clocks.set(400)
        assert (await harness.poll()).handled == []
        assert not harness.sandbox.violations
        assert [mail.state for mail in await harness.device.spool.ledger.mails()] == ["done"] * 3
        assert not list((tmp_path / "spool").glob("*.mail"))


async def test_a_mail_is_deleted_after_it_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.add("one", "two")
        ledger = harness.device.spool.ledger
        original = ledger.mark_deleted
        states: list[str] = []

        async def mark_deleted(record: str, uids: list[str]) -> None:
            states.extend(mail.state for mail in await ledger.mails())
            await original(record, uids)

        monkeypatch.setattr(ledger, "mark_deleted", mark_deleted)
        await harness.poll()
        assert states == ["fetched", "fetched"]
        assert harness.verbs == [["LIST", "UIDL", "RETR", "RETR", "DELE", "DELE", "QUIT"]]


async def test_quit_commits_deletions_every_twenty_messages(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.add(*(f"mail {number}" for number in range(45)))
        report = await harness.poll()
        assert (report.fetched, report.deleted, report.left) == (45, 45, 0)
        assert [verbs.count("DELE") for verbs in harness.verbs] == [20, 20, 5]
        assert [verbs[-1] for verbs in harness.verbs] == ["QUIT"] * 3
        assert len(set(harness.keeper.subjects)) == 45


async def test_large_mails_are_committed_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailslot.service.poll_plan._BATCH_OCTETS", 100_000)
    async with run_polling_device(tmp_path) as harness:
        harness.add("one", "two", "three", size=60_000)
        assert (await harness.poll()).fetched == 3
        assert [verbs.count("DELE") for verbs in harness.verbs] == [1, 1, 1]


async def test_mail_kept_on_the_server_is_handled_once(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, after_fetch="keep") as harness:
        harness.add("one", "two")
        assert (await harness.poll()).deleted == 0
        harness.add("three")
        report = await harness.poll()
        assert (report.fetched, report.deleted, report.listed) == (1, 0, 3)
        assert harness.keeper.subjects == ["one", "two", "three"]
        assert len(harness.maildrop.messages) == 3
        assert not any("DELE" in verbs for verbs in harness.verbs)


async def test_mail_that_is_kept_takes_one_session(tmp_path: Path) -> None:
    """Nothing has to be committed, so all new mail comes in one session with one listing, and is handled in between."""
    async with run_polling_device(tmp_path, after_fetch="keep", limits=SpoolLimits(max_mails=25)) as harness:
        harness.add(*(f"mail {number}" for number in range(65)))
        report = await harness.poll()
        assert (report.fetched, len(report.handled), report.left) == (65, 65, 0)
        assert [verbs.count("RETR") for verbs in harness.verbs] == [65]
        assert [verbs.count("UIDL") for verbs in harness.verbs] == [1]
        assert (await harness.poll()).fetched == 0


async def test_a_server_is_left_while_mail_is_handled_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end the session itself, and whether it has done so does not matter."""
    monkeypatch.setattr("mailslot.service.poller._MAX_SILENCE", -1.0)
    async with run_polling_device(tmp_path, after_fetch="keep") as harness:
        harness.add(*(f"mail {number}" for number in range(45)))
        harness.sandbox.faults.append(Fault("QUIT", 1, keep=0, ending="reset"))
        report = await harness.poll()
        assert (report.ok, report.fetched, len(report.handled)) == (True, 45, 45)
        assert [verbs.count("RETR") for verbs in harness.verbs] == [20, 20, 5]


async def test_kept_mail_is_deleted_after_the_setting_changes(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, after_fetch="keep") as harness:
        harness.add("one", "two")
        await harness.poll()
        harness.set(after_fetch="delete")
        assert (await harness.poll()).deleted == 2
        assert harness.maildrop.messages == []
        assert harness.keeper.subjects == ["one", "two"]


async def test_the_first_poll_only_records_existing_mail(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, first_poll="new") as harness:
        harness.add("old", "older")
        report = await harness.poll()
        assert (report.fetched, report.deleted, report.passed_over) == (0, 0, 2)
        harness.add("new")
        report = await harness.poll()
        assert (report.fetched, report.deleted, report.passed_over) == (1, 1, 2)
        assert harness.keeper.subjects == ["new"]
        assert len(harness.maildrop.messages) == 2


async def test_another_mailbox_is_polled_for_the_first_time(tmp_path: Path) -> None:
    """Unique-ids of one mailbox mean nothing in another one; those of the sandbox are alike."""
    async with run_polling_device(tmp_path, first_poll="new") as harness:
        await harness.poll()
        harness.add("one")
        await harness.poll()
        other = harness.sandbox.maildrops["alice@example.com"]
        other.add(mail("there before"))
        harness.sign_in("alice@example.com")
        assert (await harness.poll()).passed_over == 1
        other.add(mail("new there"))
        assert (await harness.poll()).fetched == 1
        assert harness.keeper.subjects == ["one", "new there"]
        assert [b"there before" in each.content for each in other.messages] == [True]


async def test_undeleted_mail_is_not_reported_as_deleted(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.add("one", "two", "three")
        harness.sandbox.faults.append(Fault("DELE", 2, act=False, replace=b"-ERR no\r\n"))
        report = await harness.poll()
        assert (report.ok, report.fetched, report.deleted) == (True, 3, 2)
        assert [note for note in report.notes if "does not delete 1 of 3 mails" in note]
        known = await harness.device.spool.ledger.known_uids(RECORD)
        assert sorted(each.deleted for each in known.values()) == [False, True, True]
        harness.sandbox.faults.clear()
        report = await harness.poll()
        assert (report.fetched, report.deleted, harness.maildrop.messages) == (0, 1, [])


async def test_a_lost_reply_to_quit_duplicates_nothing(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.add("one", "two")
        harness.sandbox.faults.append(Fault("QUIT", act=False, ending="close"))
        report = await harness.poll()
        assert (report.ok, report.cause, report.retryable, report.deleted) == (False, "connection_lost", True, 0)
        assert harness.keeper.subjects == ["one", "two"]
        assert len(harness.maildrop.messages) == 2
        harness.sandbox.faults.clear()
        report = await harness.poll()
        assert (report.fetched, report.deleted, report.handled) == (0, 2, [])
        assert harness.maildrop.messages == []


@personalities
@pytest.mark.parametrize("keep", [0, 1, 40, 20_000])
async def test_a_connection_lost_during_a_mail_loses_nothing(
    tmp_path: Path, personality: Personality, keep: int
) -> None:
    async with run_polling_device(tmp_path, personality) as harness:
        harness.add("one", "two", "three", size=100_000)
        harness.sandbox.faults.append(Fault("RETR", 2, keep=keep, ending="reset"))
        report = await harness.poll()
        assert (report.ok, report.cause) == (False, "connection_lost")
        assert harness.keeper.subjects == ["one"]
        assert len(harness.maildrop.messages) == 3, "without QUIT nothing is gone"
        assert harness.verbs[0][-1] != "QUIT"
        harness.sandbox.faults.clear()
        harness.clocks.set(400)
        assert (await harness.poll()).fetched == 2
        assert sorted(harness.keeper.subjects) == ["one", "three", "two"]
        assert harness.maildrop.messages == []


async def test_a_full_disk_ends_the_session_without_quit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gmail takes a mail out of the maildrop once it was retrieved and QUIT was said."""
    async with run_polling_device(tmp_path, GMAIL) as harness:
        harness.add("one", "two", size=600_000)
        real, writes = NewFile.write, 0

        def write(self: NewFile, data: bytes) -> None:
            nonlocal writes
            writes += 1
            if writes == 5:
                raise full_error("The disk is full.")
            real(self, data)

        monkeypatch.setattr("mailslot.spool.folder.files.NewFile.write", write)
        report = await harness.poll()
        assert (report.cause, report.sentence) == ("spool_full", "The disk is full.")
        assert harness.verbs[0][-1] != "QUIT"
        assert len(harness.maildrop.messages) == 2
        monkeypatch.undo()
        harness.clocks.set(400)
        await harness.poll()
        assert sorted(harness.keeper.subjects) == ["one", "two"]


async def test_the_maildrop_is_locked(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.add("one")
        harness.maildrop.locked = True
        report = await harness.poll()
        assert (report.cause, report.retryable) == ("mailbox_in_use", True)
        harness.maildrop.locked = False
        assert (await harness.poll()).fetched == 1


async def test_another_process_polls_the_same_record(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness, harness.device.spool.ledger.polling_lock(RECORD):
        with pytest.raises(MailError, match="polling this mailbox") as caught:
            await harness.poll()
        assert caught.value.cause == "spool_busy"


async def test_nothing_is_set_up(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.set(server=None)
        report = await harness.poll()
        assert (report.cause, report.sentence) == ("not_configured", "The mail server is not set.")


async def test_the_sign_in_method_is_not_set(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.set(authentication=None)
        report = await harness.poll()
        assert report.cause == "not_configured"
        assert "set authentication to oauth2 or password" in report.sentence


async def test_errors_have_the_text_of_the_connection_test(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        (tmp_path / "token").write_text("an-old-token-that-is-none")
        report = await harness.poll()
        tested = await connection_test(harness.device.connector, SlotDirectory().find("status.pop"))
        assert report.cause == tested.diagnosis.cause == "token_refused"
        assert report.sentence == explain(tested.diagnosis).message


async def test_one_mail_cannot_be_retrieved(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as harness:
        harness.add("one", "bad", "three")
        harness.sandbox.faults.append(Fault("RETR", 2, act=False, replace=b"-ERR [SYS/TEMP] Not now\r\n"))
        report = await harness.poll()
        assert (report.ok, report.fetched) == (True, 2)
        assert "does not give mail 2" in report.notes[0]
        harness.sandbox.faults[0] = Fault("RETR", 0, act=False, replace=b"-ERR Never\r\n")
        await harness.poll()
        await harness.poll()
        report = await harness.poll()
        assert report.refused == 1
        assert "could not be fetched in 3 attempts; it stays on the server" in report.notes[0]
        harness.add("four")
        harness.sandbox.faults.clear()
        assert (await harness.poll()).fetched == 1
        assert harness.keeper.subjects == ["one", "three", "four"]
        assert len(harness.maildrop.messages) == 1
        assert (await harness.poll(again=True)).fetched == 1
        assert harness.keeper.subjects[-1] == "bad"
        assert harness.maildrop.messages == []


async def test_a_mail_over_the_limit_is_recorded_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "MAX_MAIL_OCTETS", 50_000)
    async with run_polling_device(tmp_path) as harness:
        harness.add("small")
        harness.add("enormous", size=200_000)
        harness.add("small too")
        report = await harness.poll()
        assert (report.fetched, report.refused) == (2, 1)
        assert "Alice <alice@example.com>, subject enormous" in report.notes[0]
        assert harness.verbs[0] == ["LIST", "UIDL", "TOP", "RETR", "RETR", "DELE", "DELE", "QUIT"]
        assert len(harness.maildrop.messages) == 1
        report = await harness.poll()
        assert (report.notes, harness.verbs[1]) == ([], ["LIST", "UIDL", "QUIT"])


async def test_a_mail_longer_than_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "MAX_MAIL_OCTETS", 50_000)
    async with run_polling_device(tmp_path, GMAIL) as harness:
        harness.add("endless", size=2_000_000)
        harness.add("small")
        listing = b"+OK\r\n1 10\r\n2 10\r\n.\r\n"
        harness.sandbox.faults.append(Fault("LIST", replace=listing, connection=1))
        report = await harness.poll()
        assert report.refused == 1
        assert harness.verbs[0][-1] != "QUIT"
        assert len(harness.maildrop.messages) == 1
        assert harness.keeper.subjects == ["small"]
        # A person who asks for it again has it fetched once more, and not for ever.
        harness.add("another")
        harness.sandbox.faults[:] = [Fault("LIST", replace=b"+OK\r\n1 10\r\n2 10\r\n.\r\n")]
        sessions = len(harness.verbs)
        harness.clocks.set(400)
        report = await harness.poll(again=True)
        assert (report.ok, report.fetched, report.refused) == (True, 1, 1)
        assert harness.keeper.subjects == ["small", "another"]
        assert len(harness.verbs) == sessions + 2
        assert sum(verbs.count("RETR") for verbs in harness.verbs[sessions:]) == 2


async def test_too_large_mails_with_changing_unique_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "MAX_MAIL_OCTETS", 50_000)
    async with run_polling_device(tmp_path) as harness:
        harness.add("endless", size=200_000)
        harness.sandbox.faults.append(Fault("LIST", replace=b"+OK\r\n1 10\r\n.\r\n"))
        for number in range(1, 40):
            listing = b"+OK\r\n1 another-%d\r\n.\r\n" % number
            harness.sandbox.faults.append(Fault("UIDL", replace=listing, connection=number))
        with anyio.fail_after(60):
            report = await harness.poll()
        assert report.refused == len(harness.verbs) == poller._MAX_OVERSIZED


async def test_an_unexpected_maildrop_error_delays_no_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def later(_mail: object, _subject: str) -> Later:
        return Later(1.0, "not yet")

    def broken(_access: object) -> None:
        raise KeyError("hunter2")

    async with run_polling_device(tmp_path) as harness:
        harness.add("one")
        harness.keeper.answer = later
        assert (await harness.poll()).fetched == 1
        harness.keeper.answer = None
        harness.clocks.set(400)
        monkeypatch.setattr(poller, "open_maildrop", broken)
        report = await harness.poll()
        assert (report.ok, report.retryable, harness.keeper.subjects) == (False, True, ["one"])
        assert "KeyError, raised at" in report.sentence
        assert "hunter2" not in report.sentence
