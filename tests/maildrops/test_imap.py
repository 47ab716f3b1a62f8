"""Polling by IMAP on a real Dovecot, with an unchanged pipeline."""

from __future__ import annotations

import json
import sys
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.to_thread import run_sync

from maildrops.imap_device import ALICE, RECORD, ImapDevice, open_imap_device
from mailslot.diagnosis.connection_test import check_connection as connection_test
from mailslot.errors import SignInError
from mailslot.sasl.credentials import OAuth
from mailslot.service.poll_loop import PollLoop
from mailslot.service.poller import poll_once
from mailslot.slots.maildrop import open_maildrop
from mailslot.slots.slot import SlotDirectory
from mailslot.wire.secret import Secret
from mailslot.wire.transcript import Transcript
from service.polling_device import RecordingPipeline, mail

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import trustme

    from lab.dovecot import Dovecot
    from lab.provider import Provider


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def keeper() -> RecordingPipeline:
    return RecordingPipeline(polls=RECORD)


@pytest.fixture
def imap_device(tmp_path: Path, dovecot: Dovecot, provider: Provider, ca: trustme.CA) -> ImapDevice:
    return open_imap_device(tmp_path, dovecot, provider, ca)


def deliver(imap_device: ImapDevice, *names: str) -> None:
    for name in names:
        imap_device.dovecot.deliver(ALICE, mail(name))


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_mail_is_fetched_handled_once_and_deleted(
    imap_device: ImapDevice, keeper: RecordingPipeline, security: str
) -> None:
    imap_device.set(
        security=security, port=(imap_device.dovecot.imaps if security == "tls" else imap_device.dovecot.imap).port
    )
    deliver(imap_device, *(f"mail {number}" for number in range(25)))
    async with imap_device.device() as device:
        report = await poll_once(device, RECORD, keeper)
        assert (report.ok, report.fetched, report.deleted, report.left) == (True, 25, 25, 0), report.sentence
        assert len(set(keeper.subjects)) == 25
        assert imap_device.dovecot.messages(ALICE) == []
        assert (await poll_once(device, RECORD, keeper)).listed == 0


async def test_kept_mail_is_marked_and_not_fetched_again(imap_device: ImapDevice, keeper: RecordingPipeline) -> None:
    imap_device.set(after_fetch="keep", maildrop_options="mark_seen=yes", first_poll="new")
    deliver(imap_device, "old")
    async with imap_device.device() as device:
        assert (await poll_once(device, RECORD, keeper)).passed_over == 1
        deliver(imap_device, "new")
        for _ in range(2):
            report = await poll_once(device, RECORD, keeper)
            assert (report.ok, report.listed, report.deleted) == (True, 2, 0), report.sentence
    assert keeper.subjects == ["new"]
    with imap_device.another_client() as client:
        assert client.search(None, "SEEN")[1] == [b"2"]


async def test_mail_is_left_unchanged_if_so_configured(imap_device: ImapDevice, keeper: RecordingPipeline) -> None:
    imap_device.set(after_fetch="keep")
    deliver(imap_device, "one")
    async with imap_device.device() as device:
        assert (await poll_once(device, RECORD, keeper)).fetched == 1
    with imap_device.another_client() as client:
        assert client.search(None, "UNSEEN")[1] == [b"1"]


async def test_mail_is_moved_to_another_folder(imap_device: ImapDevice, keeper: RecordingPipeline) -> None:
    folder, done = imap_device.folder("Faxe.f&APw-r uns"), imap_device.folder("Done")
    imap_device.set(maildrop_options=["folder=Faxe.für uns", "move_to=Done", "mark_seen=true"])
    deliver(imap_device, "in the inbox")
    (folder / "new" / "1.fax").write_bytes(mail("fax"))
    async with imap_device.device() as device:
        report = await poll_once(device, RECORD, keeper)
        assert (report.ok, report.fetched, report.deleted) == (True, 1, 1), report.sentence
        assert (await poll_once(device, RECORD, keeper)).listed == 0
    assert keeper.subjects == ["fax"]
    moved = [file for kind in ("cur", "new") for file in (done / kind).iterdir()]
    assert [file.read_bytes().replace(b"\r", b"") for file in moved] == [mail("fax").replace(b"\r", b"")]
    assert "S" in moved[0].name.rpartition(",")[2]
    assert len(imap_device.dovecot.messages(ALICE)) == 1


async def test_a_missing_folder(imap_device: ImapDevice, keeper: RecordingPipeline) -> None:
    deliver(imap_device, "one")
    async with imap_device.device() as device:
        imap_device.set(maildrop_options=["move_to=Nowhere"])
        report = await poll_once(device, RECORD, keeper)
        assert not report.ok
        assert "Nowhere" in report.sentence
        assert keeper.subjects == ["one"], "it is safe, and handled all the same"
        imap_device.set(maildrop_options=None)
        report = await poll_once(device, RECORD, keeper)
        assert (report.fetched, report.deleted) == (0, 1)
        imap_device.set(maildrop_options=["folder=Nowhere"])
        report = await poll_once(device, RECORD, keeper)
        assert (report.cause, "Nowhere" in report.sentence) == ("unknown", True)


async def test_another_folder_is_another_maildrop(imap_device: ImapDevice, keeper: RecordingPipeline) -> None:
    """Its UIDs, and even its UIDVALIDITY, may be those of the first one."""
    folder = imap_device.folder("Faxes")
    (folder / "new" / "1.fax").write_bytes(mail("old"))
    imap_device.set(first_poll="new", after_fetch="keep")
    async with imap_device.device() as device:
        assert (await poll_once(device, RECORD, keeper)).passed_over == 0
        imap_device.set(maildrop_options=["folder=Faxes"])
        assert (await poll_once(device, RECORD, keeper)).passed_over == 1
        assert keeper.subjects == []


async def test_a_new_uidvalidity(imap_device: ImapDevice, keeper: RecordingPipeline) -> None:
    """What was handled is told by its content, what was there before by its date, and what is new is fetched."""
    imap_device.set(after_fetch="keep", first_poll="new")
    deliver(imap_device, "before")
    async with imap_device.device() as device:
        assert (await poll_once(device, RECORD, keeper)).passed_over == 1
        imap_device.dovecot.deliver(ALICE, mail("handled").replace(b"Nov 2026", b"Nov 2050"))
        assert (await poll_once(device, RECORD, keeper)).fetched == 1
        imap_device.renumber()
        imap_device.dovecot.deliver(ALICE, mail("new").replace(b"Nov 2026", b"Nov 2050"))
        report = await poll_once(device, RECORD, keeper)
        assert (report.ok, report.fetched, report.copies, report.passed_over) == (True, 1, 1, 1), report.notes
        assert keeper.subjects == ["handled", "new"]
        report = await poll_once(device, RECORD, keeper)
        assert (report.fetched, report.copies, report.notes) == (0, 0, [])


async def test_mail_deleted_by_another_client_during_the_poll(
    imap_device: ImapDevice, keeper: RecordingPipeline
) -> None:
    """The second one goes while the first is fetched: nothing is made of it, and the others are fetched."""
    deliver(imap_device, "one", "two", "three")
    async with imap_device.device() as device:
        fetching, begun = device.spool.ledger.count_fetch, 0

        async def note(record: str, uid: str, *, durable: bool) -> int:
            nonlocal begun
            begun += 1
            if begun == 2:
                await run_sync(imap_device.expunge)
            return await fetching(record, uid, durable=durable)

        device.spool.ledger.count_fetch = note
        report = await poll_once(device, RECORD, keeper)
        assert report.ok, report.sentence
        assert keeper.subjects == ["one"], report.notes
        assert len(report.notes) == 2
        assert "any more" in report.notes[0]
        assert [mail.state for mail in await device.spool.ledger.mails()] == ["done"]


async def test_a_mail_of_50_megabytes_takes_little_memory(imap_device: ImapDevice) -> None:
    size = 50_000_000
    imap_device.dovecot.deliver(ALICE, mail("long").replace(b"\r\n", b"\n") + b".line\n" * (size // 7))
    async with imap_device.device() as device:
        async with open_maildrop(await device.connector.profile(RECORD)) as session:
            (entry,) = await session.listing()
            tracemalloc.start()
            try:
                async with device.spool.ledger.receive(RECORD, entry.uid, entry.size) as file:
                    async for piece in session.retrieve(entry):
                        await file.write(piece)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        assert file.mail is not None
        assert file.mail.size >= size - 10
        assert peak < 5_000_000


# The connection test


async def test_the_connection_test_goes_through_its_stages(imap_device: ImapDevice) -> None:
    deliver(imap_device, "one", "two")
    async with imap_device.device() as device:
        result = await connection_test(device.connector, SlotDirectory().find("fax.pop"))
        assert result.ok, result
        passed = [(stage.name, stage.ok) for stage in result.stages if stage.ok is not None]
        names = ["resolve", "connect", "tls", "greeting", "capabilities", "token", "sign_in", "probe"]
        assert passed == [(name, True) for name in names]
        assert "2 messages" in str(result.stages)
        assert imap_device.token not in str(result)


@pytest.mark.parametrize(
    ("settings", "stage", "cause"),
    [
        ({"port": "imap"}, "tls", "tls_port_mismatch"),
        ({"port": "imaps", "security": "starttls", "timeout": 5}, "greeting", "tls_port_mismatch"),
        ({"port": "pop3s"}, "greeting", "not_a_mail_server"),
        ({"token": "no-token-of-anybody"}, "sign_in", "token_refused"),
    ],
)
async def test_the_connection_test_reports_failures(
    imap_device: ImapDevice, settings: dict[str, object], stage: str, cause: str
) -> None:
    settings = dict(settings)
    if token := settings.pop("token", None):
        (imap_device.home / "token").write_text(str(token))
    if name := settings.pop("port", None):
        settings["port"] = getattr(imap_device.dovecot, str(name)).port
    imap_device.set(**settings)
    async with imap_device.device() as device:
        result = await connection_test(device.connector, SlotDirectory().find("fax.pop"))
        assert (result.stage, result.diagnosis.cause) == (stage, cause), result


async def test_the_commands(imap_device: ImapDevice) -> None:
    """The pipeline for faxes takes the mail, and is done with it soon, since there is no fax in it."""
    deliver(imap_device, "hello")
    command = [sys.executable, "-c", "from mailslot.cli import main; main()", "--home", str(imap_device.home)]
    tested = await anyio.run_process([*command, "test", "fax.pop", "--json"])
    assert json.loads(tested.stdout)[0]["ok"]
    polled = json.loads((await anyio.run_process([*command, "poll", "fax.pop", "--json"])).stdout)
    assert (polled["ok"], polled["fetched"], polled["deleted"]) == (True, 1, 1)
    assert [(each["subject"], each["outcome"]) for each in polled["handled"]] == [("hello", "done")]
    assert (await anyio.run_process([*command, "show", "fax.pop"])).stdout.count(b"imap") >= 1


# Signing in


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_a_refused_token_keeps_the_servers_error_challenge(imap_device: ImapDevice, mechanism: str) -> None:
    async with imap_device.device() as device:
        profile = await device.connector.profile(RECORD)
        assert isinstance(profile.auth, OAuth)
        profile = replace(profile, auth=replace(profile.auth, mechanism=mechanism))
        transcript = Transcript()
        async with open_maildrop(profile, transcript=transcript) as session:
            assert (await session.stat())[0] == 0
        assert f"C: AUTHENTICATE {mechanism}" in transcript.lines
        (imap_device.home / "token").write_text("no-token-of-anybody")
        with pytest.raises(SignInError) as raised:
            async with open_maildrop(profile):
                pass
    assert raised.value.challenge is not None
    assert raised.value.challenge["status"] in {"invalid_token", "401"}
    assert raised.value.reply is not None
    assert raised.value.reply.enhanced == "AUTHENTICATIONFAILED"


async def test_a_password(imap_device: ImapDevice) -> None:
    imap_device.records.change(RECORD, {"authentication": "password"}, {"password": Secret("secret")})
    async with imap_device.device() as device:
        async with open_maildrop(await device.connector.profile(RECORD)) as session:
            assert (await session.stat())[0] == 0
        imap_device.records.change(RECORD, {}, {"password": Secret("wrong")})
        with pytest.raises(SignInError) as raised:
            async with open_maildrop(await device.connector.profile(RECORD)):
                pass
        assert raised.value.cause == "password_refused"


# Push


async def until(test: Callable[[], bool], seconds: float = 120) -> None:
    with anyio.fail_after(seconds):
        while not test():  # noqa: ASYNC110 - nothing tells of it
            await anyio.sleep(0.01)


async def test_idle_delivers_mail_immediately(imap_device: ImapDevice, keeper: RecordingPipeline) -> None:
    """With an interval of 0: what is there, what comes, and what comes in a session after another one has ended."""
    imap_device.set(check_interval=0)
    deliver(imap_device, "one")
    async with imap_device.device() as device, anyio.create_task_group() as group:
        polling = PollLoop(device, RECORD, keeper)
        group.start_soon(polling.run)
        group.start_soon(polling.watch)
        await until(lambda: keeper.subjects == ["one"])
        deliver(imap_device, "two")
        await until(lambda: keeper.subjects == ["one", "two"])
        imap_device.set(maildrop_options=["push=no"])
        assert await device.refresh()
        await until(lambda: "Disconnected" in imap_device.dovecot.log_text().splitlines()[-1])
        deliver(imap_device, "three")
        await anyio.sleep(0.5)
        assert keeper.subjects == ["one", "two"]
        imap_device.set(maildrop_options=None)
        assert await device.refresh()
        await until(lambda: keeper.subjects == ["one", "two", "three"])
        group.cancel_scope.cancel()
