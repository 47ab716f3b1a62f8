"""The texts for each cause: complete in every language, also when facts are missing."""

from __future__ import annotations

import re
import string
from itertools import combinations
from typing import Any, Final, get_args

import pytest

from mailslot.causes.cause import Actor, causes, parse_causes
from mailslot.diagnosis.catalogue import (
    LANGUAGES,
    WORDS,
    actor_name,
    explain,
    label,
    languages,
    messages,
    needed_facts,
    variants,
)
from mailslot.diagnosis.diagnosis import Diagnosis

DESIGN: Final = """
ok                                                                          -               no
not_configured                                                              operator        no
name_not_found connection_refused connection_timeout network_unreachable    network         no
not_a_mail_server                                                           network         no
server_busy                                                                 wait            no
tls_port_mismatch                                                           network         no
tls_not_offered tls_failed tls_injection                                    network         no
certificate_expired certificate_not_yet_valid                               network         no
certificate_name_mismatch certificate_untrusted                             network         no
clock_wrong                                                                 operator        no
token_not_retrieved                                                         operator        yes
token_update_failed                                                         operator        yes
token_not_renewable                                                         operator        yes
token_store_unreadable                                                      operator        yes
token_service_unreachable                                                   network         no
token_service_busy                                                          wait            no
consent_missing app_secret_invalid app_secret_expired app_type_wrong        administrator   no
app_or_tenant_unknown scope_wrong                                           administrator   no
token_for_other_service                                                     operator        yes
sign_in_blocked_by_policy                                                   administrator   no
sign_in_method_not_offered                                                  network         no
token_refused                                                               operator        yes
account_mismatch                                                            operator        yes
mailbox_not_allowed                                                         administrator   no
smtp_auth_disabled pop_disabled                                             administrator   no
password_refused password_no_longer_accepted app_password_required          operator        no
account_locked                                                              administrator   no
sign_in_temporarily_unavailable                                             wait            no
token_too_long                                                              administrator   no
tls_required                                                                operator        no
authentication_required                                                     operator        no
mailbox_in_use login_delay                                                  wait            no
too_many_connections sending_limit_reached                                  wait            no
sender_refused recipient_refused message_too_large content_refused          operator        no
mailbox_full sender_blocked                                                 administrator   no
connection_lost                                                             network         no
in_doubt                                                                    wait            no
protocol_error                                                              network         no
try_again_later                                                             wait            no
unknown                                                                     administrator   no
"""
"""The table of the design, section 7: causes, who must act, whether getting the token again helps."""

ROWS = [
    (cause, None if actor == "-" else actor, helps == "yes")
    for *causes, actor, helps in map(str.split, DESIGN.strip().splitlines())
    for cause in causes
]

WORD_FOR_WORD: Final = "Token update failed. Please delete the token and obtain it again."

every_language = pytest.mark.parametrize("language", LANGUAGES)


def all_texts(language: str) -> list[tuple[str, str, int, str]]:
    """Cause, ``sentence`` or ``advice``, number and text."""
    return [
        (cause, part, number, text)
        for cause, table in messages(language).items()
        if cause != WORDS
        for part in ("sentence", "advice")
        for number, text in enumerate(variants(table[part]))
    ]


@pytest.mark.parametrize(("cause", "actor", "helps"), ROWS)
def test_the_causes_match_the_design_document(cause: str, actor: str | None, helps: bool) -> None:
    assert (causes()[cause].actor, causes()[cause].token_helps) == (actor, helps)


@every_language
def test_every_language_is_complete(language: str) -> None:
    assert set(messages(language)) == {*causes(), WORDS}
    english = {(cause, part, number): needed_facts(text) for cause, part, number, text in all_texts("en")}
    found = {(cause, part, number): needed_facts(text) for cause, part, number, text in all_texts(language)}
    assert found == english
    assert {cause for cause in causes() if set(messages(language)[cause]) != {"sentence", "advice"}} == set()
    words: Any = messages(language)[WORDS]
    assert set(words["security"]) == {"none", "starttls", "tls"}
    assert set(words["actor"]) == set(get_args(Actor))
    english: Any = messages("en")[WORDS]
    assert set(words["label"]) == set(english["label"])
    same = [name for name, text in words["label"].items() if text == english["label"][name]]
    assert language == "en" or same == []
    assert all(label(name, language) == text for name, text in words["label"].items())


@every_language
def test_every_text_ends_with_punctuation(language: str) -> None:
    ends = "。" if language == "ja" else "."
    wrong = [
        (cause, text)
        for cause, _, _, text in all_texts(language)
        if not text.endswith((ends, "{words}", "{token_words}", "{reason}")) or text != text.strip() or "  " in text
    ]
    assert wrong == []


def test_every_text_is_translated() -> None:
    """Nothing was left in English."""
    english = {(cause, part, number): text for cause, part, number, text in all_texts("en")}
    for language in languages()[1:]:
        same = [key for *key, text in all_texts(language) if english[tuple(key)] == text]
        assert same == [], language


def test_the_last_variant_needs_no_facts() -> None:
    lasts = {(cause, part): text for cause, part, _, text in all_texts("en")}
    assert {key: text for key, text in lasts.items() if needed_facts(text)} == {}


def test_token_update_failed_has_the_quoted_text() -> None:
    """Where getting the token again helps, and nowhere else."""
    assert [cause for cause, part, _, text in all_texts("en") if WORD_FOR_WORD in text] == ["token_update_failed"]
    for facts in ({}, {"account": "a@example.com", "host": "h", "provider": "p"}):
        assert explain(Diagnosis("token_update_failed", facts)).message == WORD_FOR_WORD
    assert causes()["token_update_failed"].token_helps


def test_german_keeps_sharp_s() -> None:
    """A maker's own panel says it so."""
    result = explain(Diagnosis("token_update_failed"), "de").message
    assert result == "Token-Update fehlgeschlagen. Bitte löschen Sie das Token und rufen Sie das Token erneut ab."


@every_language
@pytest.mark.parametrize("cause", causes())
def test_no_placeholder_is_left_empty(cause: str, language: str) -> None:
    table = messages(language)[cause]
    wanted = sorted(
        set().union(*(needed_facts(text) for part in ("sentence", "advice") for text in variants(table[part])))
    )
    for size in range(len(wanted) + 1):
        for known in combinations(wanted, size):
            explanation = explain(Diagnosis(cause, {name: f"<{name}>" for name in known}), language)
            for text in (explanation.message, explanation.advice):
                assert text
                assert not set("{}") & set(text)
                shown = set(re.findall(r"<(\w+)>", text))
                assert shown <= set(known)
            empty = explain(Diagnosis(cause, dict.fromkeys(wanted, "")), language)
            assert not set("{}") & set(empty.message + empty.advice)


@every_language
@pytest.mark.parametrize("cause", causes())
def test_known_facts_are_shown(cause: str, language: str) -> None:
    """With all facts, the first text is said."""
    first = variants(messages(language)[cause]["sentence"])[0]
    facts = {name: f"<{name}>" for name in needed_facts(first)}
    result = explain(Diagnosis(cause, facts), language).message
    assert all(name.startswith("security_") or f"<{name}>" in result for name in facts)


def test_placeholders_are_plain_fact_names() -> None:
    for language in LANGUAGES:
        for cause, _, _, text in all_texts(language):
            for _, name, form, conversion in string.Formatter().parse(text):
                assert not form, cause
                assert not conversion, cause
                assert name is None or name.isidentifier(), cause


def test_braces_in_a_reply_are_not_placeholders() -> None:
    explanation = explain(Diagnosis("unknown", {"words": "{host} {0} }{", "host": "h"}))
    assert explanation.message == "The mail server said: {host} {0} }{"


@every_language
def test_unusable_settings_are_not_called_incomplete(language: str) -> None:
    reason = "mailslot.toml has 2 faults:\nmailslot.toml:3: timeout is 0.\nmailslot.toml:4: port is 0."
    result = explain(Diagnosis("not_configured", {"reason": reason}), language).message
    assert result.endswith("mailslot.toml has 2 faults.")
    assert result != explain(Diagnosis("not_configured"), language).message
    missing = {"reason": "The mail server is not set.", "missing": "server"}
    assert "The mail server" not in explain(Diagnosis("not_configured", missing), language).message


@every_language
def test_tls_modes_are_translated(language: str) -> None:
    facts = {"host": "h", "port": "25", "security_now": "tls", "security_right": "none"}
    explanation = explain(Diagnosis("tls_port_mismatch", facts), language)
    assert messages(language)[WORDS]["security"]["none"] in explanation.message
    assert "SSL/TLS" in explanation.message


def test_unknown_causes_and_languages() -> None:
    assert explain(Diagnosis("never_heard_of", {"words": "x"})).cause == "unknown"
    assert explain(Diagnosis("ok"), "de-AT") == explain(Diagnosis("ok"), "de") == explain(Diagnosis("ok"), "DE_ch")
    assert explain(Diagnosis("ok"), "tlh") == explain(Diagnosis("ok")) == explain(Diagnosis("ok"), "")


@every_language
def test_actors_are_translated(language: str) -> None:
    names = [actor_name(actor, language) for actor in get_args(Actor)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ('actor = "nobody"', "nobody"),
        ('disposition = "forget"', "forget"),
        ('token_helps = "yes"', "yes"),
        ('retryable = "yes"', "yes"),
        ('sentence = "No."', "sentence"),
    ],
)
def test_a_wrong_row_is_refused(row: str, word: str) -> None:
    right = '[unknown]\nwhen = "Always."\n'
    assert parse_causes(right).keys() == {"unknown"}
    with pytest.raises(ValueError, match=word):
        parse_causes(right + row)


def test_every_row_describes_when_its_cause_arises() -> None:
    with pytest.raises(ValueError, match="when"):
        parse_causes("[unknown]")
