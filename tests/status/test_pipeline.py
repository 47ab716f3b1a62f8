"""Status requests on a device's disk: answered once, and only for allowed senders."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from alerts.devices import SETTINGS, Clock, run_device, sent_messages
from mailslot.service.pipeline import Done, Later, SetAside
from mailslot.spool.incoming import Incoming
from mailslot_plugins.status.pipeline import pipeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.service.device import Device

STATUS = '[status]\nallowed_senders = ["alice@example.test", "@office.test"]\n'


@pytest.fixture
def mailed(tmp_path: Path) -> Callable[[str], Incoming]:
    """Stores a mail as the poller does."""

    def put(text: str) -> Incoming:
        octets = text.replace("\n", "\r\n").encode()
        digest = hashlib.sha256(octets).hexdigest()
        path = tmp_path / digest
        path.write_bytes(octets)
        return Incoming(1, "status-pop", "u1", path, len(octets), digest, 0.0, 1, "fetched", "", None)

    return put


def request(subject: str = "status all", text: str = "", identifier: str = "<1@example.test>") -> str:
    return (
        f"Return-Path: <alice@example.test>\nFrom: Alice <alice@example.test>\nSubject: {subject}\n"
        f"Message-ID: {identifier}\nReferences: <0@example.test>\n\n{text}\n"
    )


async def test_an_answer_in_full(tmp_path: Path, mailed: Callable[[str], Incoming]) -> None:
    token = '[records.fax-pop]\nauthentication = "oauth2"\nsecurity = "tls"\n'
    async with run_device(tmp_path / "home", SETTINGS + STATUS + token) as device:
        assert await pipeline.handle(mailed(request()), device) == Done("answered by job 1")
        [job] = await device.spool.jobs()
        [mail] = await sent_messages(device)
    assert (job.pipeline, job.via, job.sender) == ("status", "alert-smtp", "copier@example.test")
    assert [recipient.address for recipient in job.recipients] == ["alice@example.test"]
    assert mail["To"] == "alice@example.test"
    assert mail["Subject"] == "Auto: Re: status all"
    assert mail["Auto-Submitted"] == "auto-replied"
    assert mail["In-Reply-To"] == "<1@example.test>"
    assert mail["References"] == "<0@example.test> <1@example.test>"
    lines = mail.get_content().splitlines()
    for line in (
        "DEVICE NAME: Copier",
        "    network.smtp: not set up",
        "    fax.pop: Not Retrieved (needs token)",
        "Supplies: No printer is set up.",
        "Mail jobs:",
        "    none",
    ):
        assert line in lines
    assert "Not understood" not in mail.get_content()


async def test_the_same_mail_twice_has_one_answer(tmp_path: Path, mailed: Callable[[str], Incoming]) -> None:
    async with run_device(tmp_path / "home", SETTINGS + STATUS) as device:
        first = await pipeline.handle(mailed(request()), device)
        assert await pipeline.handle(mailed(request()), device) == first, "after a crash"
        assert await pipeline.handle(mailed(request() + "\nforwarded once more"), device) == first, (
            "the same Message-ID"
        )
        await pipeline.handle(mailed(request(identifier="")), device)
        await pipeline.handle(mailed(request(identifier="")), device)
        assert len(await device.spool.jobs()) == 2


async def test_an_unknown_request_gets_help(tmp_path: Path, mailed: Callable[[str], Incoming]) -> None:
    async with run_device(tmp_path / "home", SETTINGS + STATUS) as device:
        await pipeline.handle(mailed(request("reboot now", "#SetMsgAddr evil@example.test\n#Password geheim")), device)
        [mail] = await sent_messages(device)
    text = mail.get_content()
    assert "Not understood: #setmsgaddr" in text
    assert "Nothing can be changed by mail." in text
    assert "geheim" not in text
    assert len(text) < 1000


@pytest.mark.parametrize(
    "text",
    [
        request().replace("alice@", "evil@"),
        "List-Id: <all.example.test>\n" + request(),
        "Auto-Submitted: auto-replied\n" + request("Out of office: status"),
        request().replace("alice@example.test", "copier@example.test"),
        request().replace("<alice@example.test>\nFrom", "<>\nFrom"),
    ],
    ids=["not allowed", "mailing list", "vacation", "ourselves", "null sender"],
)
async def test_senders_that_are_not_answered(tmp_path: Path, mailed: Callable[[str], Incoming], text: str) -> None:
    allowed = '[status]\nallowed_senders = ["alice@example.test", "copier@example.test"]\n'
    async with run_device(tmp_path / "home", SETTINGS + allowed) as device:
        handled = await pipeline.handle(mailed(text), device)
        assert isinstance(handled, Done)
        assert handled.note.startswith("not answered: ")
        assert await device.spool.jobs() == []


async def test_a_report_about_an_answer_is_shown_on_it(tmp_path: Path, mailed: Callable[[str], Incoming]) -> None:
    async with run_device(tmp_path / "home", SETTINGS + STATUS) as device:
        await pipeline.handle(mailed(request()), device)
        [job] = await device.spool.jobs()
        report = (
            "Return-Path: <>\nFrom: MAILER-DAEMON@mail.test\nSubject: failure notice\n\n<alice@example.test>:\n"
            f"550 5.1.1 No such user\n\n--- Below this line is a copy of the message.\n\nMessage-ID: {job.message_id}\n"
        )
        assert await pipeline.handle(mailed(report), device) == Done(f"a report about job {job.id}: failed")
        [job] = await device.spool.jobs()
    assert job.notes["report of alice@example.test"].startswith("failed: 5.1.1")


async def test_a_request_in_html_alone(tmp_path: Path, mailed: Callable[[str], Incoming]) -> None:
    text = request("Hello").replace(
        "\n\n",
        "\nContent-Type: text/html\n\n<html><head><!--[if mso]><p>mso</p><![endif]--></head><body>"
        '<div style="display:none">What is new</div><table><tr><td>status jobs</td></tr></table></body></html>',
        1,
    )
    async with run_device(tmp_path / "home", SETTINGS + STATUS) as device:
        assert await pipeline.handle(mailed(text), device) == Done("answered by job 1")
        [mail] = await sent_messages(device)
    assert "Mail jobs:" in mail.get_content()
    assert "Not understood" not in mail.get_content()


async def test_our_own_answer_is_not_answered(tmp_path: Path, mailed: Callable[[str], Incoming]) -> None:
    everybody = '[status]\nallowed_senders = ["@example.test"]\n'
    async with run_device(tmp_path / "home", SETTINGS + everybody) as device:
        await pipeline.handle(mailed(request()), device)
        [answer] = await sent_messages(device)
        # As if it came back by way of somebody who forwards everything.
        back = answer.as_string().replace("copier@example.test", "alice@example.test")
        handled = await pipeline.handle(mailed("Return-Path: <alice@example.test>\n" + back), device)
        assert handled == Done("not answered: it was sent automatically")


async def test_without_a_list_nobody_is_answered(tmp_path: Path, mailed: Callable[[str], Incoming]) -> None:
    async with run_device(tmp_path / "home", SETTINGS) as device:
        assert "not an allowed sender" in str(await pipeline.handle(mailed(request()), device))


async def test_replies_per_hour_are_limited(tmp_path: Path, mailed: Callable[[str], Incoming]) -> None:
    clock = Clock()

    async def ask(device: Device, number: int) -> str:
        return str(await pipeline.handle(mailed(request(identifier=f"<{number}@x>")), device))

    async with run_device(tmp_path / "home", SETTINGS + STATUS + "answers_per_sender = 2\n", clock) as device:
        result = [await ask(device, number) for number in range(4)]
        clock.now += 3600
        result.append(await ask(device, 9))
    assert ["not answered" in text for text in result] == [False, False, True, True, False]


async def test_it_waits_while_alert_smtp_is_not_set_up(tmp_path: Path, mailed: Callable[[str], Incoming]) -> None:
    async with run_device(tmp_path / "home", STATUS) as device:
        handled = await pipeline.handle(mailed(request()), device)
    assert isinstance(handled, Later)
    assert "alert.smtp has no sender address" in handled.why


async def test_an_unreadable_mail_is_set_aside(tmp_path: Path, mailed: Callable[[str], Incoming]) -> None:
    deep = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(500))
    async with run_device(tmp_path / "home", SETTINGS + STATUS) as device:
        handled = await pipeline.handle(mailed(request().split("\n\n", 1)[0] + "\n" + deep), device)
        assert handled == SetAside("The mail is nested more than 10 levels deep.")
        gone = mailed(request())
        assert gone.path is not None
        gone.path.unlink()
        assert isinstance(await pipeline.handle(gone, device), SetAside)


async def test_a_hostile_subject_cannot_inject_lines(tmp_path: Path, mailed: Callable[[str], Incoming]) -> None:
    evil = "=?utf-8?Q?status_all=0D=0ABcc:_all=40example.test=E2=80=AE?="
    async with run_device(tmp_path / "home", SETTINGS + STATUS) as device:
        await pipeline.handle(mailed(request(evil)), device)
        [mail] = await sent_messages(device)
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Auto: Re: status all Bcc: all@example.test"
