"""Each mail is handled once, also if the server changes its unique identifiers."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import InputError
from mailslot.spool.errors import SpoolError
from mailslot.spool.mail_digest import MAX_HEADER, MailDigest
from mailslot.spool.spool import Spool
from spool.conftest import MESSAGE, NOON, SMALL, Clock, files, message, new

if TYPE_CHECKING:
    from mailslot.spool.incoming_file import IncomingFile
    from mailslot.spool.ledger import Ledger

RECORD = "status-pop"
DAY = 86400.0


@pytest.fixture
def ledger(spool: Spool) -> Ledger:
    return spool.ledger


async def receive(ledger: Ledger, uid: str, mail: bytes = MESSAGE, record: str = RECORD) -> IncomingFile:
    async with ledger.receive(record, uid, len(mail)) as file:
        for start in range(0, len(mail), 100_000):
            await file.write(mail[start : start + 100_000])
    return file


async def test_receiving_a_mail(ledger: Ledger, home: Path) -> None:
    mail = b"Subject: x\r\n\r\n" + b"y" * 1_000_000
    file = await receive(ledger, "u1", mail)
    assert file.mail is not None
    assert (file.mail.record, file.mail.uid, file.mail.state, file.mail.tries) == (RECORD, "u1", "fetched", 0)
    assert (file.mail.size, file.mail.digest, file.mail.fetched_at) == (
        len(mail),
        hashlib.sha256(mail).hexdigest(),
        NOON,
    )
    assert not file.duplicate
    async with ledger.local_file(file.mail) as path:
        assert path is not None
        assert path == file.mail.path
        assert path.read_bytes() == mail
    assert await ledger.mail(file.mail.id) == file.mail
    assert await ledger.waiting(RECORD) == [file.mail]
    assert await ledger.waiting("fax-pop") == []
    known = (await ledger.known_uids(RECORD))["u1"]
    assert (known.mail, known.state, known.deleted) == (file.mail.id, "fetched", False)


async def test_an_aborted_fetch_leaves_no_file(ledger: Ledger, home: Path) -> None:
    async def lose_the_line() -> None:
        async with ledger.receive(RECORD, "u1") as file:
            await file.write(b"x" * 1_000_000)
            assert len(files(home)) == isinstance(home, Path)
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await lose_the_line()
    with anyio.CancelScope() as scope:
        async with ledger.receive(RECORD, "u1") as file:
            await file.write(b"x" * 1_000_000)
            scope.cancel()
            await anyio.sleep_forever()
    assert files(home) == []
    assert await ledger.known_uids(RECORD) == {}
    assert await ledger.waiting(RECORD) == []


async def test_receiving_the_same_mail_again(ledger: Ledger, home: Path) -> None:
    first = await receive(ledger, "u1")
    volatile = b"X-UIDL: 7\r\nStatus: RO\r\n\tfolded\r\n" + MESSAGE
    for uid in ("u1", "u2", "", ""):
        again = await receive(ledger, uid, volatile if uid == "u2" else MESSAGE)
        assert again.duplicate
        assert again.mail == first.mail
    assert len(files(home)) == 1
    assert {uid: known.mail for uid, known in (await ledger.known_uids(RECORD)).items()} == {"u1": 1, "u2": 1}
    # Another record has mail of its own.
    assert not (await receive(ledger, "u1", record="fax-pop")).duplicate


async def test_new_unique_ids_for_the_same_mail(ledger: Ledger) -> None:
    mails = [b"Message-ID: <%d@x>\r\n\r\nbody\r\n" % n for n in range(20)]
    for n, mail in enumerate(mails):
        received = await receive(ledger, f"old-{n}", mail)
        assert received.mail is not None
        await ledger.begin_handling(received.mail.id)
        await ledger.mark_done(received.mail.id)
    for n, mail in enumerate(mails):
        assert (await receive(ledger, f"new-{n}", mail)).duplicate
    assert await ledger.waiting(RECORD) == []
    assert {known.state for known in (await ledger.known_uids(RECORD)).values()} == {"done"}


async def test_handled(ledger: Ledger, home: Path) -> None:
    await receive(ledger, "u1")
    assert (await ledger.begin_handling(1)).tries == 1
    assert (await ledger.begin_handling(1)).tries == 2
    mail = await ledger.mark_done(1, "answered")
    assert (mail.state, mail.reason, mail.path, mail.tries) == ("done", "answered", None, 2)
    assert files(home) == []
    for _ in range(2):
        assert await ledger.mark_done(1, "again") == mail
        assert await ledger.set_aside(1, "x") == mail
        assert await ledger.postpone(1, 0.0, "x") == mail
        for call in (ledger.begin_handling, ledger.retry):
            with pytest.raises(InputError) as caught:
                await call(1)
            assert caught.value.cause == "mail_state"
    with pytest.raises(InputError, match="There is no mail 9"):
        await ledger.begin_handling(9)


async def test_postponing(ledger: Ledger, clock: Clock) -> None:
    await receive(ledger, "u1")
    await receive(ledger, "u2", b"Subject: other\r\n\r\n")
    mail = await ledger.postpone(1, NOON + 60, "no paper")
    assert (mail.state, mail.reason, mail.due_at) == ("fetched", "no paper", NOON + 60)
    assert [each.id for each in await ledger.waiting(RECORD)] == [2]
    assert [each.id for each in await ledger.waiting(RECORD, NOON + 60)] == [1, 2]
    assert [each.id for each in await ledger.waiting(RECORD, NOON + 60, limit=1)] == [1]
    clock.now = NOON - 1e8
    assert [each.id for each in await ledger.waiting(RECORD)] == [1, 2]


async def test_setting_aside(ledger: Ledger, home: Path) -> None:
    await receive(ledger, "u1")
    for _ in range(3):
        await ledger.begin_handling(1)
    mail = await ledger.set_aside(1, "It could not be printed three times.")
    assert (mail.state, mail.reason) == ("set_aside", "It could not be printed three times.")
    async with ledger.local_file(mail) as path:
        assert path is not None
        assert path.exists()
    assert await ledger.waiting(RECORD) == []
    assert await ledger.mails(RECORD, states=["set_aside"]) == await ledger.mails() == [mail]
    mail = await ledger.retry(1)
    assert (mail.state, mail.tries) == ("fetched", 0)
    assert await ledger.waiting(RECORD) == [mail]


async def test_fetches_are_counted_in_advance(ledger: Ledger) -> None:
    assert [await ledger.count_fetch(RECORD, "u1") for _ in range(3)] == [1, 2, 3]
    assert [await ledger.count_fetch(RECORD, "") for _ in range(2)] == [1, 1]
    known = (await ledger.known_uids(RECORD))["u1"]
    assert (known.mail, known.state, known.tries) == (None, None, 3)
    mail = await ledger.set_aside_unfetched(RECORD, "u1", 2**40, "It is larger than any mail may be.")
    assert (mail.state, mail.size, mail.path) == ("set_aside", 2**40, None)
    assert await ledger.set_aside_unfetched(RECORD, "u1", 2**40, "again") == mail
    assert (await ledger.known_uids(RECORD))["u1"].state == "set_aside"
    with pytest.raises(InputError, match="not kept"):
        await ledger.retry(mail.id)
    # A person may have it fetched all the same; it stays aside until they say more.
    received = await receive(ledger, "u1")
    assert not received.duplicate
    assert received.mail is not None
    assert (received.mail.id, received.mail.state, received.mail.size) == (mail.id, "set_aside", len(MESSAGE))
    assert received.mail.path is not None


async def test_the_first_poll_skips_existing_mail(ledger: Ledger) -> None:
    assert not await ledger.has_polled(RECORD)
    assert not await ledger.was_lost()
    await ledger.record_first_poll(RECORD, ["a", "b", ""])
    await ledger.record_first_poll(RECORD)
    assert await ledger.has_polled(RECORD)
    assert {uid: known.state for uid, known in (await ledger.known_uids(RECORD)).items()} == {
        "a": "passed_over",
        "b": "passed_over",
    }
    await ledger.count_fetch(RECORD, "a")
    await receive(ledger, "a")
    assert (await ledger.known_uids(RECORD))["a"].state == "fetched"


async def test_another_maildrop(ledger: Ledger) -> None:
    await ledger.record_first_poll(RECORD, ["old"])
    await receive(ledger, "u1")
    await receive(ledger, "u1", record="fax-pop")
    await ledger.forget_maildrop(RECORD)
    assert not await ledger.has_polled(RECORD)
    assert await ledger.known_uids(RECORD) == {}
    assert len(await ledger.waiting(RECORD)) == 1
    assert await ledger.count_by_record() == [("fax-pop", "fetched", 1), (RECORD, "fetched", 1)]
    assert len(await ledger.known_uids("fax-pop")) == 1


async def test_mails_no_longer_listed_are_forgotten(home: Path, clock: Clock) -> None:
    async with Spool(
        home, limits=replace(SMALL, uid_retention=30 * DAY, set_aside_retention=20 * DAY), clock=clock
    ) as spool:
        ledger = spool.ledger
        for n in range(3):
            received = await receive(ledger, f"u{n}", b"%d\r\n\r\n" % n)
            assert received.mail is not None
            if n == 2:
                await ledger.set_aside(received.mail.id, "")
            else:
                await ledger.mark_done(received.mail.id)
        await ledger.mark_deleted(RECORD, ["u1", "unknown"])
        assert {uid: known.deleted for uid, known in (await ledger.known_uids(RECORD)).items()} == {
            "u0": False,
            "u1": True,
            "u2": False,
        }
        for day in range(1, 32):
            clock.now = NOON + day * DAY
            forgotten = await ledger.forget_unlisted(RECORD, ["u0"])
            assert forgotten == (1 if day in {1, 31} else 0), "at once what was deleted, later what vanished"
            await spool.prune()
            assert len(files(home)) == (1 if day <= 20 else 0)
        # What is still listed is known for as long as it is.
        clock.now = NOON + 500 * DAY
        assert await ledger.forget_unlisted(RECORD, ["u0"]) == 0
        await spool.prune()
        assert (await ledger.known_uids(RECORD))["u0"].state == "done"
        assert [mail.id for mail in await ledger.mails()] == [1]


async def test_bounds(home: Path, clock: Clock) -> None:
    async with Spool(
        home, limits=replace(SMALL, max_mails=2, max_message_size=1000, max_total_size=1500), clock=clock
    ) as spool:
        await receive(spool.ledger, "u1", b"1\r\n\r\n" + b"x" * 900)
        for mail, sentence in ((b"2" * 900, "have 0.9 kB|more than the"), (b"3" * 1001, "more than 1.0 kB")):
            with pytest.raises(SpoolError, match=sentence) as caught:
                async with spool.ledger.receive(RECORD, "u2") as file:
                    await file.write(mail)
            assert caught.value.cause == "spool_full"
        await receive(spool.ledger, "u3", b"4\r\n\r\n")
        with pytest.raises(SpoolError, match="2 fetched mails are waiting to be handled, and no more than 2 may"):
            await receive(spool.ledger, "u4", b"5\r\n\r\n")
        assert len(files(home)) == 2


async def test_mail_leaves_room_for_jobs(home: Path, clock: Clock) -> None:
    """Strangers who write to a device must not keep it from sending."""
    limits = replace(SMALL, max_total_size=3000, job_reserve=1500)
    async with Spool(home, limits=limits, clock=clock) as spool:
        await receive(spool.ledger, "u1", b"1\r\n\r\n" + b"x" * 1000)
        with pytest.raises(SpoolError, match=r"more than 1\.5 kB; further room is only for mail to be sent") as caught:
            await receive(spool.ledger, "u2", b"2\r\n\r\n" + b"x" * 1000)
        assert caught.value.cause == "spool_full"
        await spool.accept(new(), message(b"x" * 1000))


async def test_only_one_process_polls(ledger: Ledger, home: Path, clock: Clock) -> None:
    async with ledger.polling_lock(RECORD), ledger.polling_lock("fax-pop"), Spool(home, clock=clock) as other:
        with pytest.raises(SpoolError, match="polling this mailbox") as caught:
            async with other.ledger.polling_lock(RECORD):
                raise AssertionError
        assert caught.value.cause == "spool_busy"


@pytest.mark.parametrize("record", ["", "../x", "A", "a.b", "x" * 65])
async def test_invalid_record_names(ledger: Ledger, record: str) -> None:
    with pytest.raises(InputError, match="cannot name a record"):
        await receive(ledger, "u", record=record)


VOLATILE = [b"Status: RO\r\n", b"x-uidl: 9\r\n folded\r\n", b"X-Mozilla-Keys: a\r\n", b"X-Status:\r\n"]
KEPT = [b"Subject: x\r\n", b"Statusline: y\r\n folded\r\n", b"X-UID-Like: z\r\n"]


@given(
    st.lists(st.sampled_from(VOLATILE + KEPT)),
    st.sampled_from([b"\r\n\r\n", b"\r\nStatus: in the body\r\n", b""]),
    st.data(),
)
def test_the_digest(fields: list[bytes], body: bytes, data: st.DataObject) -> None:
    mail = b"".join(fields) + body
    whole, pieces = MailDigest(), MailDigest()
    whole.update(mail)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(mail)))))
    for start, end in zip([0, *cuts], [*cuts, len(mail)], strict=True):
        pieces.update(mail[start:end])
    without = hashlib.sha256(b"".join(field for field in fields if field not in VOLATILE) + body).hexdigest()
    assert pieces.hexdigest() == whole.hexdigest() == without


def test_the_digest_of_an_endless_header() -> None:
    digest = MailDigest()
    mail = b"Status: RO\r\n" + b"X: y\r\n" * MAX_HEADER
    for start in range(0, len(mail), 1000):
        digest.update(mail[start : start + 1000])
    assert digest.hexdigest() == hashlib.sha256(mail).hexdigest()
