"""One mail per incident, however the sensor flutters, and no crash loses one."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailslot import InputError
from mailslot_plugins.alerts.incidents import MAX_DIGEST, MAX_INCIDENTS, mark_accepted, reset_watched, step
from mailslot_plugins.alerts.state import (
    HOUR,
    AlertMail,
    AlertPolicy,
    AlertState,
    ConditionCleared,
    ConditionRaised,
    Event,
    Observation,
)
from mailslot_plugins.alerts.state_json import as_json, from_json

NOON = 1_800_000_000.0
MINUTE = 60.0
TELL = AlertPolicy(recipients=lambda _: ("admin@example.test",))
LOW = ConditionRaised("toner_low", "warning", part="black", clear_after=MINUTE)
JAM = ConditionRaised("jam", "error", debounce=2 * MINUTE, clear_after=MINUTE)


class Life:
    """A state over time, and its mails."""

    def __init__(self, policy: AlertPolicy = TELL) -> None:
        self.state = AlertState()
        self.policy = policy
        self.mails: list[AlertMail] = []

    def at(self, minutes: float, *events: Event, waiting: int = 0) -> list[str]:
        self.state = step(self.state, NOON + minutes * MINUTE, self.policy, events, waiting=waiting)
        new = list(self.state.outbox)
        for number, mail in enumerate(new):
            self.state = mark_accepted(self.state, mail.key, len(self.mails) + number, f"<{mail.key}@x>")
        self.mails += new
        return ["digest" if mail.digest else mail.reports[0].what for mail in new]


def test_an_incident_and_its_end_are_mailed_once() -> None:
    life = Life()
    assert life.at(0, LOW) == ["notice"]
    assert life.at(1, LOW) == []
    assert life.at(2, ConditionCleared("toner_low")) == []
    assert life.at(2.5) == []
    assert life.at(3) == ["all_clear"]
    assert life.state.incidents == ()
    assert life.mails[1].reports[0].thread == f"<{life.mails[0].key}@x>"
    assert life.at(4, LOW) == ["notice"], "a new incident"


def test_a_condition_shorter_than_its_debounce_is_not_mailed() -> None:
    life = Life()
    assert life.at(0, JAM) == []
    assert life.at(1, ConditionCleared("jam")) == []
    assert life.at(3) == []
    assert life.state.incidents == ()
    assert life.at(4, JAM) == []
    assert life.at(6) == ["notice"]


def test_a_fluttering_sensor_sends_one_mail() -> None:
    life = Life(replace(TELL, reminder=0))
    result = [
        life.at(second / 60, LOW if second % 10 else ConditionCleared("toner_low")) for second in range(0, 24 * 3600, 5)
    ]
    assert [what for whats in result for what in whats] == ["notice"]


def test_reminders_repeat_and_missed_ones_are_combined() -> None:
    life = Life(replace(TELL, reminder=24 * HOUR))
    life.at(0, LOW)
    assert life.at(24 * 60 - 1) == []
    assert life.at(24 * 60) == ["reminder"]
    assert life.at(4 * 24 * 60) == ["reminder"], "the device was off for three days"
    assert life.at(4 * 24 * 60 + 1, ConditionCleared("toner_low")) == []
    assert life.at(9 * 24 * 60) == ["all_clear"]


def test_each_part_is_an_incident_and_each_source_clears_its_own() -> None:
    life = Life()
    cyan = replace(LOW, part="cyan")
    assert life.at(0, LOW, cyan) == ["notice", "notice"]
    life.at(1, replace(cyan, source="printer"), ConditionCleared("toner_low", source="command"))
    black, both = life.state.incidents
    assert black.absent_since is not None
    assert both.sources == ("printer",)
    life.at(2, ConditionCleared("toner_low"))
    assert all(not incident.sources for incident in life.state.incidents)


def test_conditions_that_a_watch_no_longer_observes_are_cleared() -> None:
    life = Life()
    life.at(0, ConditionRaised("service_due", "warning"), Observation("printer", (LOW, replace(JAM, debounce=0))))
    life.at(1, Observation("printer", (LOW,)))
    assert [i.kind for i in life.state.incidents if i.absent_since is None] == ["service_due", "toner_low"]


def test_reports_beyond_the_cap_are_mailed_together_within_the_hour() -> None:
    life = Life(replace(TELL, cap=3))
    for number in range(3):
        assert life.at(number, replace(LOW, part=f"part {number}")) == ["notice"]
    for number in range(3, 30):
        assert life.at(number, replace(LOW, part=f"part {number}")) == []
    assert life.at(59) == []
    assert life.at(60.1) == ["digest"]
    assert [report.part for report in life.mails[3].reports] == [f"part {number}" for number in range(3, 30)]


def test_reports_are_gathered_while_the_server_is_down() -> None:
    life = Life(replace(TELL, cap=2))
    sent = [life.at(hour * 60, replace(LOW, part=str(hour)), waiting=min(hour, 2)) for hour in range(48)]
    assert sent == [["notice"], ["notice"], *[[]] * 46]
    assert life.at(48 * 60, waiting=0) == ["digest"]
    reports = [report for mail in life.mails for report in mail.reports]
    assert sum(report.what == "notice" for report in reports) == 48


def test_an_incident_that_ended_before_its_mail_is_mailed_once() -> None:
    life = Life(replace(TELL, cap=1))
    life.at(0, replace(LOW, part="other"))
    life.at(1, LOW)
    life.at(2, ConditionCleared("toner_low", "black"))
    life.at(3)
    assert life.at(61) == ["all_clear"]
    report = life.mails[1].reports[0]
    assert (report.since, report.ended) == (NOON + MINUTE, NOON + 2 * MINUTE)


def test_recipients_by_kind_and_severity() -> None:
    policy = AlertPolicy(
        recipients=lambda kind: ("service@x.test",) if kind == "jam" else ("admin@x.test",), minimum="error"
    )
    life = Life(policy)
    assert life.at(0, LOW, replace(JAM, debounce=0)) == ["notice"]
    assert life.mails[0].recipients == ("service@x.test",)
    assert [incident.told for incident in life.state.incidents] == [0, 1], "the other is listed"
    life.policy = replace(policy, minimum="warning")
    assert life.at(1) == ["notice"], "once it is wanted"


def test_without_recipients_mails_wait_for_recipients() -> None:
    life = Life(AlertPolicy())
    assert life.at(0, LOW) == []
    life.policy = TELL
    assert life.at(1) == ["notice"]


def test_a_clock_set_back_neither_stops_time_nor_repeats_mails() -> None:
    life = Life()
    life.at(0, LOW, JAM)
    year = 365 * 24 * 60
    assert life.at(-10 * year) == []
    assert life.at(-10 * year + 2) == ["notice"], "the jam's debounce goes on"
    life.at(-10 * year + 3, ConditionCleared("jam"))
    assert life.at(-10 * year + 4) == ["all_clear"]


def test_unmailed_observations_are_dropped_at_a_restart() -> None:
    life = Life()
    life.at(0, Observation("printer", (JAM,)), replace(LOW, source="printer"), replace(LOW, part="cyan", debounce=600))
    life.state = reset_watched(life.state, {"printer"})
    assert [(i.kind, i.part) for i in life.state.incidents] == [("toner_low", "black"), ("toner_low", "cyan")]
    assert life.at(3 * 24 * 60) == ["reminder", "notice"]


def test_limits_of_stored_incidents() -> None:
    life = Life(replace(TELL, cap=1))
    life.at(0, *(replace(LOW, part=str(number)) for number in range(MAX_INCIDENTS)))
    with pytest.raises(InputError):
        life.at(0, LOW)
    for minute in range(1, 9, 2):
        life.at(minute, ConditionCleared("toner_low"))
        life.at(minute + 1, *(replace(LOW, part=f"{minute} {number}") for number in range(MAX_INCIDENTS)))
    assert len(life.state.pending) <= MAX_DIGEST
    life.at(61)
    digest = life.mails[-1]
    assert digest.left_out > 0
    assert len(digest.reports) <= MAX_DIGEST


class Stopped(Exception):  # noqa: N818 - nothing is wrong with it
    """The power went off before this write."""


KINDS = st.sampled_from(["jam", "toner_low", "cover_open"])
RAISED = st.builds(
    ConditionRaised,
    kind=KINDS,
    severity=st.sampled_from(["warning", "error"]),
    part=st.sampled_from(["", "black"]),
    source=st.sampled_from(["command", "printer"]),
    debounce=st.sampled_from([0.0, 120.0]),
    clear_after=st.sampled_from([0.0, 60.0, 86400.0]),
)
EVENTS = st.one_of(
    RAISED,
    st.builds(
        ConditionCleared,
        kind=KINDS,
        part=st.sampled_from([None, "", "black"]),
        source=st.sampled_from([None, "command", "printer"]),
    ),
    st.builds(Observation, source=st.just("printer"), conditions=st.lists(RAISED, max_size=3).map(tuple)),
)
TURNS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 30.0, 61.0, 600.0, 3700.0, 90000.0, -50000.0]),
        st.lists(EVENTS, max_size=3),
        st.integers(0, 12),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(TURNS, st.integers(1, 4))
def test_no_crash_loses_or_repeats_a_mail(turns: list[tuple[float, list[Event], int]], cap: int) -> None:
    """A disk, a spool that knows keys, and a device that stops after so many writes of either."""
    policy = replace(TELL, cap=cap, reminder=8 * HOUR)
    disk = json.dumps(as_json(AlertState()))
    spool: dict[str, AlertMail] = {}
    result: set[str] = set()
    left = 0

    def write() -> None:
        nonlocal left
        if not left:
            raise Stopped
        left -= 1

    def record(now: float, events: list[Event]) -> None:
        nonlocal disk
        state = step(from_json(json.loads(disk)), now, policy, events)
        write()
        disk = json.dumps(as_json(state))
        result.update(incident.id for incident in state.incidents if incident.told)
        for mail in state.outbox:
            write()
            assert spool.setdefault(mail.key, mail) == mail, "the same key is the same mail"
            state = mark_accepted(state, mail.key, len(spool), "<thread@x>")
            write()
            disk = json.dumps(as_json(state))

    now = NOON
    for passed, events, writes in turns:
        now, left = now + passed, writes
        with suppress(Stopped):
            record(now, events)
    for _ in range(200):
        now, left = now + HOUR + 1, 1000
        record(now, [])

    reports = [report for mail in spool.values() for report in mail.reports]
    for what in ("notice", "all_clear"):
        ids = [report.incident for report in reports if report.what == what]
        assert len(ids) == len(set(ids)), f"two mails of one incident say {what}"
    assert result <= {report.incident for report in reports}
    ended = {report.incident for report in reports if report.what == "all_clear"}
    assert all(incident.id not in ended for incident in from_json(json.loads(disk)).incidents)
    assert from_json(json.loads(disk)).outbox == ()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 2000), st.lists(RAISED, max_size=6)), max_size=60), st.integers(1, 5))
def test_never_more_than_the_cap_within_an_hour(turns: list[tuple[float, list[Event]]], cap: int) -> None:
    life = Life(AlertPolicy(recipients=lambda kind: (f"{kind}@x.test",), cap=cap, reminder=HOUR))
    minutes = 0.0
    for seconds, events in turns:
        minutes += seconds / 60
        life.at(minutes, *events)
    times = [mail.at for mail in life.mails]
    for start in times:
        assert sum(start <= at < start + HOUR for at in times) <= cap
