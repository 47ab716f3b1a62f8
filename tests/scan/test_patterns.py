"""Patterns for subjects and file names, with arbitrary values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot.errors import InputError
from mailslot.message.header_text import check_header_text
from mailslot_plugins.scan.patterns import PLACEHOLDERS, Pattern, timestamp_values

MOMENT = datetime(2026, 11, 24, 17, 5, 9, tzinfo=UTC)
VALUES = {**timestamp_values(MOMENT), "device": "Copier 2", "counter": 7, "page": 3, "name": "invoice", "user": "Zoë"}


@pytest.mark.parametrize(
    ("pattern", "filled"),
    [
        ("Scan from {device}", "Scan from Copier 2"),
        ("{date} {time} {counter} {counter:4} {page:3}", "2026-11-24 17:05:09 7 0007 003"),
        ("{{literal}} {user}", "{literal} Zoë"),
        ("%Y %s %d {date}", "%Y %s %d 2026-11-24"),
        ("{serial}", ""),
        ("", ""),
    ],
)
def test_subject(pattern: str, filled: str) -> None:
    assert Pattern(pattern).fill(VALUES) == filled


@pytest.mark.parametrize(
    ("pattern", "suffix", "name"),
    [
        ("{device}_{date}_{time}", ".pdf", "Copier 2_2026-11-24_17-05-09.pdf"),
        ("{name}", ".PDF", "invoice.PDF"),
        ("report.pdf", ".pdf", "report.pdf"),
        ("{serial}", ".pdf", "scan.pdf"),
        ("...", ".pdf", "scan.pdf"),
        ("CON", ".pdf", "_CON.pdf"),
        ("aux", "", "_aux"),
        ("スキャン", ".tif", "スキャン.tif"),
    ],
)
def test_file_name(pattern: str, suffix: str, name: str) -> None:
    assert Pattern(pattern, "file name").file_name(VALUES, suffix) == name


@pytest.mark.parametrize(
    "evil", ["../../etc/passwd", "a\\b", "C:\\x", "a\r\nBcc: b@example.com", "\u202efdp.exe", "..", "\ud800"]
)
def test_values_cannot_contain_paths(evil: str) -> None:
    values = {**VALUES, "device": evil}
    name = Pattern("{device}", "file name").file_name(values, ".pdf")
    assert not set(name) & set("/\\:\r\n\0\u202e\ud800")
    assert name.endswith(".pdf")
    assert not name.startswith(".")
    check_header_text(Pattern("From {device}").fill(values), "subject")


def test_a_location_with_a_line_break_stays_one_line() -> None:
    assert Pattern("{location}").fill({"location": "Second floor\r\n\tleft "}) == "Second floor left"


def test_values_are_not_filled_in_again() -> None:
    assert Pattern("{device}").fill({"device": "{serial}", "serial": "secret"}) == "{serial}"


@pytest.mark.parametrize(
    ("pattern", "kind", "says"),
    [
        ("{devise}", "subject", "{devise} is not known; there are {device}"),
        ("{", "subject", "single brace"),
        ("a } b", "subject", "single brace"),
        ("{0}", "subject", "single brace"),
        ("{device!r}", "subject", "single brace"),
        ("{device.__class__}", "subject", "single brace"),
        ("a\nb", "subject", "line break"),
        ("a\u2028b", "subject", "line break"),
        ("x" * 5001, "subject", "5,001 characters"),
        ("../{device}", "file name", "slash"),
        ("a\\b", "file name", "slash"),
    ],
)
def test_invalid_patterns(pattern: str, kind: str, says: str) -> None:
    with pytest.raises(InputError, match=says.replace("{", r"\{")):
        Pattern(pattern, kind)  # type: ignore[arg-type]


@given(st.text(max_size=80), st.dictionaries(st.sampled_from(sorted(PLACEHOLDERS)), st.text(max_size=40)))
def test_no_name_is_harmful(text: str, values: dict[str, str]) -> None:
    try:
        pattern = Pattern(text, "file name")
    except InputError:
        return
    name = pattern.file_name(values, ".pdf")
    assert 0 < len(name.encode()) <= 120
    assert not set(name) & set('/\\\r\n\0<>:"|?*')
    assert name.strip() == name
