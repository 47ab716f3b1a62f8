"""Daily, weekly and monthly schedules, also when the clock changes."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot_plugins.alerts.schedule import DueCheck, Schedule, check_due, parse_schedule

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # half an hour of summer time
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "UTC"]


def at(text: str, zone: ZoneInfo = BERLIN, *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("daily 08:00", Schedule("daily", 0, 8, 0)),
        ("Daily 8:05", Schedule("daily", 0, 8, 5)),
        ("weekly mon 23:59", Schedule("weekly", 0, 23, 59)),
        ("weekly  Sunday 0:00", Schedule("weekly", 6, 0, 0)),
        ("monthly 1 08:00", Schedule("monthly", 1, 8, 0)),
        ("monthly 31 08:00", Schedule("monthly", 31, 8, 0)),
        ("monthly last 08:00", Schedule("monthly", 31, 8, 0)),
    ],
)
def test_valid_schedules(text: str, schedule: Schedule) -> None:
    assert parse_schedule(text) == schedule


@pytest.mark.parametrize(
    "text", ["", "daily", "daily 24:00", "daily 8", "weekly 8:00", "monthly 0 8:00", "monthly 32 8:00", "hourly 8:00"]
)
def test_invalid_schedules(text: str) -> None:
    with pytest.raises(ValueError, match="daily 08:00"):
        parse_schedule(text)


def fired(text: str, start: str, end: str, zone: ZoneInfo, minutes: int = 5) -> list[datetime]:
    """Return when mails are due, checking every few minutes."""
    schedule, last, found = parse_schedule(text), None, []
    now, until = at(start, zone), at(end, zone)
    while now < until:
        check = check_due(schedule, last, now, zone)
        if check.due:
            found.append(datetime.fromtimestamp(now, zone))
            assert not check.late
        last = check.last
        now += 60 * minutes
    return found


def test_a_skipped_time_is_due_after_the_gap() -> None:
    times = fired("daily 02:30", "2026-03-27 12:00", "2026-03-31 12:00", BERLIN)
    assert [f"{time:%d %H:%M}" for time in times] == ["28 02:30", "29 03:30", "30 02:30", "31 02:30"]


def test_an_ambiguous_time_is_due_once() -> None:
    times = fired("daily 02:30", "2026-10-23 12:00", "2026-10-27 12:00", BERLIN)
    assert [f"{time:%d %H:%M %z}" for time in times] == [
        "24 02:30 +0200",
        "25 02:30 +0200",
        "26 02:30 +0100",
        "27 02:30 +0100",
    ]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("monthly 31 08:00", ["01-31", "02-28", "03-31", "04-30", "05-31"]),
        ("monthly last 08:00", ["01-31", "02-28", "03-31", "04-30", "05-31"]),
        ("monthly 29 08:00", ["01-29", "02-28", "03-29", "04-29", "05-29"]),
        ("monthly 1 08:00", ["02-01", "03-01", "04-01", "05-01", "06-01"]),
    ],
)
def test_month_ends(text: str, days: list[str]) -> None:
    times = fired(text, "2026-01-10 00:00", "2026-06-02 00:00", BERLIN, minutes=60)
    assert [f"{time:%m-%d}" for time in times] == days


def test_leap_day() -> None:
    times = fired("monthly last 08:00", "2028-02-10 00:00", "2028-03-02 00:00", BERLIN, minutes=60)
    assert [f"{time:%m-%d}" for time in times] == ["02-29"]


def test_weekly() -> None:
    times = fired("weekly mon 08:00", "2026-11-01 00:00", "2026-11-30 12:00", BERLIN, minutes=60)
    assert [f"{time:%a %d}" for time in times] == ["Mon 02", "Mon 09", "Mon 16", "Mon 23", "Mon 30"]


def test_a_new_schedule_begins_with_its_next_occurrence() -> None:
    daily = parse_schedule("daily 08:00")
    assert check_due(daily, None, at("2026-11-24 09:00"), BERLIN) == DueCheck("2026-11-24T08:00")


def test_one_mail_is_due_for_all_missed_occurrences() -> None:
    daily = parse_schedule("daily 08:00")
    check = check_due(daily, "2026-11-20T08:00", at("2026-11-24 09:00"), BERLIN)
    assert check == DueCheck("2026-11-24T08:00", due=True, late=True, missed=3)
    assert check_due(daily, check.last, at("2026-11-24 09:01"), BERLIN) == DueCheck("2026-11-24T08:00")


def test_a_clock_that_was_years_ahead_does_not_stop_the_schedule() -> None:
    daily = parse_schedule("daily 08:00")
    check = check_due(daily, "2036-01-01T08:00", at("2026-11-24 09:00"), BERLIN)
    assert check == DueCheck("2026-11-24T08:00")
    assert check_due(daily, check.last, at("2026-11-25 08:00"), BERLIN).due


def test_a_clock_set_back_by_an_hour_does_not_repeat_an_occurrence() -> None:
    daily = parse_schedule("daily 08:00")
    names = [check_due(daily, "2026-11-23T08:00", at("2026-11-24 08:10"), BERLIN).last]
    back = check_due(daily, names[0], at("2026-11-24 07:10"), BERLIN)
    again = check_due(daily, back.last, at("2026-11-24 08:00"), BERLIN)
    assert not back.due
    assert again.last == names[0], "its key is that of the mail that went out"


def test_the_systems_zone() -> None:
    schedule = parse_schedule("daily 08:00")
    now = datetime(2026, 11, 24, 8, 1).timestamp()  # noqa: DTZ001 - local time is what is tested
    assert check_due(schedule, "2026-11-23T08:00", now, None) == DueCheck("2026-11-24T08:00", due=True)


@given(
    st.sampled_from(ZONES),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(1_577_836_800, 2_051_222_400),
    st.lists(st.integers(1, 40 * 3600), min_size=5, max_size=60),
)
def test_once_a_day_in_every_zone(name: str, hour: int, minute: int, start: int, steps: list[int]) -> None:
    zone, schedule = ZoneInfo(name), Schedule("daily", 0, hour, minute)
    now = float(start)
    first = check_due(schedule, None, now, zone).last
    last, due, missed = first, Counter[str](), 0
    for seconds in steps:
        now += seconds
        check = check_due(schedule, last, now, zone)
        due[check.last] += check.due
        missed += check.missed
        assert check.due == (check.last != last)
        last = check.last
    assert set(due.values()) <= {0, 1}
    days = datetime.fromisoformat(last) - datetime.fromisoformat(first)
    assert days == timedelta(days=sum(due.values()) + missed), "each day is told or counted as missed"
