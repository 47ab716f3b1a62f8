"""Each row of ``rules.toml``, by the transcripts that it names; and all the others, which no row may disturb."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from diagnosis.played import circumstances, errors_of
from mailslot.diagnosis.causes import CAUSES
from mailslot.diagnosis.classify import diagnose
from mailslot.diagnosis.rules import TABLES, Rule, parse_rules, rule_for, rules
from transcripts import FIXTURES, load, read

if TYPE_CHECKING:
    import ssl

    from transcripts import Transcript

FOLDERS = {protocol: folder for folder, protocol in TABLES.items()}

ROWS = [
    pytest.param(rule, fixture, id=f"{FOLDERS[rule.protocol]}-{rule.cause}-{fixture}")
    for rule in rules()
    for fixture in rule.fixtures
]

NAMED = {(FOLDERS[rule.protocol], fixture) for rule in rules() for fixture in rule.fixtures}

OTHERS = [
    pytest.param(transcript, id=f"{folder}-{transcript.name}")
    for folder in ("smtp", "pop3")
    for transcript in load(folder)  # type: ignore[arg-type]  # one of the two
    if (folder, transcript.name) not in NAMED
    and any(call.outcome == "error" and "cause" in call.expected for call in transcript.calls)
]


@pytest.mark.parametrize(("rule", "fixture"), ROWS)
async def test_row(rule: Rule, fixture: str, client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    transcript = read(FIXTURES / FOLDERS[rule.protocol] / f"{fixture}.txt")
    *_, error = await errors_of(transcript, client_context, server_context)
    known = circumstances(transcript)
    assert rule_for(error, known) is rule
    assert diagnose(error, known).cause == rule.cause
    # A row that says what the library says by itself is one too many.
    assert error.cause != rule.cause


@pytest.mark.parametrize("transcript", OTHERS)
async def test_no_row_disturbs(
    transcript: Transcript, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """What the library says stands where no row names it."""
    expected = [call.expected.get("cause") for call in transcript.calls if call.outcome == "error"]
    found = await errors_of(transcript, client_context, server_context)
    causes = [diagnose(error, circumstances(transcript)).cause for error in found]
    assert [cause if known else None for cause, known in zip(causes, expected, strict=True)] == expected


@pytest.mark.parametrize("rule", [rule for rule in rules() if rule.provider], ids=lambda rule: rule.cause)
async def test_provider_by_its_server(
    rule: Rule, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """A password slot names no provider; the server tells it. At anybody else's the row does not fit."""
    transcript = read(FIXTURES / FOLDERS[rule.protocol] / f"{rule.fixtures[0]}.txt")
    *_, error = await errors_of(transcript, client_context, server_context)
    known = replace(circumstances(transcript), provider=None, host="Outlook.office365.com.")
    assert rule_for(error, known) is rule
    assert rule_for(error, replace(known, host="mail.example.com")) is None


def test_the_library_alone_reads_no_rules() -> None:
    code = "import sys, mailslot; print(sorted(m for m in sys.modules if m.startswith('mailslot.diag')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_cause_is_in_the_catalogue() -> None:
    assert {rule.cause for rule in rules()} <= set(CAUSES)


def test_each_row_has_transcripts_and_a_source() -> None:
    assert all((FIXTURES / folder / f"{name}.txt").exists() for folder, name in NAMED)
    assert all(rule.source for rule in rules())


GOOD = """
[[smtp]]
stages = ["sign_in"]
code = "535"
words = "x"
cause = "unknown"
source = "s"
fixtures = ["f"]
"""


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('code = "535"', "", "without a code"),
        ('code = "535"', 'code = "["', "row 1"),
        ('code = "535"', "code = 535", "row 1"),
        ("[[smtp]]", "[[imap]]", "imap"),
        ("words", "sentence", "sentence"),
        ('"sign_in"', '"signin"', "signin"),
        ('"s"', '""', "row 1"),
        ('fixtures = ["f"]', "", "fixtures"),
        ('fixtures = ["f"]', "fixtures = []", "row 1"),
        ("words", 'token = "stolen"\nwords', "stolen"),
        ("words", 'authentication = ["kerberos"]\nwords', "kerberos"),
    ],
)
def test_a_wrong_file_is_refused(old: str, new: str, word: str) -> None:
    assert len(parse_rules(GOOD)) == 1
    with pytest.raises(ValueError, match=word):
        parse_rules(GOOD.replace(old, new, 1))
