"""Diagnoses by the clock, the token and the facts, and for arbitrary replies."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import MailError, NetworkError, RecipientsRefusedError, RefusedError, Reply, Security, SignInError
from mailslot.causes.cause import causes
from mailslot.diagnosis.catalogue import explain, languages
from mailslot.diagnosis.classify import MAX_WORDS, diagnose
from mailslot.diagnosis.context import DiagnosisContext
from mailslot.errors import InputError, Stage, TokenError
from mailslot.oauth.presets import preset
from mailslot.oauth.providers import custom_provider
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError, classify_error
from mailslot.wire.secret import Secret

KNOWN = DiagnosisContext("SMTP", "smtp.example.com", 587, Security.STARTTLS, "oauth2", account="scanner@example.com")

DAY = 86_400.0


def jwt(**claims: Any) -> Secret:
    def part(members: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(members).encode()).decode().rstrip("=")

    return Secret(f"{part({'alg': 'RS256'})}.{part(claims)}.c2lnbmF0dXJl")


def refused(cause: str = "token_refused", text: str = "no", code: int = 535, enhanced: str = "5.7.8") -> SignInError:
    return SignInError("refused", cause=cause, reply=Reply(code, enhanced, text, positive=False))


# What passes through.


@pytest.mark.parametrize("cause", sorted(set(causes()) - {"ok"}))
def test_errors_without_a_reply_are_unchanged(cause: str) -> None:
    error = MailError("It failed.", stage="token", cause=cause)
    assert diagnose(error, KNOWN).cause == cause


def test_in_doubt_is_preserved() -> None:
    reply = Reply(554, "5.2.0", "SendAsDenied", positive=False)
    error = MailError("Lost.", stage="data", cause="in_doubt", reply=reply, in_doubt=True)
    assert diagnose(error, KNOWN).cause == "in_doubt"


def test_an_undefined_cause_becomes_unknown() -> None:
    assert diagnose(MailError("It failed.", stage="token", cause="bad_hair_day"), KNOWN).cause == "unknown"


# The clock.


@pytest.mark.parametrize(
    ("cause", "skew", "expected"),
    [
        ("certificate_not_yet_valid", 0.0, "certificate_not_yet_valid"),
        ("certificate_not_yet_valid", 299.0, "certificate_not_yet_valid"),
        ("certificate_not_yet_valid", 301.0, "clock_wrong"),
        ("certificate_not_yet_valid", -DAY, "certificate_not_yet_valid"),
        ("certificate_expired", -301.0, "clock_wrong"),
        ("certificate_expired", DAY, "certificate_expired"),
        ("certificate_untrusted", DAY, "certificate_untrusted"),
        ("token_refused", DAY, "token_refused"),
    ],
)
def test_clock_offset_has_the_right_sign(cause: str, skew: float, expected: str) -> None:
    error = NetworkError("No.", stage="tls", cause=cause)
    assert diagnose(error, replace(KNOWN, skew=skew)).cause == expected


@pytest.mark.parametrize(
    ("begin", "end", "cause"),
    [
        (100 * DAY, 200 * DAY, "clock_wrong"),
        (100 * DAY, 109 * DAY, "certificate_expired"),
        (None, 150 * DAY, "clock_wrong"),
    ],
)
def test_clock_compared_with_the_certificates_dates(begin: float | None, end: float, cause: str) -> None:
    """The device shows day 300, and true time is day 110: does that make the certificate good?"""
    error = NetworkError("Expired.", stage="tls", cause="certificate_expired")
    known = replace(KNOWN, now=300 * DAY, skew=-190 * DAY, valid_from=begin, valid_until=end)
    assert diagnose(error, known).cause == cause


@pytest.mark.parametrize(
    ("skew", "words"), [(600.0, "10 minutes"), (-3 * 3600.0, "3 hours"), (400 * DAY, "400 days"), (0.0, "wrong.")]
)
def test_the_size_of_the_clock_error(skew: float, words: str) -> None:
    found = diagnose(TokenError("The clock.", cause="clock_wrong"), replace(KNOWN, skew=skew))
    assert words in explain(found).message


# The token.

GOOGLE = replace(KNOWN, provider=preset("google"), token=Secret("ya29.cannot-be-read"))


@pytest.mark.parametrize(
    ("scopes", "owner", "cause"),
    [
        ((), None, "token_refused"),
        (("https://mail.google.com/", "openid"), "Scanner@Example.com", "token_refused"),
        (("openid", "email"), "scanner@example.com", "token_for_other_service"),
        (("https://mail.google.com/",), "boss@example.com", "account_mismatch"),
    ],
)
def test_a_token_that_cannot_be_read(scopes: tuple[str, ...], owner: str | None, cause: str) -> None:
    """What the provider said when it gave the token tells instead."""
    known = replace(GOOGLE, scopes=scopes, owner=owner)
    error = SignInError(
        "refused",
        cause="token_refused",
        reply=Reply(535, "5.7.8", "Username and Password not accepted.", positive=False),
        challenge={"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"},
    )
    assert diagnose(error, known).cause == cause


def test_the_replys_text_outranks_the_claims() -> None:
    """A server that says why is believed, whatever the token says."""
    token = jwt(aud="https://graph.microsoft.com", upn="boss@example.com", scp="Mail.Read")
    known = replace(KNOWN, provider=preset("microsoft365"), token=token)
    for cause in ("smtp_auth_disabled", "sign_in_temporarily_unavailable", "sign_in_blocked_by_policy"):
        assert diagnose(refused(cause), known).cause == cause
    assert diagnose(refused("token_refused"), known).cause == "token_for_other_service"
    assert diagnose(refused("token_refused"), replace(known, provider=None)).cause == "account_mismatch"


def test_the_account_of_the_token_is_shown() -> None:
    token = jwt(aud="https://outlook.office.com", upn="boss@example.com", scp="SMTP.Send")
    known = replace(KNOWN, provider=preset("microsoft365"), token=token)
    explanation = explain(diagnose(refused(), known))
    assert (
        explanation.message
        == "The token belongs to boss@example.com, but the account that is set is scanner@example.com."
    )
    assert (explanation.actor, explanation.token_helps) == ("operator", True)


# Recipients.


def test_the_refused_recipient_is_shown() -> None:
    reply = Reply(550, "5.1.1", "No such user", positive=False)
    error = RecipientsRefusedError("All.", cause="recipient_refused", refused={"a@b.example": reply}, retryable=False)
    expected = "The mail server refused the recipient a@b.example: No such user"
    assert explain(diagnose(error, KNOWN)).message == expected


# Somebody's words.


def test_the_replying_server_is_shown() -> None:
    server = refused("unknown", "Moon in the wrong phase\nask again")
    assert explain(diagnose(server, KNOWN)).message == "The mail server said: Moon in the wrong phase ask again"
    service = TokenServiceError(
        "x", cause="unknown", remedy=Remedy.UNKNOWN, error="invalid_request", error_description="Bad moon."
    )
    assert explain(diagnose(service, KNOWN)).message == "The token service said: invalid_request: Bad moon."
    silent = TokenServiceError("x", cause="unknown", remedy=Remedy.UNKNOWN, status=418)
    assert explain(diagnose(silent, KNOWN)).message == "The token service said: HTTP 418"
    useless = TokenServiceError("It answered without a token.", cause="unknown", remedy=Remedy.WAIT, status=200)
    assert explain(diagnose(useless, KNOWN)).message == "It did not work: It answered without a token."
    ours = InputError("The port must be a number.", stage="resolve")
    assert "The port must be a number." in explain(diagnose(ours, KNOWN)).message


def test_quoted_text_is_cut_and_printable() -> None:
    text = "\x1b[31mred\x07\u202e" + "long " * 100
    message = explain(diagnose(refused("unknown", text), KNOWN)).message
    assert message.isprintable()
    assert message.endswith("…")
    assert len(message) <= MAX_WORDS + len("The mail server said: ")


ANY = st.text(max_size=300)
HOSTILE = ANY | st.text(st.sampled_from("{}[]\\\r\n\t\0 a5.-\u202e\ud800"), max_size=300)
REPLIES = st.builds(
    Reply,
    st.none() | st.integers(200, 599),
    st.none() | st.sampled_from(["5.7.8", "4.2.0", "IN-USE", "AUTH", "SYS/PERM", "", "5.7.606"]) | HOSTILE,
    HOSTILE,
    st.booleans(),
)
TOKENS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=60)

JWTS = st.dictionaries(
    st.sampled_from(["aud", "scp", "roles", "upn", "email", "exp", "iss"]),
    st.none() | ANY | st.integers() | st.lists(ANY, max_size=2) | st.dictionaries(ANY, ANY, max_size=1),
).map(lambda claims: jwt(**claims))


@st.composite
def errors(draw: st.DrawFn) -> MailError:
    reply, cause = draw(st.none() | REPLIES), draw(st.sampled_from([*causes(), "nonsense", ""]))
    stage: Stage = draw(st.sampled_from(get_args(Stage)))
    detail = draw(HOSTILE)
    if stage == "sign_in" and reply is not None:
        challenge = draw(st.none() | st.dictionaries(HOSTILE, HOSTILE, max_size=3))
        return SignInError(draw(HOSTILE), cause=cause, reply=reply, detail=detail, challenge=challenge)
    return RefusedError(draw(HOSTILE), stage=stage, cause=cause, reply=reply, detail=detail)


@st.composite
def situations(draw: st.DrawFn) -> DiagnosisContext:
    return DiagnosisContext(
        draw(st.sampled_from(["SMTP", "POP"])),
        draw(HOSTILE | st.just("smtp.office365.com")),
        draw(st.integers()),
        draw(st.sampled_from(Security)),
        draw(st.sampled_from(["none", "password", "pop_before_smtp", "oauth2"]) | HOSTILE),
        account=draw(st.none() | HOSTILE),
        sender=draw(st.none() | HOSTILE),
        provider=draw(st.none() | st.sampled_from([preset("google"), preset("microsoft365")])),
        token=draw(st.none() | TOKENS.map(Secret) | JWTS),
        scopes=tuple(draw(st.lists(HOSTILE, max_size=2))),
        owner=draw(st.none() | HOSTILE),
        skew=draw(st.floats()),
        now=draw(st.none() | st.floats()),
        valid_from=draw(st.none() | st.floats()),
        valid_until=draw(st.none() | st.floats()),
    )


@given(errors(), situations())
def test_any_error_is_classified(error: MailError, known: DiagnosisContext) -> None:
    found = diagnose(error, known)
    assert found.cause in causes()
    assert found == diagnose(error, known)
    for language in languages():
        explanation = explain(found, language)
        assert explanation.message.isprintable()
        assert explanation.advice.isprintable()
    assert all(len(value) <= MAX_WORDS for value in found.facts.values())


@given(st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=100), st.integers(500, 599))
def test_unknown_keeps_the_servers_reply(text: str, code: int) -> None:
    error = RefusedError(text, stage="quit", cause="unknown", reply=Reply(code, None, text, positive=False))
    assert explain(diagnose(error, KNOWN)).message == f"The mail server said: {text}"


@given(TOKENS, HOSTILE, HOSTILE, st.sampled_from([*causes(), "nonsense"]))
def test_no_secret_is_shown(token: str, before: str, after: str, cause: str) -> None:
    for echo in (token, token.upper(), base64.b64encode(token.encode()).decode()):
        text = f"{before} {echo} {after}"
        error = SignInError(text, cause=cause, reply=Reply(535, "5.7.8", text, positive=False), detail=text)
        found = diagnose(error, replace(KNOWN, token=Secret(token)))
        shown = [found.detail, *found.facts.values(), *(explain(found, language).message for language in languages())]
        assert not [one for one in shown if echo.casefold() in one.casefold()]


@pytest.mark.parametrize(
    ("claims", "cause"),
    [
        ({"email": "boss@example.com"}, "account_mismatch"),
        ({"email": "Scanner@example.com"}, "token_refused"),
        ({"sub": "4711"}, "token_refused"),
        ({"username": "scanner", "aud": "another"}, "token_refused"),
    ],
)
def test_a_token_at_a_self_hosted_server(claims: dict[str, str], cause: str) -> None:
    """Nothing is known of its audience, but whose token it is tells enough."""
    assert diagnose(refused(), replace(KNOWN, token=jwt(**claims))).cause == cause


# What the token is for.


@pytest.mark.parametrize(
    ("audience", "name"),
    [
        ("00000003-0000-0000-c000-000000000000", "Microsoft Graph"),
        ("https://graph.microsoft.com", "Microsoft Graph"),
        ("00000002-0000-0000-c000-000000000000", "Azure AD Graph"),
        ("https://graph.windows.net/", "Azure AD Graph"),
        ("797f4846-ba00-4fd7-ba43-dac1f8f63013", "Azure Resource Manager"),
        ("9f3c0000-0000-0000-0000-00000000abcd", "9f3c0000-0000-0000-0000-00000000abcd"),
    ],
)
@pytest.mark.parametrize("provider", ["microsoft365", None, "custom"])
def test_a_token_for_another_service_says_for_which(audience: str, name: str, provider: str | None) -> None:
    token = jwt(aud=audience, upn="scanner@example.com", scp="Mail.Send")
    chosen = {
        "microsoft365": preset("microsoft365"),
        "custom": custom_provider(token_endpoint="https://login.example.com/token", scopes="Mail.Send"),
        None: None,
    }[provider]
    known = replace(KNOWN, host="smtp.office365.com", provider=chosen, token=token)
    found = diagnose(refused(), known)
    assert found.cause == "token_for_other_service"
    said = explain(found)
    assert said.message == f"The token is for {name}, not for this mail service."
    assert "permissions (scopes)" in said.advice
    assert (said.actor, said.token_helps) == ("operator", True)
    for language in languages():
        assert name in explain(found, language).message


@pytest.mark.parametrize(
    "audience",
    [
        "00000002-0000-0ff1-ce00-000000000000",
        "https://outlook.office.com",
        "https://outlook.office365.com/",
        "https://ps.outlook.com",
    ],
)
def test_a_token_for_exchange_is_for_mail(audience: str) -> None:
    token = jwt(aud=audience, upn="scanner@example.com", scp="SMTP.Send")
    known = replace(KNOWN, provider=preset("microsoft365"), token=token)
    assert diagnose(refused(), known).cause == "token_refused"
    # Another permission is missing: it is the right service all the same.
    other = replace(known, token=jwt(aud=audience, upn="scanner@example.com", scp="Mail.Read"))
    found = diagnose(refused(), other)
    assert found.cause == "token_for_other_service"
    assert explain(found).message == "The token is for another service, not for this mail service."


@pytest.mark.parametrize(
    ("code", "said", "name"),
    [
        (
            650057,
            "Resource value from request: . Resource app ID: 00000003-0000-0000-c000-000000000000.",
            "Microsoft Graph",
        ),
        (
            500011,
            "The resource principal named https://graph.windows.net was not found in the tenant.",
            "Azure AD Graph",
        ),
        (70011, "The provided value for scope https://graph.microsoft.com/POP.Read is not valid.", "Microsoft Graph"),
    ],
)
def test_permissions_of_another_service_say_of_which(code: int, said: str, name: str) -> None:
    members = {"error": "invalid_resource", "error_description": f"AADSTS{code}: {said}"}
    error = classify_error(TokenServiceResponse(400, members), "refresh_token")
    found = diagnose(error, KNOWN)
    assert found.cause == "scope_wrong"
    assert explain(found).message == f"The requested permissions (scopes) are for {name}, not for this mail service."
    for language in languages():
        assert name in explain(found, language).message


def test_permissions_of_the_mail_service_itself() -> None:
    said = "AADSTS650057: Resource value from request: https://outlook.office365.com."
    error = classify_error(TokenServiceResponse(400, {"error": "invalid_resource", "error_description": said}))
    assert explain(diagnose(error, KNOWN)).message == "The requested permissions (scopes) are wrong."
