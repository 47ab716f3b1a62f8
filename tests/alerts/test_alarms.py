"""Alarms on a device's disk: recorded, and mailed once through the spool, also after a crash."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from alerts.devices import ALERTS, SETTINGS, Clock, run_device, sent_messages
from mailslot import InputError
from mailslot.diagnosis.gateway_log import STORE, GatewayLog
from mailslot.diagnosis.listener_certificate import ListenerCertificate
from mailslot.spool.errors import SpoolError
from mailslot.spool.spool import Spool
from mailslot.spool.store import Store
from mailslot_plugins.alerts import certificate_watch, token_watch
from mailslot_plugins.alerts.alarms import Alarms
from mailslot_plugins.alerts.pipeline import AlertsPipeline
from mailslot_plugins.alerts.state import ConditionRaised, Observation

if TYPE_CHECKING:
    from pathlib import Path

    from lab.printer import Printer
    from mailslot.service.device import Device

WITH = SETTINGS + ALERTS


async def test_a_mail_as_devices_write_it(tmp_path: Path) -> None:
    async with run_device(tmp_path, WITH + 'timezone = "UTC"\n', Clock()) as device:
        alarms = Alarms(device)
        assert await alarms.raise_("toner_low", part="black", detail="5 % are left") == ""
        assert await alarms.raise_("toner_low", part="black") == ""
        [mail] = await sent_messages(device)
        [job] = await device.spool.jobs()
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["From"] == "copier@example.test"
    assert mail["To"] == "admin@example.test"
    assert mail["Subject"] == "[Copier] Toner low: black"
    assert mail.get_content().splitlines() == [
        *("DEVICE NAME: Copier", "DEVICE MODEL: BP-1", "SERIAL NUMBER: 0815", "LOCATION: 2nd floor", ""),
        *("Device has detected:", "", "    Toner low: black", "    5 % are left", ""),
        *("Severity: warning", "Since: 2027-01-15 08:00 +0000", "What to do: Have a new cartridge at hand."),
    ]
    assert (job.pipeline, job.via, job.state) == ("alerts", "alert-smtp", "queued")


async def test_the_all_clear_is_in_the_same_thread(tmp_path: Path) -> None:
    clock = Clock()
    async with run_device(tmp_path, WITH, clock) as device:
        alarms = Alarms(device)
        await alarms.raise_("jam")
        await alarms.clear("jam")
        clock.now += 60
        await alarms.record()
        notice, end = await sent_messages(device)
    assert end["Subject"] == "[Copier] Over: Paper jam"
    assert end["In-Reply-To"] == notice["Message-ID"]
    assert "Device no longer detects:" in end.get_content()


@pytest.mark.parametrize(
    "evil", ["x\r\nBcc: all@example.test", "x\nSubject: y", "x\u2028y\x00z", "\u202eevil", "x" * 5000]
)
async def test_texts_cannot_inject_lines(tmp_path: Path, evil: str) -> None:
    async with run_device(tmp_path, WITH) as device:
        # What mailslot.toml refuses may come from a maker's own source.
        device.settings = _with_evil(device, evil)  # type: ignore[method-assign] - stands for such a source
        await Alarms(device).raise_("jam", part=evil, detail=evil)
        [mail] = await sent_messages(device)
    assert set(mail.keys()) == {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"),
        *("X-Auto-Response-Suppress", "Content-Type", "Content-Transfer-Encoding"),
    }
    assert str(mail["Subject"]).startswith("[x") or evil.startswith("\u202e")
    lines = mail.get_content().splitlines()
    assert not any(line.startswith(("Bcc", "Subject", "y")) for line in lines)
    assert max(map(len, lines)) < 600


def _with_evil(device: Device, evil: str) -> Any:
    settings = device.settings
    return lambda section: {
        **settings(section),
        **({"location": evil, "name": evil, "model": evil} if section.name == "device" else {}),
    }


async def test_alerts_beyond_the_cap_are_mailed_as_a_digest(tmp_path: Path) -> None:
    clock = Clock()
    async with run_device(tmp_path, WITH + 'mails_per_hour = 1\ntimezone = "UTC"\n', clock) as device:
        alarms = Alarms(device)
        for kind in ("jam", "toner_low", "cover_open"):
            await alarms.raise_(kind, detail=f"about {kind}")
        await alarms.clear("cover_open")
        clock.now += 3600
        async with device.spool.delivery_lock():
            job = await device.spool.claim("alert-smtp")
            assert job is not None
            await device.spool.fail(job.id, "content_refused", "Refused.")
        await alarms.record()
        await alarms.record()
        _, digest = await sent_messages(device)
    assert digest["Subject"] == "[Copier] 2 alerts"
    assert digest.get_content().splitlines()[5:] == [
        "Device has detected 2 conditions:",
        "",
        "    Toner low (warning), since 2027-01-15 08:00 +0000",
        "        about toner_low",
        "    Cover open (warning), from 2027-01-15 08:00 +0000 until 2027-01-15 08:00 +0000",
        "        about cover_open",
    ]


@pytest.mark.parametrize("stored", [{}, "x", [], {"seen": 1, "serial": 2, "incidents": [{"colour": "red"}]}])
async def test_a_state_of_another_version_is_reset(
    tmp_path: Path, stored: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_device(tmp_path, WITH) as device:
        await device.store("alerts").put("board", stored)
        await Alarms(device).raise_("jam")
        assert len(await sent_messages(device)) == 1
    assert "are reset" in caplog.text


async def test_while_alert_smtp_is_not_set_up_the_mail_waits(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with run_device(home, ALERTS) as device:
        alarms = Alarms(device)
        assert "alert.smtp has no sender address" in await alarms.raise_("jam")
        assert await device.spool.jobs() == []
        assert [mail.reports[0].kind for mail in (await alarms.state()).outbox] == ["jam"]
    async with run_device(home, WITH) as device:
        assert await Alarms(device).record() == ""
        assert len(await sent_messages(device)) == 1


async def test_missing_recipients_are_reported_and_the_administrator_is_the_default(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with run_device(home, SETTINGS) as device:
        assert "there are no recipients" in await Alarms(device).raise_("jam")
    async with run_device(
        home, SETTINGS.replace("[device]", '[device]\nadministrator = "boss@example.test"')
    ) as device:
        assert await Alarms(device).record() == ""
        [mail] = await sent_messages(device)
    assert mail["To"] == "boss@example.test"


async def test_recipients_by_kind(tmp_path: Path) -> None:
    async with run_device(tmp_path, WITH + 'recipients_service_due = "service@example.test"\n') as device:
        alarms = Alarms(device)
        await alarms.raise_("service due")
        await alarms.raise_("media-jam")
        await alarms.raise_("Paper jam")
        assert [mail["To"] for mail in await sent_messages(device)] == ["service@example.test", "admin@example.test"]


async def test_an_unknown_kind_suggests_a_similar_one(tmp_path: Path) -> None:
    async with run_device(tmp_path, WITH) as device:
        with pytest.raises(InputError, match="Did you mean toner_low"):
            await Alarms(device).raise_("tonr_low")


async def test_two_processes_raise_alarms_at_once(tmp_path: Path) -> None:
    async with run_device(tmp_path, WITH) as one, run_device(tmp_path, WITH) as other:
        async with anyio.create_task_group() as group:
            for device in (one, other) * 4:
                group.start_soon(Alarms(device).raise_, "jam")
                group.start_soon(Alarms(device).raise_, "toner_low")
        assert sorted(str(mail["Subject"]) for mail in await sent_messages(one)) == [
            "[Copier] Paper jam",
            "[Copier] Toner low",
        ]


@pytest.mark.parametrize("stops_at", range(8))
async def test_stopped_at_any_write_it_sends_each_mail_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops_at: int
) -> None:
    """An alarm writes the state, then for each mail the job and the state again; the device stops before a write."""
    home = tmp_path / "home"
    writes = 0

    def limited(work: Any) -> Any:
        async def call(*values: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes > stops_at:
                raise SpoolError("the power is off", cause="spool_unwritable")
            return await work(*values)

        return call

    observed = Observation("printer", (ConditionRaised("jam", "error"), ConditionRaised("toner_low", "warning")))
    async with run_device(home, WITH) as device:
        with monkeypatch.context() as patch, suppress(SpoolError):
            patch.setattr(Store, "put", limited(Store.put))
            patch.setattr(Spool, "accept", limited(Spool.accept))
            waiting_reason = await Alarms(device).record(observed)
            assert bool(waiting_reason) == (writes > stops_at)
    async with run_device(home, WITH) as device:
        alarms = Alarms(device)
        await alarms.record(observed)
        await alarms.record(observed)
        assert sorted(str(mail["Subject"]) for mail in await sent_messages(device)) == [
            "[Copier] Paper jam",
            "[Copier] Toner low",
        ]
        assert (await alarms.state()).outbox == ()


async def test_a_needed_token_is_an_alarm_until_it_is_obtained(tmp_path: Path) -> None:
    home = tmp_path / "home"
    wanted = '[records.fax-pop]\nauthentication = "oauth2"\nsecurity = "tls"\naccount = "fax@example.test"\n'
    clock = Clock()
    async with run_device(home, WITH + wanted, clock) as device:
        alarms = Alarms(device)
        await alarms.record_observed(await token_watch.observe_tokens(device.records, clock.now))
        clock.now += 600
        await alarms.record_observed(await token_watch.observe_tokens(device.records, clock.now))
        [mail] = await sent_messages(device)
    assert mail["Subject"] == "[Copier] Token to be obtained again: fax.pop"
    async with run_device(home, WITH, clock) as device:
        alarms = Alarms(device)
        await alarms.record_observed(await token_watch.observe_tokens(device.records, clock.now))
        clock.now += 60
        await alarms.record()
        assert (await alarms.state()).incidents == ()


async def test_a_listeners_certificate_that_ends_soon(tmp_path: Path) -> None:
    clock = Clock()
    listener = '[listeners.scan]\nlisten = "127.0.0.1:0"\n'
    async with run_device(tmp_path, WITH + listener, clock) as device:
        alarms, log = Alarms(device), GatewayLog(device.store(STORE))

        async def observe(days: float) -> list[str]:
            given = ListenerCertificate("a", ("a",), "b", "00", "RSA", 0.0, clock.now + days * 86_400, False)
            log.note_listening({}, certificates={"scan": [given]})
            await log.flush()
            await alarms.record_observed(await certificate_watch.observe_certificates(device))
            return [incident.kind for incident in (await alarms.state()).incidents]

        assert await observe(15) == []
        assert await observe(13) == ["certificate_ends"]
        [mail] = await sent_messages(device)
        assert mail["Subject"] == "[Copier] Certificate ends soon: scan"
        assert "The certificate of the listener scan is valid until" in mail.get_content()
        await observe(90)
        clock.now += 60
        assert await observe(90) == []


async def test_the_pipeline_watches_until_it_is_stopped(tmp_path: Path, printer: Printer) -> None:
    printer.set_levels(waste=20, black=2)
    watched_printer = f'debounce = 0\nprinter = "{printer.uri}"\nschedule = "daily 08:00"\n'
    wanted = '[records.fax-pop]\nauthentication = "oauth2"\nsecurity = "tls"\naccount = "fax@example.test"\n'
    async with run_device(tmp_path, WITH + watched_printer + wanted) as device:
        async with anyio.create_task_group() as group:
            group.start_soon(AlertsPipeline().run, device)
            with anyio.fail_after(120):
                async with aclosing(device.spool.changes()) as changes:
                    async for _ in changes:
                        if len(await device.spool.jobs()) == 2:
                            break
            group.cancel_scope.cancel()
        mails = await sent_messages(device)
    assert sorted(str(mail["Subject"]) for mail in mails) == [
        "[Copier] Token to be obtained again: fax.pop",
        "[Copier] Toner low",
    ]
    assert any("    Black Toner 2 %" in mail.get_content() for mail in mails)


async def test_a_failing_watch_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = anyio.Event()

    async def fail(*_: object) -> None:
        failed.set()
        raise KeyError("of a plugin's own")

    monkeypatch.setattr("mailslot_plugins.alerts.pipeline.token_watch.observe_tokens", fail)
    async with run_device(tmp_path, WITH) as device, anyio.create_task_group() as group:
        group.start_soon(AlertsPipeline().run, device)
        with anyio.fail_after(120):
            await failed.wait()
            assert await Alarms(device).raise_("jam") == ""
        group.cancel_scope.cancel()
    assert caplog.text.count("One of the watches failed: KeyError") == 1
