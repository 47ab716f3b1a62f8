"""The pages of causes and codes: whole, and each text under its cause."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generators.causes import all_causes
from generators.codes import aadsts_codes, smtp_codes, token_errors
from generators.hook import fill_page
from generators.quotations import Quotation, quotations
from generators.tables import quoted
from mailslot.causes.cause import causes
from mailslot.causes.rules import table
from mailslot.oauth.token_error_table import error_table

SECTIONS = dict(
    re.findall(r"^### `(\w+)`[^\n]*\n(.*?)(?=^###? |\Z)", fill_page(all_causes()), re.MULTILINE | re.DOTALL)
)


@pytest.mark.parametrize("cause", causes())
def test_every_cause_has_its_section(cause: str) -> None:
    section = SECTIONS[cause]
    assert "| Who must act |" in section
    assert "| Get Token |" in section
    assert causes()[cause].disposition is None or "| Waiting jobs |" in section


def test_what_was_said_stands_under_its_cause() -> None:
    missing = [each for each in quotations() if quoted(f"{each.code} {each.text}".strip()) not in SECTIONS[each.cause]]
    assert missing == []
    assert len(quotations()) > 800
    assert all(each.source for each in quotations())


def test_every_row_has_its_source_on_the_page() -> None:
    missing = [rule.source for rule in table().rules if quoted(rule.source) not in SECTIONS[rule.cause]]
    assert missing == []


def test_every_code_leads_to_its_cause() -> None:
    numbers = re.findall(r'<code id="aadsts(\d+)">AADSTS\1</code> \| \[`(\w+)`\]\(causes\.md#\2\)', aadsts_codes())
    assert {int(number): cause for number, cause in numbers} == {
        number: meaning.cause for number, meaning in error_table().aadsts.items()
    }
    assert set(re.findall(r"causes\.md#(\w+)", token_errors())) == {
        meaning.cause for meaning in error_table().errors.values()
    }
    rows = smtp_codes()
    for each in quotations():
        assert not each.code or f'<code id="smtp-{each.code.replace(" ", "-")}">' in rows


def test_of_a_transcript_the_refusal_that_was_expected_is_quoted() -> None:
    said = {(each.cause, each.code) for each in quotations() if "SmtpClientAuthentication" in each.text}
    assert said == {("smtp_auth_disabled", "535 5.7.139")}
    assert not any(each.source.startswith("RFC") and each.text == "or not" for each in quotations())


@given(st.text())
def test_quoted_text_is_no_markdown(text: str) -> None:
    shown = quoted(text)
    assert html.unescape(shown) == text or "\r" in text or any(not char.isprintable() for char in text)
    assert not set(shown) & set('*_`<>[]|{}!\\~^$"')


def test_quotations_are_sorted_and_unique() -> None:
    keys = [(each.cause, each.code, each.text.casefold()) for each in quotations()]
    assert len(set(keys)) == len(keys)
    assert all(isinstance(each, Quotation) and "\n" not in each.text for each in quotations())
