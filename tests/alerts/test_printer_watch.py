"""Conditions of a real printer, and of every known keyword."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.webhook_server import run_webhook_server
from lab.process import free_ports
from mailslot import InputError, NetworkError, ServerError
from mailslot_plugins.alerts.kinds import REASONS
from mailslot_plugins.alerts.printer_watch import observe_printer, parse_conditions
from mailslot_plugins.alerts.state import ConditionCleared, ConditionRaised, Observation
from mailslot_plugins.printers.ipp.client import http_address, printer_attributes
from mailslot_plugins.printers.ipp.codec import MAX_OCTETS, Attribute, Group, Tag, decode, encode
from mailslot_plugins.printers.ipp.supplies import Supply, counters, supplies

if TYPE_CHECKING:
    from lab.printer import Printer

IDLE, STOPPED = 3, 5


async def test_a_real_printer(printer: Printer) -> None:
    printer.set_levels(waste=20, black=80)
    assert await observe_printer(printer.uri) == (
        ConditionCleared("printer_unreachable", source="printer-link"),
        Observation("printer"),
    )
    printer.set_levels(waste=95, black=3)
    _, seen = await observe_printer(printer.uri)
    assert isinstance(seen, Observation)
    assert [(each.kind, each.severity, each.detail) for each in seen.conditions] == [
        ("waste_toner_almost_full", "warning", "Toner Waste Tank 95 %"),
        ("toner_low", "warning", "Black Toner 3 %"),
    ]


async def test_all_attributes_of_a_real_printer_can_be_read(printer: Printer) -> None:
    result = await printer_attributes(printer.uri, ["all", "media-col-database"])
    assert result["printer-name"] == ("Lab",)
    assert result["printer-is-accepting-jobs"] == (True,)
    assert result["copies-supported"] == ((1, 1),)
    sizes = [entry["media-size"][0] for entry in cast("Any", result["media-col-database"])]
    assert {"x-dimension": (21000,), "y-dimension": (29700,)} in sizes


async def test_an_unreachable_printer_changes_no_other_condition() -> None:
    (port,) = free_ports(1)
    [seen] = await observe_printer(f"ipp://127.0.0.1:{port}/ipp/print")
    assert isinstance(seen, ConditionRaised)
    assert (seen.kind, seen.source, seen.detail) == (
        "printer_unreachable",
        "printer-link",
        "The printer cannot be reached.",
    )
    assert seen.debounce == 900


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"\2\0\0\0\0\0\0\1\4" + b"\x44\0\1x\0\1y" * 400_000,
    ],
    ids=["404", "no IPP", "no HTTP", "endless"],
)
async def test_a_server_that_is_not_a_printer(answer: bytes) -> None:
    async with run_webhook_server(answer) as web:
        with pytest.raises((ServerError, NetworkError)):
            await printer_attributes(f"ipp://127.0.0.1:{web.port}/", ["all"])


@pytest.mark.parametrize("suffix", ["", "-report", "-warning", "-error"])
@pytest.mark.parametrize("state", [IDLE, STOPPED])
def test_severity_by_suffix_and_state(suffix: str, state: int) -> None:
    [seen] = parse_conditions({"printer-state": (state,), "printer-state-reasons": (f"media-jam{suffix}",)})
    without = "error" if state == STOPPED else "warning"
    assert seen.kind == "jam"
    assert seen.severity == {"": without, "-report": "information", "-warning": "warning", "-error": "error"}[suffix]


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_each_keyword_means_a_kind(reason: str) -> None:
    for suffix in ("", "-report", "-warning", "-error"):
        [seen] = parse_conditions({"printer-state-reasons": (reason + suffix,)})
        assert seen.kind == REASONS[reason].name


def test_harmless_and_unknown_reasons() -> None:
    assert [
        *parse_conditions({"printer-state-reasons": ("none", "moving-to-paused", "cups-waiting-for-job-completed")})
    ] == []
    [seen] = parse_conditions({"printer-state-reasons": ("com.example-warp\r\ncore-breach-error",)})
    assert (seen.kind, seen.part, seen.severity) == ("other", "com.example-warp core-breach", "error")
    assert len([*parse_conditions({"printer-state-reasons": tuple(f"x{n}" for n in range(1000))})]) == 50
    both = parse_conditions({"printer-state-reasons": ("toner-low-warning", "marker-supply-low-report")})
    assert [each.kind for each in both] == ["toner_low"]


def test_supplies_in_both_forms() -> None:
    assert supplies(
        {
            "marker-names": ("Black", "Waste", "Cyan", "Yellow"),
            "marker-levels": (9, 95, -2),
            "marker-types": ("toner", "waste-toner"),
        }
    ) == (
        Supply("Black", 9, low=True, fills=False),
        Supply("Waste", 95, low=True, fills=True),
        Supply("Cyan", None, low=False, fills=False),
        Supply("Yellow", None, low=False, fills=False),
    )
    tells = {"printer-supply": (b"type=toner;maxcapacity=8000;level=4000;colorantname=black", b"level=x;;=", b"\xff")}
    assert [(each.name, each.level) for each in supplies(tells)] == [
        ("black", 50),
        ("supply 2", None),
        ("supply 3", None),
    ]
    assert counters({"printer-impressions-completed": (123,), "printer-media-sheets-completed": ("many",)}) == {
        "Print Count": 123
    }


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("ipp://printer.example/ipp/print", "http://printer.example:631/ipp/print"),
        ("ipps://[::1]:8631/ipp", "https://[::1]:8631/ipp"),
        ("ipp://10.0.0.1", "http://10.0.0.1:631/"),
    ],
)
def test_addresses(uri: str, address: str) -> None:
    assert http_address(uri) == address


@pytest.mark.parametrize("uri", ["http://x/", "ipp:///x", "ipp://x:99999/", "ipp://user:secret@x/", "", "ipp://[::1/"])
def test_no_addresses(uri: str) -> None:
    with pytest.raises(InputError):
        http_address(uri)


def test_a_request_in_octets() -> None:
    keyword = Attribute(Tag.KEYWORD, "requested-attributes", ("a", "b"))
    assert encode(0x000B, 7, [(Tag.OPERATION, [keyword])], version=(1, 1)) == (
        b"\x01\x01\x00\x0b\0\0\0\x07\x01\x44\0\x14requested-attributes\0\x01a\x44\0\0\0\x01b\x03"
    )
    octets = encode(0, 1, [(Tag.PRINTER, [Attribute(Tag.INTEGER, "n", (-2, 5)), Attribute(Tag.BOOLEAN, "b", (True,))])])
    assert decode(octets).groups == (Group(Tag.PRINTER, {"n": (-2, 5), "b": (True,)}),)


HEAD = struct.pack(">BBHI", 2, 0, 0, 1)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        HEAD,
        HEAD + b"\x04\x21\0\1n\0\3abc\x03",
        HEAD + b"\x44\0\1n\0\1x\x03",
        HEAD + b"\x04\x44\0\0\0\1x\x03",
        HEAD + b"\x04\x44\xff\xffn",
        HEAD + b"\x04\x34\0\1c\0\0" + b"\x4a\0\0\0\1m\x34\0\0\0\0" * 5000,
    ],
)
def test_invalid_responses(octets: bytes) -> None:
    with pytest.raises(ServerError):
        decode(octets)


@pytest.mark.parametrize("piece", [b"\x04", b"\x21\x00\x01n\x00\x04\x00\x00\x00\x05"], ids=["groups", "values"])
def test_responses_with_too_many_values_are_refused(piece: bytes) -> None:
    """Decoding a megabyte of them would block the event loop for many seconds."""
    head = bytes.fromhex("0200 0000 00000001 04")
    assert decode(head + piece * 1000 + b"\x03").groups
    with pytest.raises(ServerError, match="not IPP") as raised:
        decode(head + piece * (MAX_OCTETS // len(piece)))
    assert "too many groups and values" in raised.value.detail


@given(st.binary(max_size=200))
def test_arbitrary_octets_are_handled(octets: bytes) -> None:
    for pieces in itertools.chain([octets], [HEAD + b"\x04" + octets]):
        try:
            [*parse_conditions(decode(pieces).group(Tag.PRINTER))]
        except ServerError:
            continue
