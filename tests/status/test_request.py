"""Status requests in all forms that office devices use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot_plugins.status.request import ALL_TOPICS, Request, parse_request


@pytest.mark.parametrize(
    ("subject", "lines", "topics"),
    [
        ("status", [], ["device"]),
        ("STATUS", [], ["device"]),
        ("Status.", [], ["device"]),
        ("Re: status supplies", [], ["supplies"]),
        ("RE: AW: Re[2]: Status   Counters, JOBS", [], ["counters", "jobs"]),
        ("status all", ["status jobs"], [*ALL_TOPICS]),
        ("", ["", "  status all  ", "-- ", "Alice"], [*ALL_TOPICS]),
        ("hello", ["Status jobs"], ["jobs"]),
        ("", ["> status all", "status jobs"], ["jobs"]),
        ("devicestatus?request=sysconfig", [], ["device"]),
        ("DeviceStatus?format=text&REQUEST=supply&lang=en", [], ["supplies"]),
        ("devicestatus?request=status", [], ["device", "jobs"]),
        ("anything", ["#Password geheim", "#Status", "#Status"], [*ALL_TOPICS]),
        ("anything", ["Hello,", "#networkinfo\t"], ["device"]),
    ],
)
def test_understood(subject: str, lines: list[str], topics: list[str]) -> None:
    assert parse_request(subject, lines) == Request(tuple(topics))  # type: ignore[arg-type] - as they are written


@pytest.mark.parametrize(
    ("subject", "lines", "request_"),
    [
        ("", [], Request()),
        ("status toner", [], Request((), ("toner",))),
        ("status jobs toner", [], Request(("jobs",), ("toner",))),
        ("devicestatus?request=reboot", [], Request((), ("request=reboot",))),
        ("devicestatus?x", [], Request((), ("request=",))),
        ("x", ["#SetMsgAddr evil@example.test", "#Status"], Request(ALL_TOPICS, ("#setmsgaddr",))),
        ("x", ["#Password geheim"], Request()),
        ("x", ["#"], Request((), ("#",))),
        ("Lunch?", ["At noon?"], Request((), ("Lunch?",))),
        ("statuses", [], Request((), ("statuses",))),
    ],
)
def test_not_understood(subject: str, lines: list[str], request_: Request) -> None:
    assert parse_request(subject, lines) == request_


@given(st.text(), st.lists(st.text()))
def test_any_request_is_parsed_and_little_is_repeated(subject: str, lines: list[str]) -> None:
    request = parse_request(subject, lines)
    assert set(request.topics) <= set(ALL_TOPICS)
    assert sum(map(len, request.unknown)) < 1000
