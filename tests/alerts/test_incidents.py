"""One mail an incident, whatever the sensor does, and none lost whenever the device stops."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailslot import InputError
from mailslot_plugins.alerts.board import HOUR, Board, Cleared, Event, Mail, Observed, Policy, Raised
from mailslot_plugins.alerts.board_json import as_json, from_json
from mailslot_plugins.alerts.incidents import MAX_DIGEST, MAX_INCIDENTS, accepted, resumed, step

NOON = 1_800_000_000.0
MINUTE = 60.0
TELL = Policy(recipients=lambda _: ("admin@example.test",))
LOW = Raised("toner_low", "warning", part="black", clear_after=MINUTE)
JAM = Raised("jam", "error", debounce=2 * MINUTE, clear_after=MINUTE)


class Life:
    """A board that lives on, and the mails that left it."""

    def __init__(self, policy: Policy = TELL) -> None:
        self.board = Board()
        self.policy = policy
        self.mails: list[Mail] = []

    def at(self, minutes: float, *events: Event, waiting: int = 0) -> list[str]:
        self.board = step(self.board, NOON + minutes * MINUTE, self.policy, events, waiting=waiting)
        new = list(self.board.outbox)
        for number, mail in enumerate(new):
            self.board = accepted(self.board, mail.key, len(self.mails) + number, f"<{mail.key}@x>")
        self.mails += new
        return ["digest" if mail.digest else mail.reports[0].what for mail in new]


def test_an_incident_is_told_once_and_its_end_once() -> None:
    life = Life()
    assert life.at(0, LOW) == ["notice"]
    assert life.at(1, LOW) == []
    assert life.at(2, Cleared("toner_low")) == []
    assert life.at(2.5) == []
    assert life.at(3) == ["all_clear"]
    assert life.board.incidents == ()
    assert life.mails[1].reports[0].thread == f"<{life.mails[0].key}@x>"
    assert life.at(4, LOW) == ["notice"], "a new incident"


def test_what_passes_within_its_debounce_is_not_told() -> None:
    life = Life()
    assert life.at(0, JAM) == []
    assert life.at(1, Cleared("jam")) == []
    assert life.at(3) == []
    assert life.board.incidents == ()
    assert life.at(4, JAM) == []
    assert life.at(6) == ["notice"]


def test_a_fluttering_sensor_sends_one_mail() -> None:
    life = Life(replace(TELL, reminder=0))
    said = [life.at(second / 60, LOW if second % 10 else Cleared("toner_low")) for second in range(0, 24 * 3600, 5)]
    assert [what for whats in said for what in whats] == ["notice"]


def test_reminders_go_on_while_it_lasts_and_one_for_all_that_were_missed() -> None:
    life = Life(replace(TELL, reminder=24 * HOUR))
    life.at(0, LOW)
    assert life.at(24 * 60 - 1) == []
    assert life.at(24 * 60) == ["reminder"]
    assert life.at(4 * 24 * 60) == ["reminder"], "the device was off for three days"
    assert life.at(4 * 24 * 60 + 1, Cleared("toner_low")) == []
    assert life.at(9 * 24 * 60) == ["all_clear"]


def test_parts_are_incidents_of_their_own_and_sources_end_what_they_began() -> None:
    life = Life()
    cyan = replace(LOW, part="cyan")
    assert life.at(0, LOW, cyan) == ["notice", "notice"]
    life.at(1, replace(cyan, source="printer"), Cleared("toner_low", source="command"))
    black, both = life.board.incidents
    assert black.absent_since is not None
    assert both.sources == ("printer",)
    life.at(2, Cleared("toner_low"))
    assert all(not incident.sources for incident in life.board.incidents)


def test_what_a_watch_no_longer_sees_is_gone_and_what_others_said_stays() -> None:
    life = Life()
    life.at(0, Raised("service_due", "warning"), Observed("printer", (LOW, replace(JAM, debounce=0))))
    life.at(1, Observed("printer", (LOW,)))
    assert [i.kind for i in life.board.incidents if i.absent_since is None] == ["service_due", "toner_low"]


def test_what_exceeds_the_cap_goes_out_together_within_the_hour() -> None:
    life = Life(replace(TELL, cap=3))
    for number in range(3):
        assert life.at(number, replace(LOW, part=f"part {number}")) == ["notice"]
    for number in range(3, 30):
        assert life.at(number, replace(LOW, part=f"part {number}")) == []
    assert life.at(59) == []
    assert life.at(60.1) == ["digest"]
    assert [report.part for report in life.mails[3].reports] == [f"part {number}" for number in range(3, 30)]


def test_while_the_server_is_down_mails_are_gathered() -> None:
    life = Life(replace(TELL, cap=2))
    sent = [life.at(hour * 60, replace(LOW, part=str(hour)), waiting=min(hour, 2)) for hour in range(48)]
    assert sent == [["notice"], ["notice"], *[[]] * 46]
    assert life.at(48 * 60, waiting=0) == ["digest"]
    reports = [report for mail in life.mails for report in mail.reports]
    assert sum(report.what == "notice" for report in reports) == 48


def test_what_began_and_ended_before_it_could_be_told_is_told_once() -> None:
    life = Life(replace(TELL, cap=1))
    life.at(0, replace(LOW, part="other"))
    life.at(1, LOW)
    life.at(2, Cleared("toner_low", "black"))
    life.at(3)
    assert life.at(61) == ["all_clear"]
    report = life.mails[1].reports[0]
    assert (report.since, report.ended) == (NOON + MINUTE, NOON + 2 * MINUTE)


def test_recipients_by_kind_and_severity() -> None:
    policy = Policy(
        recipients=lambda kind: ("service@x.test",) if kind == "jam" else ("admin@x.test",), minimum="error"
    )
    life = Life(policy)
    assert life.at(0, LOW, replace(JAM, debounce=0)) == ["notice"]
    assert life.mails[0].recipients == ("service@x.test",)
    assert [incident.told for incident in life.board.incidents] == [0, 1], "the other is listed"
    life.policy = replace(policy, minimum="warning")
    assert life.at(1) == ["notice"], "once it is wanted"


def test_without_recipients_nothing_is_told_until_there_are_some() -> None:
    life = Life(Policy())
    assert life.at(0, LOW) == []
    life.policy = TELL
    assert life.at(1) == ["notice"]


def test_a_clock_set_back_stops_no_time_and_sends_nothing_twice() -> None:
    life = Life()
    life.at(0, LOW, JAM)
    year = 365 * 24 * 60
    assert life.at(-10 * year) == []
    assert life.at(-10 * year + 2) == ["notice"], "the jam's debounce goes on"
    life.at(-10 * year + 3, Cleared("jam"))
    assert life.at(-10 * year + 4) == ["all_clear"]


def test_what_was_seen_before_the_device_was_off_is_looked_at_again() -> None:
    life = Life()
    life.at(0, Observed("printer", (JAM,)), replace(LOW, source="printer"), replace(LOW, part="cyan", debounce=600))
    life.board = resumed(life.board, {"printer"})
    assert [(i.kind, i.part) for i in life.board.incidents] == [("toner_low", "black"), ("toner_low", "cyan")]
    assert life.at(3 * 24 * 60) == ["reminder", "notice"]


def test_bounds() -> None:
    life = Life(replace(TELL, cap=1))
    life.at(0, *(replace(LOW, part=str(number)) for number in range(MAX_INCIDENTS)))
    with pytest.raises(InputError):
        life.at(0, LOW)
    for minute in range(1, 9, 2):
        life.at(minute, Cleared("toner_low"))
        life.at(minute + 1, *(replace(LOW, part=f"{minute} {number}") for number in range(MAX_INCIDENTS)))
    assert len(life.board.pending) <= MAX_DIGEST
    life.at(61)
    digest = life.mails[-1]
    assert digest.left_out > 0
    assert len(digest.reports) <= MAX_DIGEST


class Stopped(Exception):  # noqa: N818 - nothing is wrong with it
    """The power went off before this write."""


KINDS = st.sampled_from(["jam", "toner_low", "cover_open"])
RAISED = st.builds(
    Raised,
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
        Cleared,
        kind=KINDS,
        part=st.sampled_from([None, "", "black"]),
        source=st.sampled_from([None, "command", "printer"]),
    ),
    st.builds(Observed, source=st.just("printer"), conditions=st.lists(RAISED, max_size=3).map(tuple)),
)
TURNS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 30.0, 61.0, 600.0, 3700.0, 90000.0, -50000.0]),
        st.lists(EVENTS, max_size=3),
        st.integers(0, 12),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(TURNS, st.integers(1, 4))
def test_no_mail_twice_and_none_lost_wherever_the_device_stops(
    turns: list[tuple[float, list[Event], int]], cap: int
) -> None:
    """A disk, a spool that knows keys, and a device that stops after so many writes of either."""
    policy = replace(TELL, cap=cap, reminder=8 * HOUR)
    disk = json.dumps(as_json(Board()))
    spool: dict[str, Mail] = {}
    told: set[str] = set()
    left = 0

    def write() -> None:
        nonlocal left
        if not left:
            raise Stopped
        left -= 1

    def tell(now: float, events: list[Event]) -> None:
        nonlocal disk
        board = step(from_json(json.loads(disk)), now, policy, events)
        write()
        disk = json.dumps(as_json(board))
        told.update(incident.id for incident in board.incidents if incident.told)
        for mail in board.outbox:
            write()
            assert spool.setdefault(mail.key, mail) == mail, "the same key is the same mail"
            board = accepted(board, mail.key, len(spool), "<thread@x>")
            write()
            disk = json.dumps(as_json(board))

    now = NOON
    for passed, events, writes in turns:
        now, left = now + passed, writes
        with suppress(Stopped):
            tell(now, events)
    for _ in range(200):
        now, left = now + HOUR + 1, 1000
        tell(now, [])

    reports = [report for mail in spool.values() for report in mail.reports]
    for what in ("notice", "all_clear"):
        ids = [report.incident for report in reports if report.what == what]
        assert len(ids) == len(set(ids)), f"two mails of one incident say {what}"
    assert told <= {report.incident for report in reports}
    ended = {report.incident for report in reports if report.what == "all_clear"}
    assert all(incident.id not in ended for incident in from_json(json.loads(disk)).incidents)
    assert from_json(json.loads(disk)).outbox == ()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 2000), st.lists(RAISED, max_size=6)), max_size=60), st.integers(1, 5))
def test_never_more_than_the_cap_within_an_hour(turns: list[tuple[float, list[Event]]], cap: int) -> None:
    life = Life(Policy(recipients=lambda kind: (f"{kind}@x.test",), cap=cap, reminder=HOUR))
    minutes = 0.0
    for seconds, events in turns:
        minutes += seconds / 60
        life.at(minutes, *events)
    times = [mail.at for mail in life.mails]
    for start in times:
        assert sum(start <= at < start + HOUR for at in times) <= cap
