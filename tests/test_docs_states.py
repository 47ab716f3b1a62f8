"""The diagrams of states: each transition of the library's tables is drawn, and nothing else is loaded for them."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from generators.states import machine
from mailslot.pop3 import states as pop3
from mailslot.pop3.server import states as pop3_server
from mailslot.smtp import states as smtp
from mailslot.smtp.server import states as smtp_server
from mailslot.spool import job

SVG = "{http://www.w3.org/2000/svg}"


def drawn(name: str) -> ET.Element:
    html = machine(name).partition("\n")[0]
    return ET.fromstring(html.removeprefix('<figure class="states">').removesuffix("</figure>"))


def texts(name: str) -> list[str]:
    return [str(each.text) for each in drawn(name).iter(f"{SVG}text")]


def rows(name: str) -> list[tuple[str, ...]]:
    found = re.findall(r"^ {4}\| `(\w+)` \| (.+) \| `(\w+)` \|$", machine(name), re.MULTILINE)
    assert found
    return found


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("smtp", [each.name for each in smtp.State]),
        ("smtp-server", [each.name for each in smtp_server.State]),
        ("pop3", [each.name for each in pop3.State]),
        ("pop3-server", [each.name for each in pop3_server.State]),
        ("jobs", [*job.STATES]),
    ],
)
def test_each_state_is_drawn_once_without_external_resources(name: str, states: list[str]) -> None:
    svg = drawn(name)
    boxes = [each.text for each in svg.iter(f"{SVG}text") if each.get("class") == "state"]
    assert sorted(map(str, boxes)) == sorted(states)
    assert svg.find(f"{SVG}title") is not None
    assert not [each for each in svg.iter() if each.tag in {f"{SVG}image", f"{SVG}use", f"{SVG}script"}]
    assert not {key for each in svg.iter() for key in each.attrib if "href" in key}


def test_each_transition_of_a_job_is_drawn_and_described() -> None:
    result = {(state, event.strip("`"), to) for state, events, to in rows("jobs") for event in events.split(", ")}
    assert result == {(state, event, to) for state, events in job.TRANSITIONS.items() for event, to in events.items()}
    labels = " ".join(texts("jobs"))
    for state, event, to in result:
        assert event in labels if state == to else re.search(rf"\b{event}\b[\w, ]* → {to}\b", labels)


def test_each_successful_dialogue_step_is_described() -> None:
    for name, answered in (
        ("smtp", smtp.TRANSITIONS.items()),
        ("smtp-server", smtp_server.TRANSITIONS.items()),
        ("pop3", pop3.TRANSITIONS.items()),
        ("pop3-server", pop3_server.TRANSITIONS.items()),
    ):
        result = [row for row in rows(name) if not row[1].endswith(" refused")]
        for (state, verb), outcome in answered:
            if outcome.positive is not None:
                assert [
                    row
                    for row in result
                    if row[0] == state.name and row[2] == outcome.positive.name and f"`{verb.value}`" in row[1]
                ]
