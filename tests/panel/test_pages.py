"""The pages that show the state of the device: home, jobs, received mail, alarms, and the sections of the settings."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pytest
from anyio.to_thread import run_sync
from PIL import Image

from mailslot.message import Message
from mailslot.spool.incoming import Incoming
from mailslot.spool.job import NewJob
from mailslot_plugins.alerts.alarms import Alarms
from mailslot_plugins.alerts.kinds import KINDS
from mailslot_plugins.alerts.section import SECTION as ALERTS
from mailslot_plugins.alerts.token_watch import observe_tokens
from mailslot_plugins.fax.section import SECTION as FAX
from mailslot_plugins.intake.thumbnails import MAX_THUMBNAILS, Thumbnails
from mailslot_plugins.print.section import SECTION as PRINT
from panel.browser_client import BrowserClient
from panel.running_panel import RunningPanel, run_panel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import httpx2

    from mailslot.spool.job import Job

EVIL = "<b>\"&'}{{7*7}}</b>"
WRITTEN = "&lt;b&gt;&#34;&amp;&#39;}{{7*7}}&lt;/b&gt;"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what pages say and do; their server and its tasks have tests on both."""
    return "asyncio"


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncGenerator[RunningPanel]:
    async with run_panel(tmp_path / "home") as found:
        yield found


@pytest.fixture
async def admin(panel: RunningPanel) -> AsyncGenerator[BrowserClient]:
    async with BrowserClient(panel.address) as found:
        await found.sign_in()
        yield found


async def accept(
    panel: RunningPanel, subject: str = "Delivery note", pipeline: str = "scan", to: str = "a@example.com"
) -> Job:
    message = Message(sender="scanner@example.com", to=[to], subject=subject, text="One page.\n")
    new = NewJob(pipeline, "smtp", "scanner@example.com", [to], subject, 3600.0)
    return await panel.device.spool.accept(new, message)


async def send(admin: BrowserClient, path: str, fields: dict[str, str]) -> httpx2.Response:
    return await admin.post(path, data={"csrf": await admin.token("/jobs"), **fields})


async def text(admin: BrowserClient, path: str, language: str = "en", status: int = 200) -> str:
    answer = await admin.get(path, headers={"accept-language": language})
    assert answer.status_code == status, answer.text
    return answer.text


async def test_an_empty_device_says_where_to_begin(admin: BrowserClient) -> None:
    page = await text(admin, "/")
    assert "Nothing is set up yet" in page
    assert 'href="/slots/network.smtp"' in page
    for slot in ("network.smtp", "network.quick", "install.quick", "alert.smtp", "fax.pop", "print.pop", "status.pop"):
        assert f'href="/slots/{slot}"' in page
    shared = page[page.index('data-record="smtp"') : page.index('data-record="alert-smtp"')]
    assert shared.count('class="door"') == 3
    assert "These slots share their settings and their token" in shared
    assert re.search(r'class="button" href="/slots/network.smtp">.*Set up', shared, re.DOTALL)


@pytest.mark.parametrize("path", ["/", "/jobs", "/received", "/alerts", "/settings/fax", "/settings/device"])
@pytest.mark.parametrize("language", ["de", "fr", "es", "ja"])
async def test_every_page_in_every_language(admin: BrowserClient, path: str, language: str) -> None:
    page = await text(admin, path, language)
    assert f'<html lang="{language}"' in page


async def test_attention_items(panel: RunningPanel, admin: BrowserClient) -> None:
    device = panel.device
    settings = {"server": "localhost", "port": 1, "security": "tls", "authentication": "oauth2", "account": "a@b.test"}
    sender = {"sender_address": "a@b.test"}
    await run_sync(device.records.change, "smtp", {**settings, **sender}, {})
    job = await accept(panel)
    async with device.spool.delivery_lock():
        await device.spool.claim("smtp")
        await device.spool.hold(job.id, "token_not_retrieved", "No token has been obtained yet.")
    await Alarms(device).raise_("token_needed", part="network.smtp", detail="No token has been obtained yet.")
    await Alarms(device).raise_("jam", part="tray 2")
    page = await text(admin, "/")
    matters = page[page.index('<ul class="matters">') : page.index("</ul>")]
    assert matters.count("<li") == 2
    assert "No token has been obtained yet." in matters
    assert "1 job is waiting for this. It is sent automatically once it is done." in matters
    assert 'href="/slots/network.smtp/token">Get Token' in matters
    assert "Open alarm: Paper jam: tray 2" in matters
    assert "Es wurde noch kein Token abgerufen." in await text(admin, "/live", "de")


async def test_jobs_and_their_filters(panel: RunningPanel, admin: BrowserClient) -> None:
    for number in range(52):
        await accept(panel, f"Scan {number}")
    await accept(panel, EVIL, "fax")
    page = await text(admin, "/jobs")
    assert WRITTEN in page
    assert "<b>" not in page
    older = re.search(r'href="(/jobs\?before=\d+)"', page.replace("&amp;", "&"))
    assert older
    assert page.count('class="job-link"') == 50
    assert (await text(admin, older[1])).count('class="job-link"') == 3
    assert (await text(admin, "/jobs?pipeline=fax")).count('class="job-link"') == 1
    assert "No such job" in await text(admin, "/jobs?state=failed")
    assert (await text(admin, "/jobs?state=nonsense&before=-1&pipeline=")).count('class="job-link"') == 50
    assert (await text(admin, f"/jobs?before={'9' * 19}")).count('class="job-link"') == 50


async def test_the_history_of_a_job(panel: RunningPanel, admin: BrowserClient) -> None:
    job = await accept(panel, EVIL)
    await text(admin, "/jobs/999999", status=404)
    await text(admin, f"/jobs/{'9' * 40}", status=404)
    page = await text(admin, f"/jobs/{job.id}")
    assert WRITTEN in page
    assert "Cancel this job?" in await text(admin, f"/jobs/{job.id}/cancel")
    answer = await send(admin, f"/jobs/{job.id}/cancel", {})
    assert answer.status_code == 303
    page = await text(admin, answer.headers["location"])
    assert "The job has been cancelled." in page
    assert (await panel.device.spool.job(job.id)).state == "cancelled"
    # It has ended, so neither can be done any more, and nothing changes.
    for verb in ("cancel", "retry"):
        await send(admin, f"/jobs/{job.id}/{verb}", {})
        assert f"Job {job.id} was cancelled and cannot be" in await text(admin, f"/jobs/{job.id}")


async def test_an_alarms_mail_has_nothing_raw(panel: RunningPanel, admin: BrowserClient) -> None:
    message = Message(sender="scanner@example.com", to=["a@example.com"], subject="Toner low", text="Toner low.\n")
    notes = {"what": "notice", "incident": "1-1795", "kind": "token_needed", "part": "network.quick"}
    notes |= {"severity": "warning", "since": "2026-11-30T02:48:36+00:00"}
    new = NewJob("alerts", "smtp", "scanner@example.com", ["a@example.com"], "Toner low", 3600.0, notes=notes)
    job = await panel.device.spool.accept(new, message)
    page = await text(admin, f"/jobs/{job.id}", "de")
    shown, _, raw = page.partition('<details id="raw"')
    for word in ("Token muss neu abgerufen werden", "Schnelleinstellungen", "Warnung", "<time"):
        assert word in shown[shown.index("<h2>Verlauf") :]
    for word in ("1-1795", "token_needed", "T02:48:36+00:00<"):
        assert word not in shown
    assert "1-1795" in raw


async def test_a_held_job_says_why_in_every_language_and_leads_to_the_token(
    panel: RunningPanel, admin: BrowserClient
) -> None:
    job = await accept(panel)
    async with panel.device.spool.delivery_lock():
        await panel.device.spool.claim("smtp")
        await panel.device.spool.hold(job.id, "token_update_failed", "Token update failed.")
    page = await text(admin, f"/jobs/{job.id}", "de")
    assert "Token-Update fehlgeschlagen" in page
    assert 'href="/slots/network.smtp/token"' in page
    answer = await send(admin, f"/jobs/{job.id}/retry", {})
    assert answer.status_code == 303
    assert (await panel.device.spool.job(job.id)).state == "queued"


async def test_a_received_mail_with_its_picture(panel: RunningPanel, admin: BrowserClient, tmp_path: Path) -> None:
    ledger = panel.device.spool.ledger
    async with ledger.polling_lock("fax-pop"):
        await ledger.record_first_poll("fax-pop")
        await ledger.count_fetch("fax-pop", "1")
        async with ledger.receive("fax-pop", "1") as receiving:
            await receiving.write(f"From: {EVIL}\r\nSubject: {EVIL}\r\n\r\nA fax\r\n".encode())
    [mail] = await ledger.mails()
    assert WRITTEN in await text(admin, "/received")
    assert 'class="thumbnail none"' in await text(admin, "/received?record=fax-pop")
    assert "Nothing has been received yet" in await text(admin, "/received?record=print-pop")
    assert (await admin.get(f"/received/{mail.id}/page.png")).status_code == 404
    picture = tmp_path / "page.png"
    await run_sync(Image.new("L", (90, 127), 255).save, picture)
    await Thumbnails(panel.device.home).keep(mail, picture)
    assert f'src="/received/{mail.id}/page.png"' in await text(admin, "/received")
    answer = await admin.get(f"/received/{mail.id}/page.png")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content == picture.read_bytes()
    await ledger.set_aside(mail.id, "It cannot be printed.")
    assert "It cannot be printed." in await text(admin, f"/received/{mail.id}")
    await send(admin, f"/received/{mail.id}/retry", {})
    assert (await ledger.mail(mail.id)).state == "fetched"
    await text(admin, "/received/77", status=404)


async def test_only_the_newest_pictures_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    picture = tmp_path / "page.png"
    picture.write_bytes(b"picture")
    kept = Thumbnails(tmp_path)
    for number in range(MAX_THUMBNAILS + 2):
        await kept.keep(a_mail(number), picture)
    there = [kept.has(a_mail(number)) for number in range(MAX_THUMBNAILS + 2)]
    assert there == [False, False, *[True] * MAX_THUMBNAILS]
    picture.write_bytes(bytes(300_000))
    assert caplog.text == ""
    await kept.keep(a_mail(MAX_THUMBNAILS + 2), picture)
    assert not kept.has(a_mail(MAX_THUMBNAILS + 2))
    assert kept.read(a_mail(MAX_THUMBNAILS + 2)) is None
    assert "too large" in caplog.text


def a_mail(number: int) -> Incoming:
    return Incoming(1, "fax-pop", "1", None, 10, f"{number:064}", 0.0, 1, "done", "", None)


async def test_alarms_and_a_test_mail(panel: RunningPanel, admin: BrowserClient) -> None:
    assert "No alarm" in await text(admin, "/alerts")
    answer = await send(admin, "/alerts/test", {})
    assert "Alarms have no recipients yet" in await text(admin, answer.headers["location"])
    await run_sync(panel.device.records.settings.change_section, ALERTS, {"recipients": "alice@example.com"})
    await run_sync(panel.device.records.change, "alert-smtp", {"sender_address": "scanner@example.com"}, {})
    await panel.device.refresh()
    answer = await send(admin, "/alerts/test", {})
    assert answer.headers["location"] == "/jobs/1"
    [job] = await panel.device.spool.jobs()
    assert [each.address for each in job.recipients] == ["alice@example.com"]
    await Alarms(panel.device).raise_("toner_low", part="black", detail=EVIL)
    page = await text(admin, "/alerts", "de")
    assert "Toner fast leer: Schwarz" in page
    assert WRITTEN in page
    await send(admin, "/alerts/clear", {"kind": "toner_low", "part": "black"})
    [incident] = (await Alarms(panel.device).state()).incidents
    assert incident.absent_since is not None
    answer = await send(admin, "/alerts/clear", {"kind": "nonsense"})
    assert "nonsense" in await text(admin, answer.headers["location"])


async def test_alarms_are_switched_on_their_page(panel: RunningPanel, admin: BrowserClient) -> None:
    page = await text(admin, "/alerts")
    assert 'name="recipients"' in page
    kept = [kind for kind in KINDS if kind != "jam"]
    form = {"csrf": await admin.token("/jobs"), "recipients": "alice@example.com", "kind": kept}
    assert (await admin.post("/alerts/switch", data=form)).status_code == 303
    values = panel.device.settings(ALERTS)
    assert (values["muted"], values["recipients"]) == (("jam",), ("alice@example.com",))
    page = await text(admin, "/alerts")
    assert 'name="recipients"' not in page
    assert 'value="jam">' in page
    assert 'value="cover_open" checked>' in page
    await run_sync(panel.device.records.change, "alert-smtp", {"sender_address": "scanner@example.com"}, {})
    for kind in ("jam", "cover_open"):
        await Alarms(panel.device).raise_(kind)
    assert [job.subject for job in await panel.device.spool.jobs()] == ["[Device] Cover open"]


async def test_an_alarm_about_a_token_ends_with_its_cause(panel: RunningPanel, admin: BrowserClient) -> None:
    device = panel.device
    settings = {"server": "localhost", "authentication": "oauth2", "account": "a@b.test", "provider": "google"}
    await run_sync(device.records.change, "smtp", settings, {})
    await Alarms(device).record(await observe_tokens(device.records, device.now()))
    page = await text(admin, "/alerts", "de")
    assert "Es wurde noch kein Token abgerufen." in page
    assert 'href="/slots/network.smtp/token"' in page
    assert 'action="/alerts/clear"' not in page
    await send(admin, "/alerts/clear", {"kind": "token_needed", "part": "network.smtp"})
    assert "this is still so" in await text(admin, "/alerts")
    [incident] = (await Alarms(device).state()).incidents
    assert incident.absent_since is None
    # Repaired, and not yet observed.
    await run_sync(device.records.change, "smtp", {"authentication": "none"}, {})
    assert "repaired" in await text(admin, "/alerts")
    assert "Open alarm" not in await text(admin, "/")


IPPFIND = r"""#!/bin/sh
# Does with each printer what it was told to do after --exec, as the program of CUPS does.
while [ "$1" != --exec ]; do shift; done; shift
for found in "ipp://a.local:631/ipp/print|Office" "ipps://a.local:631/ipp/print|Office" "http://b.local/|Web"; do
  "$1" "$2" "${found%|*}" "${found#*|}"
done
"""


async def test_a_printer_is_found_and_chosen(
    panel: RunningPanel, admin: BrowserClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "Find printers" not in await text(admin, "/settings/print")
    assert "cannot be looked for" in await text(admin, "/settings/print?find=printer")
    program = tmp_path / "bin" / "ippfind"
    program.write_text(IPPFIND)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    assert 'href="?find=printer#printer"' in await text(admin, "/settings/print")
    page = await text(admin, "/settings/print?find=printer")
    assert re.findall(r'name="printer-found" value="([^"]*)"', page) == ["ipps://a.local:631/ipp/print"]
    await send(admin, "/settings/print", {"printer": "", "printer-found": "ipps://a.local:631/ipp/print"})
    assert panel.device.settings(PRINT)["printer"] == "ipps://a.local:631/ipp/print"
    # The same for faxes, whose destinations begin with their kind.
    await send(admin, "/settings/fax", {"deliver_to": "alice@example.com", "deliver_to-form": "mail"})
    assert panel.device.settings(FAX)["deliver_to"] == ("mail alice@example.com",)
    page = await text(admin, "/settings/fax")
    assert 'value="mail" selected' in page
    assert 'name="deliver_to" type="text" autocomplete="off" value="alice@example.com"' in page
    # A program may only be set on the device, and the page says how.
    entered = {"printer": "lp -d office", "printer-form": "program"}
    answer = await send(admin, "/settings/print", entered)
    assert answer.status_code == 422
    assert "mailslot set print printer=&#39;command lp -d office&#39;" in answer.text


async def test_a_section_is_changed_entirely_or_not_at_all(panel: RunningPanel, admin: BrowserClient) -> None:
    await text(admin, "/settings/nonsense", status=404)
    page = await text(admin, "/settings/scan")
    assert "mailslot set scan folder=…" in page
    assert 'name="folder"' not in page
    page = await text(admin, "/settings/print")
    assert 'name="printer"' in page
    answer = await send(admin, "/settings/print", {"printer": "teapot", "max_copies": "3", "reply-there": "1"})
    assert answer.status_code == 422
    assert 'value="teapot"' in answer.text
    assert "Nothing was saved." in answer.text
    assert re.search(r'id="printer-error">.*teapot', answer.text, re.DOTALL)
    assert (await run_sync(panel.device.records.settings.current)).sections.get("print", {}) == {}
    answer = await send(
        admin, "/settings/print", {"printer": "ipp://printer.example/ipp/print", "max_copies": "3", "reply-there": "1"}
    )
    assert answer.status_code == 303
    kept = (await run_sync(panel.device.records.settings.current)).sections["print"]
    assert kept == {"printer": "ipp://printer.example/ipp/print", "max_copies": 3, "reply": False}
    # An empty field unsets, and what the form does not hold stays.
    await send(admin, "/settings/print", {"max_copies": ""})
    kept = (await run_sync(panel.device.records.settings.current)).sections["print"]
    assert kept == {"printer": "ipp://printer.example/ipp/print", "reply": False}


async def test_a_private_setting_is_never_shown(panel: RunningPanel, admin: BrowserClient) -> None:
    hook = "https://hooks.example/T0K3N"
    await send(admin, "/settings/device", {"webhook": hook})
    page = await text(admin, "/settings/device")
    assert "T0K3N" not in page
    assert "is set" in page
    await send(admin, "/settings/device", {"webhook": "", "name": "Copier"})
    assert (await run_sync(panel.device.records.settings.current)).sections["device"]["webhook"] == hook


async def test_the_language_and_the_colours_of_a_browser(admin: BrowserClient) -> None:
    answer = await send(admin, "/preferences", {"language": "ja", "theme": "dark", "back": "/jobs"})
    assert answer.headers["location"] == "/jobs"
    page = (await admin.get("/jobs")).text
    assert '<html lang="ja">' in page
    assert '"/static/dark.css">' in page
    answer = await send(
        admin, "/preferences", {"language": "xx", "theme": "\r\nSet-Cookie: a=b", "back": "//evil.test"}
    )
    assert answer.headers["location"] == "/"
    assert "set-cookie" not in answer.headers
