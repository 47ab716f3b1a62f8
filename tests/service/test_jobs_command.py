"""``mailslot jobs``, ``mailslot poll`` and ``mailslot metrics``, as a person and as a program use them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from command_line import no_service
from mailslot.message import Message
from mailslot.slots.records import Records
from mailslot.spool.job import NewJob, RecipientRefusal
from mailslot.spool.spool import Spool
from mailslot_plugins.sandbox import DOVECOT, run_sandbox
from service.polling_device import RECORD, USER, mail, pop_settings
from service.service_process import mailslot

if TYPE_CHECKING:
    from pathlib import Path

SCANNER, ALICE, BOB = "scanner@example.com", "alice@example.com", "bob@example.com"


@pytest.fixture(scope="module", params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The tests' own; a command chooses its own."""
    return str(request.param)


async def accept(spool: Spool, subject: str, pipeline: str = "scan") -> int:
    message = Message(sender=SCANNER, to=[ALICE, BOB], subject=subject, text="Hello.")
    notes = {"device": "lab [red]x[/red]"}
    return (await spool.accept(NewJob(pipeline, "smtp", SCANNER, [ALICE, BOB], subject, notes=notes), message)).id


async def test_the_queue_and_a_jobs_details(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool, spool.delivery_lock():
        for subject, pipeline in (("waits", "scan"), ("deferred", "fax"), ("partly", "scan")):
            await accept(spool, subject, pipeline)
        await spool.defer(2, 2_000_000_000, "server_busy", "The mail server is busy.", "421 4.3.2 Busy")
        job = await spool.claim("smtp")
        assert job is not None
        await spool.cancel(3)
        await spool.requeue(1)
        await spool.claim("smtp")
        await spool.record_replies(
            1, accepted=[ALICE], refused={BOB: RecipientRefusal("550 5.1.1 No such user")}, reply="250 2.0.0 Ok"
        )
    code, out, errors = await mailslot(tmp_path, "jobs", "--json")
    assert (code, errors) == (0, no_service(tmp_path))
    jobs = json.loads(out)
    assert [(job["id"], job["state"]) for job in jobs] == [(3, "cancelled"), (2, "deferred"), (1, "sent")]
    assert jobs[1]["recipients"] == [ALICE, BOB]
    assert (jobs[1]["cause"], jobs[1]["attempts"]) == ("server_busy", 0)
    assert jobs[1]["next_attempt"] == "2033-05-18T03:33:20+00:00"
    assert jobs[2]["delivery"][1] == {
        "address": BOB,
        "state": "refused",
        "reply": "550 5.1.1 No such user",
        "cause": "recipient_refused",
    }
    for arguments, ids in ((["--state", "sent", "--state", "deferred"], [2, 1]), (["--pipeline", "fax"], [2])):
        _, out, _ = await mailslot(tmp_path, "jobs", "--json", *arguments)
        assert [job["id"] for job in json.loads(out)] == ids
    _, out, _ = await mailslot(tmp_path, "jobs")
    assert "2: The mail server is busy." in out
    code, out, _ = await mailslot(tmp_path, "jobs", "show", "2")
    assert code == 0
    for words in ("Job 2: deferred", "The mail server is busy.", "421 4.3.2 Busy", "fax, through smtp", "[red]x[/red]"):
        assert words in out
    _, out, _ = await mailslot(tmp_path, "jobs", "show", "1", "--json")
    assert json.loads(out)["reply"] == "250 2.0.0 Ok"


async def test_resend_and_cancel(tmp_path: Path) -> None:
    async with Spool(tmp_path) as spool:
        for subject in ("one", "two", "three"):
            await accept(spool, subject)
        await spool.fail(1, "recipient_refused", "Nobody took it.")
        await spool.hold(2, "token_not_retrieved", "No token.")
        code, out, errors = await mailslot(tmp_path, "jobs", "retry", "1")
        assert (code, out, errors) == (0, f"Job 1 is sent again, to {ALICE}, {BOB}.\n", no_service(tmp_path))
        assert (await spool.job(1)).state == "queued"
        assert (await mailslot(tmp_path, "jobs", "cancel", "2"))[:2] == (0, "Job 2 is cancelled.\n")
        assert (await spool.job(2)).state == "cancelled"
        for arguments, sentence in (
            (["cancel", "2"], "Job 2 was cancelled and cannot be cancelled."),
            (["retry", "3"], "Job 3 is waiting to be sent already."),
            (["show", "99"], "There is no job 99."),
        ):
            assert await mailslot(tmp_path, "jobs", *arguments) == (1, "", f"{sentence}\n")
        assert (await mailslot(tmp_path, "jobs", "show", "x"))[0] == 2
        assert (await mailslot(tmp_path, "jobs", "--state", "lost"))[0] == 2


async def test_a_home_without_jobs(tmp_path: Path) -> None:
    assert await mailslot(tmp_path, "jobs") == (0, "There are no jobs.\n", no_service(tmp_path))
    assert (await mailslot(tmp_path, "jobs", "--json"))[1] == "[]\n"


async def test_a_manual_poll(tmp_path: Path) -> None:
    async with run_sandbox(personality=replace(DOVECOT)) as sandbox:
        records = Records(tmp_path)
        records.change(RECORD, pop_settings(sandbox, tmp_path), {})
        sandbox.maildrops[USER].add(mail("status [b]now[/b]"))
        code, out, errors = await mailslot(tmp_path, "poll", "status.pop")
        assert (code, errors) == (0, "")
        assert "Alice" in out
        assert "[b]now[/b]" in out
        assert "The server lists 1, 1 fetched, 1 deleted there." in out
        sandbox.maildrops[USER].add(mail("again"))
        code, out, errors = await mailslot(tmp_path, "poll", "status.pop", "--json")
        assert (code, errors) == (0, "")
        report = json.loads(out)
        assert (report["slot"], report["record"], report["ok"], report["fetched"]) == ("status.pop", RECORD, True, 1)
        assert [(each["subject"], each["outcome"]) for each in report["handled"]] == [("again", "done")]
        sandbox.provider.revoke((tmp_path / "token").read_text())
        code, out, errors = await mailslot(tmp_path, "poll", "status.pop", "--json")
        assert code == 1
        assert (json.loads(out)["cause"], json.loads(out)["message"]) == ("token_refused", errors.rstrip("\n"))
        assert json.loads(out)["advice"]
        _, out, _ = await mailslot(tmp_path, "metrics")
        assert 'mailslot_last_poll_ok{record="status-pop",cause="token_refused"} 0' in out
        # Its token comes from elsewhere, so that none is to be retrieved here.
        assert "mailslot_token_" not in out


async def test_a_manual_poll_that_fails(tmp_path: Path) -> None:
    assert await mailslot(tmp_path, "poll", "status.pop") == (1, "", "The mail server is not set.\n")
    assert (await mailslot(tmp_path, "poll", "network.smtp"))[0] == 2
    assert (await mailslot(tmp_path, "poll", "nowhere"))[0] == 2


async def test_metrics(tmp_path: Path) -> None:
    assert await mailslot(tmp_path, "metrics") == (0, "", "")
    Records(tmp_path).change("smtp", {"authentication": "oauth2", "server": "localhost", "security": "starttls"}, {})
    async with Spool(tmp_path) as spool:
        await accept(spool, "one")
        await accept(spool, "two", 'a "b"\\c')
    with anyio.fail_after(120):
        code, out, errors = await mailslot(tmp_path, "metrics")
    assert (code, errors) == (0, "")
    for line in out.splitlines():
        assert re.fullmatch(
            r'# (HELP|TYPE) mailslot_\w+ .+|mailslot_\w+(\{(\w+="([^"\\\n]|\\["\\n])*",?)+\})? -?[\d.]+', line
        )
    assert 'mailslot_jobs{pipeline="scan",state="queued"} 1' in out
    assert 'mailslot_jobs{pipeline="a \\"b\\"\\\\c",state="queued"} 1' in out
    assert 'mailslot_oldest_waiting_job_seconds{pipeline="scan"}' in out
    assert 'mailslot_token_health{record="smtp",state="needs_token",cause="token_not_retrieved"} 1' in out
    assert 'mailslot_token_retrieved{record="smtp"} 0' in out
