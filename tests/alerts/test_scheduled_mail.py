"""The scheduled status mail on a device's disk."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from alerts.devices import ALERTS, SETTINGS, Clock, run_device, sent_messages
from mailslot_plugins.alerts.scheduled_mail import send_if_due

if TYPE_CHECKING:
    from pathlib import Path

    from lab.printer import Printer

BERLIN = 'timezone = "Europe/Berlin"\nschedule = "daily 08:00"\n'
DAY = 86400.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


async def test_once_a_day_also_after_a_restart(tmp_path: Path) -> None:
    clock = Clock(at("2026-11-24 07:00"))
    for hours in (0, 0, 1, 1, 2, 24, 25, 26):
        clock.now = at("2026-11-24 07:00") + hours * 3600
        async with run_device(tmp_path, SETTINGS + ALERTS + BERLIN, clock) as device:
            await send_if_due(device)
    async with run_device(tmp_path, SETTINGS + ALERTS + BERLIN, clock) as device:
        one, two = await sent_messages(device)
    assert one["Subject"] == two["Subject"] == "[Copier] Status"
    assert one["Auto-Submitted"] == "auto-generated"
    assert "TIME: 2026-11-24 08:00 +0100" in one.get_content()
    assert "late" not in one.get_content()
    for line in ("DEVICE NAME: Copier", "    alert.smtp: not set up", "Mail jobs:"):
        assert line in one.get_content().splitlines()


async def test_missed_while_off(tmp_path: Path) -> None:
    clock = Clock(at("2026-11-20 09:00"))
    more = 'schedule_recipients = ["dealer@example.test"]\n'
    async with run_device(tmp_path, SETTINGS + ALERTS + BERLIN + more, clock) as device:
        assert await send_if_due(device) is None
        clock.now += 4 * DAY
        assert await send_if_due(device) is not None
        assert await send_if_due(device) is None
        [mail] = await sent_messages(device)
    assert mail["To"] == "dealer@example.test"
    assert "This mail was due at 2026-11-24 08:00 and is late, since the device was off or busy. 3 earlier ones" in (
        " ".join(mail.get_content().split())
    )


@pytest.mark.parametrize("wrong", ["1970-01-01 00:10", "2025-11-24 09:00"])
async def test_what_was_missed_is_not_counted_from_a_wrong_clock(tmp_path: Path, wrong: str) -> None:
    """A device without a battery for its clock starts with a wrong time, and learns the right one later."""
    clock = Clock(at("2026-11-24 07:00"))
    async with run_device(tmp_path, SETTINGS + ALERTS + BERLIN, clock) as device:
        for text in ("2026-11-24 07:00", "2026-11-24 08:00", wrong, wrong, "2026-11-24 10:00", wrong, wrong):
            clock.now = at(text)
            await send_if_due(device)
        assert len(await sent_messages(device)) == 1
        # It was off for two nights.
        clock.now = at("2026-11-26 09:00")
        await send_if_due(device)
        _, mail = await sent_messages(device)
    assert "was due at 2026-11-26 08:00 and is late, since the device was off or busy. 1 earlier one" in (
        " ".join(mail.get_content().split())
    )


@pytest.mark.parametrize("first", ["2026-11-24 07:00", "1970-01-01 06:00"], ids=["known before", "never known"])
@pytest.mark.parametrize("day", ["1970-01-01", "2026-03-01"])
async def test_two_starts_with_a_wrong_clock_in_a_row(tmp_path: Path, first: str, day: str) -> None:
    """The device is off each time before it has learned the time; the second time it was on for less long."""
    clock = Clock()
    texts = (first, "2026-11-24 07:30", f"{day} 09:00", f"{day} 06:00", f"{day} 07:00", "2026-11-24 07:45")
    for text in texts:
        clock.now = at(text)
        async with run_device(tmp_path, SETTINGS + ALERTS + BERLIN, clock) as device:
            await send_if_due(device)
            assert await sent_messages(device) == []
    clock.now = at("2026-11-24 08:00")
    async with run_device(tmp_path, SETTINGS + ALERTS + BERLIN, clock) as device:
        await send_if_due(device)
        [mail] = await sent_messages(device)
    assert "late" not in mail.get_content()


async def test_no_mail_before_the_time_is_known(tmp_path: Path) -> None:
    """A device that has never known the time starts in 1970, stays on overnight, and learns the time then."""
    clock = Clock()
    async with run_device(tmp_path, SETTINGS + ALERTS + BERLIN, clock) as device:
        for text in ("1970-01-01 07:00", "1970-01-01 09:00", "1970-01-02 09:00", "2026-11-24 07:00"):
            clock.now = at(text)
            await send_if_due(device)
        assert await sent_messages(device) == []


@pytest.mark.parametrize("wrong", ["1970-01-01 00:10", "2026-03-01 09:00"])
async def test_a_clock_that_was_ahead_once_does_not_count(tmp_path: Path, wrong: str) -> None:
    clock = Clock()
    async with run_device(tmp_path, SETTINGS + ALERTS + BERLIN, clock) as device:
        for text in (
            "2036-01-01 09:00",
            "2026-11-24 07:00",
            "2026-11-24 08:00",
            wrong,
            "2026-11-25 08:00",
        ):
            clock.now = at(text)
            await send_if_due(device)
        one, two = await sent_messages(device)
    assert "late" not in one.get_content() + two.get_content()


async def test_a_clock_set_back_before_the_occurrence(tmp_path: Path) -> None:
    clock = Clock(at("2026-11-24 07:59"))
    async with run_device(tmp_path, SETTINGS + ALERTS + BERLIN, clock) as device:
        for text in ("2026-11-24 07:59", "2026-11-24 08:01", "2026-11-24 07:30", "2026-11-24 08:02"):
            clock.now = at(text)
            await send_if_due(device)
        assert len(await sent_messages(device)) == 1


async def test_a_changed_schedule_starts_over(tmp_path: Path) -> None:
    clock = Clock(at("2026-11-24 09:00"))
    async with run_device(tmp_path / "home", SETTINGS + ALERTS + BERLIN, clock) as device:
        await send_if_due(device)
    clock.now += 10 * DAY
    other = BERLIN.replace("daily", "weekly mon")
    async with run_device(tmp_path / "home", SETTINGS + ALERTS + other, clock) as device:
        assert await send_if_due(device) is None


async def test_with_the_supplies_of_a_real_printer(tmp_path: Path, printer: Printer) -> None:
    printer.set_levels(waste=20, black=61)
    clock = Clock(at("2026-11-24 07:00"))
    watched_printer = f'printer = "{printer.uri}"\n'
    async with run_device(tmp_path, SETTINGS + ALERTS + BERLIN + watched_printer, clock) as device:
        await send_if_due(device)
        clock.now += DAY
        await send_if_due(device)
        [mail] = await sent_messages(device)
    assert "    Black Toner = 61 %" in mail.get_content().splitlines()
    assert "Printer: idle" in mail.get_content()
