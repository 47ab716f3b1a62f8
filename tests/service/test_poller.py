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
from mailslot.spool.files import NewFile
from mailslot.spool.limits import SpoolLimits
from mailslot_plugins.sandbox import DOVECOT, EXCHANGE, GMAIL, Fault
from service.polling_device import RECORD, mail, run_polling_device

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot_plugins.sandbox.personality import Personality

personalities = pytest.mark.parametrize("personality", [DOVECOT, EXCHANGE, GMAIL], ids=lambda each: each.name)


@personalities
async def test_new_mail_is_fetched_deleted_and_handled_once(tmp_path: Path, personality: Personality) -> None:
    async with run_polling_device(tmp_path, personality) as box:
        box.add("one", "two", "three")
        report = await box.poll()
        assert (report.ok, report.listed, report.fetched, report.deleted) == (True, 3, 3, 3)
        assert box.keeper.subjects == ["one", "two", "three"]
        first = report.handled[0]
        assert (first.outcome, first.note, first.subject) == ("done", "kept one", "one")
        assert first.sender == "Alice <alice@example.com>"
        assert box.maildrop.messages == []
        box.clocks.set(400)
        assert (await box.poll()).handled == []
        assert not box.sandbox.violations
        assert [mail.state for mail in await box.device.spool.ledger.mails()] == ["done"] * 3
        assert not list((tmp_path / "spool").glob("*.mail"))


async def test_a_mail_is_deleted_after_it_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_polling_device(tmp_path) as box:
        box.add("one", "two")
        ledger = box.device.spool.ledger
        told = ledger.mark_deleted
        safe: list[str] = []

        async def mark_deleted(record: str, uids: list[str]) -> None:
            safe.extend(mail.state for mail in await ledger.mails())
            await told(record, uids)

        monkeypatch.setattr(ledger, "mark_deleted", mark_deleted)
        await box.poll()
        assert safe == ["fetched", "fetched"]
        assert box.verbs == [["LIST", "UIDL", "RETR", "RETR", "DELE", "DELE", "QUIT"]]


async def test_quit_commits_deletions_every_twenty_messages(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as box:
        box.add(*(f"mail {number}" for number in range(45)))
        report = await box.poll()
        assert (report.fetched, report.deleted, report.left) == (45, 45, 0)
        assert [verbs.count("DELE") for verbs in box.verbs] == [20, 20, 5]
        assert [verbs[-1] for verbs in box.verbs] == ["QUIT"] * 3
        assert len(set(box.keeper.subjects)) == 45


async def test_large_mails_are_committed_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailslot.service.poll_plan._BATCH_OCTETS", 100_000)
    async with run_polling_device(tmp_path) as box:
        box.add("one", "two", "three", size=60_000)
        assert (await box.poll()).fetched == 3
        assert [verbs.count("DELE") for verbs in box.verbs] == [1, 1, 1]


async def test_mail_kept_on_the_server_is_handled_once(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, after_fetch="keep") as box:
        box.add("one", "two")
        assert (await box.poll()).deleted == 0
        box.add("three")
        report = await box.poll()
        assert (report.fetched, report.deleted, report.listed) == (1, 0, 3)
        assert box.keeper.subjects == ["one", "two", "three"]
        assert len(box.maildrop.messages) == 3
        assert not any("DELE" in verbs for verbs in box.verbs)


async def test_mail_that_is_kept_takes_one_session(tmp_path: Path) -> None:
    """Nothing has to be committed, so all new mail comes in one session with one listing, and is handled in between."""
    async with run_polling_device(tmp_path, after_fetch="keep", limits=SpoolLimits(max_mails=25)) as box:
        box.add(*(f"mail {number}" for number in range(65)))
        report = await box.poll()
        assert (report.fetched, len(report.handled), report.left) == (65, 65, 0)
        assert [verbs.count("RETR") for verbs in box.verbs] == [65]
        assert [verbs.count("UIDL") for verbs in box.verbs] == [1]
        assert (await box.poll()).fetched == 0


async def test_a_server_is_left_while_mail_is_handled_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end the session itself, and whether it has done so does not matter."""
    monkeypatch.setattr("mailslot.service.poller._MAX_SILENCE", -1.0)
    async with run_polling_device(tmp_path, after_fetch="keep") as box:
        box.add(*(f"mail {number}" for number in range(45)))
        box.sandbox.faults.append(Fault("QUIT", 1, keep=0, ending="reset"))
        report = await box.poll()
        assert (report.ok, report.fetched, len(report.handled)) == (True, 45, 45)
        assert [verbs.count("RETR") for verbs in box.verbs] == [20, 20, 5]


async def test_kept_mail_is_deleted_after_the_setting_changes(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, after_fetch="keep") as box:
        box.add("one", "two")
        await box.poll()
        box.set(after_fetch="delete")
        assert (await box.poll()).deleted == 2
        assert box.maildrop.messages == []
        assert box.keeper.subjects == ["one", "two"]


async def test_the_first_poll_only_records_existing_mail(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path, first_poll="new") as box:
        box.add("old", "older")
        report = await box.poll()
        assert (report.fetched, report.deleted, report.passed_over) == (0, 0, 2)
        box.add("new")
        report = await box.poll()
        assert (report.fetched, report.deleted, report.passed_over) == (1, 1, 2)
        assert box.keeper.subjects == ["new"]
        assert len(box.maildrop.messages) == 2


async def test_another_mailbox_is_polled_for_the_first_time(tmp_path: Path) -> None:
    """Unique-ids of one mailbox mean nothing in another one; those of the sandbox are alike."""
    async with run_polling_device(tmp_path, first_poll="new") as box:
        await box.poll()
        box.add("one")
        await box.poll()
        other = box.sandbox.maildrops["alice@example.com"]
        other.add(mail("there before"))
        box.sign_in("alice@example.com")
        assert (await box.poll()).passed_over == 1
        other.add(mail("new there"))
        assert (await box.poll()).fetched == 1
        assert box.keeper.subjects == ["one", "new there"]
        assert [b"there before" in each.content for each in other.messages] == [True]


async def test_undeleted_mail_is_not_reported_as_deleted(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as box:
        box.add("one", "two", "three")
        box.sandbox.faults.append(Fault("DELE", 2, act=False, replace=b"-ERR no\r\n"))
        report = await box.poll()
        assert (report.ok, report.fetched, report.deleted) == (True, 3, 2)
        assert [note for note in report.notes if "does not delete 1 of 3 mails" in note]
        known = await box.device.spool.ledger.known_uids(RECORD)
        assert sorted(each.deleted for each in known.values()) == [False, True, True]
        box.sandbox.faults.clear()
        report = await box.poll()
        assert (report.fetched, report.deleted, box.maildrop.messages) == (0, 1, [])


async def test_a_lost_reply_to_quit_duplicates_nothing(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as box:
        box.add("one", "two")
        box.sandbox.faults.append(Fault("QUIT", act=False, ending="close"))
        report = await box.poll()
        assert (report.ok, report.cause, report.retryable, report.deleted) == (False, "connection_lost", True, 0)
        assert box.keeper.subjects == ["one", "two"]
        assert len(box.maildrop.messages) == 2
        box.sandbox.faults.clear()
        report = await box.poll()
        assert (report.fetched, report.deleted, report.handled) == (0, 2, [])
        assert box.maildrop.messages == []


@personalities
@pytest.mark.parametrize("keep", [0, 1, 40, 20_000])
async def test_a_connection_lost_during_a_mail_loses_nothing(
    tmp_path: Path, personality: Personality, keep: int
) -> None:
    async with run_polling_device(tmp_path, personality) as box:
        box.add("one", "two", "three", size=100_000)
        box.sandbox.faults.append(Fault("RETR", 2, keep=keep, ending="reset"))
        report = await box.poll()
        assert (report.ok, report.cause) == (False, "connection_lost")
        assert box.keeper.subjects == ["one"]
        assert len(box.maildrop.messages) == 3, "without QUIT nothing is gone"
        assert box.verbs[0][-1] != "QUIT"
        box.sandbox.faults.clear()
        box.clocks.set(400)
        assert (await box.poll()).fetched == 2
        assert sorted(box.keeper.subjects) == ["one", "three", "two"]
        assert box.maildrop.messages == []


async def test_a_full_disk_ends_the_session_without_quit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gmail takes a mail out of the maildrop once it was retrieved and QUIT was said."""
    async with run_polling_device(tmp_path, GMAIL) as box:
        box.add("one", "two", size=600_000)
        real, writes = NewFile.write, 0

        def write(self: NewFile, data: bytes) -> None:
            nonlocal writes
            writes += 1
            if writes == 5:
                raise full_error("The disk is full.")
            real(self, data)

        monkeypatch.setattr("mailslot.spool.files.NewFile.write", write)
        report = await box.poll()
        assert (report.cause, report.sentence) == ("spool_full", "The disk is full.")
        assert box.verbs[0][-1] != "QUIT"
        assert len(box.maildrop.messages) == 2
        monkeypatch.undo()
        box.clocks.set(400)
        await box.poll()
        assert sorted(box.keeper.subjects) == ["one", "two"]


async def test_the_maildrop_is_locked(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as box:
        box.add("one")
        box.maildrop.locked = True
        report = await box.poll()
        assert (report.cause, report.retryable) == ("mailbox_in_use", True)
        box.maildrop.locked = False
        assert (await box.poll()).fetched == 1


async def test_another_process_polls_the_same_record(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as box, box.device.spool.ledger.polling_lock(RECORD):
        with pytest.raises(MailError, match="polling this mailbox") as caught:
            await box.poll()
        assert caught.value.cause == "spool_busy"


async def test_nothing_is_set_up(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as box:
        box.set(server=None)
        report = await box.poll()
        assert (report.cause, report.sentence) == ("not_configured", "The mail server is not set.")


async def test_the_sign_in_method_is_not_set(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as box:
        box.set(authentication=None)
        report = await box.poll()
        assert report.cause == "not_configured"
        assert "set authentication to oauth2 or password" in report.sentence


async def test_errors_have_the_text_of_the_connection_test(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as box:
        (tmp_path / "token").write_text("an-old-token-that-is-none")
        report = await box.poll()
        tested = await connection_test(box.device.connector, SlotDirectory().find("status.pop"))
        assert report.cause == tested.diagnosis.cause == "token_refused"
        assert report.sentence == explain(tested.diagnosis).message


async def test_one_mail_cannot_be_retrieved(tmp_path: Path) -> None:
    async with run_polling_device(tmp_path) as box:
        box.add("one", "bad", "three")
        box.sandbox.faults.append(Fault("RETR", 2, act=False, replace=b"-ERR [SYS/TEMP] Not now\r\n"))
        report = await box.poll()
        assert (report.ok, report.fetched) == (True, 2)
        assert "does not give mail 2" in report.notes[0]
        box.sandbox.faults[0] = Fault("RETR", 0, act=False, replace=b"-ERR Never\r\n")
        await box.poll()
        await box.poll()
        report = await box.poll()
        assert report.refused == 1
        assert "could not be fetched in 3 tries; it stays on the server" in report.notes[0]
        box.add("four")
        box.sandbox.faults.clear()
        assert (await box.poll()).fetched == 1
        assert box.keeper.subjects == ["one", "three", "four"]
        assert len(box.maildrop.messages) == 1
        assert (await box.poll(again=True)).fetched == 1
        assert box.keeper.subjects[-1] == "bad"
        assert box.maildrop.messages == []


async def test_a_mail_over_the_limit_is_recorded_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "MAX_MAIL_OCTETS", 50_000)
    async with run_polling_device(tmp_path) as box:
        box.add("small")
        box.add("enormous", size=200_000)
        box.add("small too")
        report = await box.poll()
        assert (report.fetched, report.refused) == (2, 1)
        assert "Alice <alice@example.com>, subject enormous" in report.notes[0]
        assert box.verbs[0] == ["LIST", "UIDL", "TOP", "RETR", "RETR", "DELE", "DELE", "QUIT"]
        assert len(box.maildrop.messages) == 1
        report = await box.poll()
        assert (report.notes, box.verbs[1]) == ([], ["LIST", "UIDL", "QUIT"])


async def test_a_mail_longer_than_the_server_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "MAX_MAIL_OCTETS", 50_000)
    async with run_polling_device(tmp_path, GMAIL) as box:
        box.add("endless", size=2_000_000)
        box.add("small")
        listing = b"+OK\r\n1 10\r\n2 10\r\n.\r\n"
        box.sandbox.faults.append(Fault("LIST", replace=listing, connection=1))
        report = await box.poll()
        assert report.refused == 1
        assert box.verbs[0][-1] != "QUIT"
        assert len(box.maildrop.messages) == 1
        assert box.keeper.subjects == ["small"]
        # A person who asks for it again has it fetched once more, and not for ever.
        box.add("another")
        box.sandbox.faults[:] = [Fault("LIST", replace=b"+OK\r\n1 10\r\n2 10\r\n.\r\n")]
        sessions = len(box.verbs)
        box.clocks.set(400)
        report = await box.poll(again=True)
        assert (report.ok, report.fetched, report.refused) == (True, 1, 1)
        assert box.keeper.subjects == ["small", "another"]
        assert len(box.verbs) == sessions + 2
        assert sum(verbs.count("RETR") for verbs in box.verbs[sessions:]) == 2


async def test_too_large_mails_with_changing_unique_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "MAX_MAIL_OCTETS", 50_000)
    async with run_polling_device(tmp_path) as box:
        box.add("endless", size=200_000)
        box.sandbox.faults.append(Fault("LIST", replace=b"+OK\r\n1 10\r\n.\r\n"))
        for number in range(1, 40):
            listing = b"+OK\r\n1 another-%d\r\n.\r\n" % number
            box.sandbox.faults.append(Fault("UIDL", replace=listing, connection=number))
        with anyio.fail_after(60):
            report = await box.poll()
        assert report.refused == len(box.verbs) == poller._MAX_OVERSIZED


async def test_an_unexpected_maildrop_error_delays_no_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def later(_mail: object, _subject: str) -> Later:
        return Later(1.0, "not yet")

    def broken(_access: object) -> None:
        raise KeyError("hunter2")

    async with run_polling_device(tmp_path) as box:
        box.add("one")
        box.keeper.answer = later
        assert (await box.poll()).fetched == 1
        box.keeper.answer = None
        box.clocks.set(400)
        monkeypatch.setattr(poller, "open_maildrop", broken)
        report = await box.poll()
        assert (report.ok, report.retryable, box.keeper.subjects) == (False, True, ["one"])
        assert "KeyError, raised at" in report.sentence
        assert "hunter2" not in report.sentence
