"""Each row of ``rules.toml``, by what shows it; and all other transcripts, which no refinement may disturb."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

import pytest

import virtual_time
from diagnosis.collected import smtp_refusals
from diagnosis.collected_answers import pop3_refusals
from diagnosis.replies import parse_reply
from diagnosis.transcript_errors import context_of_transcript, errors_of_transcript
from diagnosis.variants import changes_for, varied
from mailslot.causes import rules
from mailslot.causes.columns import Words
from mailslot.causes.refusal import Refusal
from mailslot.causes.rules import find_rule, parse_table, table
from mailslot.causes.words import normalize
from mailslot.diagnosis.classify import diagnose
from mailslot.oauth.token_error_table import parse_error_table
from transcripts import FIXTURES, load, read

if TYPE_CHECKING:
    import ssl

    from mailslot.causes.refinement import Refinement
    from mailslot.causes.rules import Rule
    from transcripts import Transcript

pytestmark = pytest.mark.virtual_time

ROWS = [
    pytest.param(rule, fixture, id=f"{rule.cause}-{fixture}") for rule in table().rules for fixture in rule.fixtures
]

EXAMPLES = [
    pytest.param(rule, example, id=f"{rule.cause}-{example}") for rule in table().rules for example in rule.examples
]

REFINEMENTS = [
    pytest.param(row, fixture, id=f"{row.cause}-{fixture}") for row in table().refinements for fixture in row.fixtures
]

REFINED = {fixture for row in table().refinements for fixture in row.fixtures}

OTHERS = [
    pytest.param(transcript, id=f"{folder}-{transcript.name}")
    for folder in ("smtp", "pop3")
    for transcript in load(folder)  # type: ignore[arg-type]  # one of the two
    if f"{folder}/{transcript.name}" not in REFINED
    and any(call.outcome == "error" and "cause" in call.expected for call in transcript.calls)
]


def transcript_of(fixture: str) -> Transcript:
    return read(FIXTURES / f"{fixture}.txt")


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """What is said is told apart alike on either loop; the tests of transcripts have these dialogues on both."""
    return virtual_time.backend("asyncio")


@pytest.mark.parametrize(("rule", "fixture"), ROWS)
async def test_row(
    rule: Rule,
    fixture: str,
    client_context: ssl.SSLContext,
    server_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The session itself says so, by this row, which is not tied to one string."""
    refusals: list[Refusal] = []

    def noting(refusal: Refusal) -> Rule | None:
        found = find_rule(refusal)
        refusals.extend([refusal] if found == rule else [])
        return found

    monkeypatch.setattr(rules, "find_rule", noting)
    *_, error = await errors_of_transcript(transcript_of(fixture), client_context, server_context)
    assert refusals
    assert error.cause == rule.cause
    for refusal in refusals:
        for change in changes_for(rule, refusal):
            found = find_rule(varied(refusal, change))
            assert (found and found.cause) == rule.cause, change.__name__


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_example(rule: Rule, example: str) -> None:
    """A row that none reaches is one too many."""
    protocol: Any = "POP3" if example.startswith("-") else "SMTP" if example[0].isdigit() else "IMAP"
    found = [
        find_rule(
            Refusal(
                protocol=protocol, stage=stage, reply=parse_reply(protocol, example), verb=verb, presented=presented
            )
        )
        for stage in cast("tuple[Any, ...]", rule.stages or ("greeting", "sign_in", "envelope", "data", "transaction"))
        for verb in rule.verbs or ("",)
        for presented in cast("tuple[Any, ...]", rule.presented or (None, "password"))
    ]
    assert rule in found


@pytest.mark.parametrize(("row", "fixture"), REFINEMENTS)
async def test_refinement(
    row: Refinement, fixture: str, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    transcript = transcript_of(fixture)
    *_, error = await errors_of_transcript(transcript, client_context, server_context)
    assert error.cause in row.given
    assert diagnose(error, context_of_transcript(transcript)).cause == row.cause


@pytest.mark.parametrize("transcript", OTHERS)
async def test_refinements_do_not_change_other_causes(
    transcript: Transcript, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """What was judged where it was received stands."""
    expected = [call.expected.get("cause") for call in transcript.calls if call.outcome == "error"]
    found = await errors_of_transcript(transcript, client_context, server_context)
    causes = [diagnose(error, context_of_transcript(transcript)).cause for error in found]
    assert [cause if known else None for cause, known in zip(causes, expected, strict=True)] == expected


@pytest.mark.parametrize("row", [row for row in table().refinements if row.provider], ids=lambda row: row.cause)
async def test_provider_by_server_name(
    row: Refinement, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """A password slot names no provider; the server tells it. At anybody else's the row does not fit."""
    transcript = transcript_of(row.fixtures[0])
    *_, error = await errors_of_transcript(transcript, client_context, server_context)
    known = replace(context_of_transcript(transcript), provider=None, host="Outlook.office365.com.")
    assert diagnose(error, known).cause == row.cause
    assert diagnose(error, replace(known, host="mail.example.com")).cause == error.cause


def test_the_tables_are_loaded_at_the_first_refusal() -> None:
    code = "import sys, mailslot; print([m for m in sys.modules if m in {'tomllib', 'mailslot.causes.rules'}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_pattern_is_one() -> None:
    """At a refusal each is compiled when it is asked; here all are."""
    written = files("mailslot.causes").joinpath("rules.toml").read_text("utf-8")
    assert len(parse_table(written).rules) == len(table().rules)
    assert parse_error_table(files("mailslot.oauth").joinpath("token_errors.toml").read_text("utf-8")).descriptions


def test_looking_for_terms_first_changes_nothing() -> None:
    """A pattern is found where the whole of it is found, whatever of it is compiled."""
    patterns = [rule.words for rule in table().rules if rule.words is not None]
    said_by_servers = (*smtp_refusals("seen"), *pop3_refusals("seen"), *smtp_refusals("third"))
    for said in sorted({normalize(each.text) for each in said_by_servers})[::3]:
        words = Words(said)
        for pattern in patterns:
            assert pattern.found_in(words) == bool(re.search(pattern.pattern, said, re.IGNORECASE)), (pattern, said)


def test_every_rule_has_its_transcript() -> None:
    named = {fixture for rule in (*table().rules, *table().refinements) for fixture in rule.fixtures}
    assert [name for name in sorted(named) if not (FIXTURES / f"{name}.txt").exists()] == []


GOOD = """
[[rule]]
protocols = ["SMTP"]
stages = ["sign_in"]
code = "535"
words = "x"
cause = "unknown"
source = "s"
fixtures = ["f"]

[[refinement]]
given = "token_refused"
token = "another user"
cause = "account_mismatch"
source = "s"
fixtures = ["f"]
"""


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('code = "535"', 'code = "["', "row 1"),
        ('code = "535"', "code = 535", "row 1"),
        ("[[rule]]", "[[rules]]", "rules"),
        ('["SMTP"]', '["NNTP"]', "NNTP"),
        ("words", "sentence", "sentence"),
        ('"sign_in"', '"signin"', "signin"),
        ('stages = ["sign_in"]', "", "without stages"),
        ('"s"', '""', "row 1"),
        ('fixtures = ["f"]', "", "neither"),
        ('fixtures = ["f"]', "fixtures = []", "row 1"),
        ("another user", "stolen", "stolen"),
        ("token =", 'authentication = ["kerberos"]\ntoken =', "kerberos"),
        ("account_mismatch", "bad_hair_day", "bad_hair_day"),
    ],
)
def test_an_invalid_rules_file_is_refused(old: str, new: str, word: str) -> None:
    assert len(parse_table(GOOD).rules) == 1
    with pytest.raises(ValueError, match=word):
        parse_table(GOOD.replace(old, new, 1))
