"""The causes of error responses of a token service."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot.causes.cause import causes
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.token_error_table import Remedy, error_table, parse_error_table
from mailslot.oauth.token_errors import (
    DEVICE_CODE_GRANT,
    JWT_BEARER_GRANT,
    TokenServiceError,
    classify_error,
    shorten,
)


def fault(
    error: object = None,
    description: object = None,
    *codes: object,
    status: int = 400,
    skew: float | None = 0.0,
    grant_type: str = "refresh_token",
    **more: object,
) -> TokenServiceError:
    members = {"error": error, "error_description": description, "error_codes": list(codes) or None, **more}
    json = {name: value for name, value in members.items() if value is not None}
    return classify_error(
        TokenServiceResponse(status, json, retry_after=7, date_skew=skew, host="issuer.test"), grant_type
    )


@pytest.mark.parametrize(
    ("error", "cause", "kind"),
    [
        ("invalid_grant", "token_update_failed", Remedy.NEW_GRANT),
        ("interaction_required", "token_update_failed", Remedy.NEW_GRANT),
        ("login_required", "token_update_failed", Remedy.NEW_GRANT),
        ("invalid_client", "app_secret_invalid", Remedy.CONFIGURATION),
        ("unauthorized_client", "app_type_wrong", Remedy.CONFIGURATION),
        ("unsupported_grant_type", "app_type_wrong", Remedy.CONFIGURATION),
        ("invalid_scope", "scope_wrong", Remedy.CONFIGURATION),
        ("invalid_target", "scope_wrong", Remedy.CONFIGURATION),
        ("consent_required", "consent_missing", Remedy.CONFIGURATION),
        ("admin_policy_enforced", "sign_in_blocked_by_policy", Remedy.CONFIGURATION),
        ("temporarily_unavailable", "token_service_busy", Remedy.WAIT),
        ("server_error", "token_service_busy", Remedy.WAIT),
        ("slow_down", "token_service_busy", Remedy.WAIT),
        ("authorization_pending", "token_not_retrieved", Remedy.WAIT),
        ("access_denied", "unknown", Remedy.UNKNOWN),
        ("authorization_declined", "token_not_retrieved", Remedy.NEW_GRANT),
        ("expired_token", "token_not_retrieved", Remedy.NEW_GRANT),
        ("invalid_request", "unknown", Remedy.UNKNOWN),
        ("some_new_error", "unknown", Remedy.UNKNOWN),
        (None, "unknown", Remedy.UNKNOWN),
        ("", "unknown", Remedy.UNKNOWN),
    ],
)
def test_error_decides(error: str | None, cause: str, kind: Remedy) -> None:
    found = fault(error)
    assert (found.cause, found.remedy, found.error) == (cause, kind, error or None)
    assert found.retryable == (kind is Remedy.WAIT)
    assert (found.status, found.retry_after, found.stage, found.response_lost) == (400, 7, "token", False)


@pytest.mark.parametrize(
    ("error", "number", "cause", "kind"),
    [
        # devices-and-providers, section 3.5, and the rows 3 and 13 to 19 of the catalogue of failures
        ("invalid_grant", 700082, "token_update_failed", Remedy.NEW_GRANT),
        ("invalid_grant", 50173, "token_update_failed", Remedy.NEW_GRANT),
        ("invalid_grant", 50076, "token_update_failed", Remedy.NEW_GRANT),
        ("interaction_required", 50079, "token_update_failed", Remedy.NEW_GRANT),
        ("invalid_grant", 53003, "sign_in_blocked_by_policy", Remedy.CONFIGURATION),
        ("interaction_required", 53000, "sign_in_blocked_by_policy", Remedy.CONFIGURATION),
        ("invalid_grant", 530035, "sign_in_blocked_by_policy", Remedy.CONFIGURATION),
        ("invalid_grant", 50057, "account_locked", Remedy.CONFIGURATION),
        ("invalid_grant", 65001, "consent_missing", Remedy.CONFIGURATION),
        ("access_denied", 65004, "token_not_retrieved", Remedy.NEW_GRANT),
        ("unauthorized_client", 700016, "app_or_tenant_unknown", Remedy.CONFIGURATION),
        ("invalid_request", 90002, "app_or_tenant_unknown", Remedy.CONFIGURATION),
        ("invalid_request", 9002332, "app_or_tenant_unknown", Remedy.CONFIGURATION),
        ("invalid_client", 7000215, "app_secret_invalid", Remedy.CONFIGURATION),
        ("invalid_client", 7000222, "app_secret_expired", Remedy.CONFIGURATION),
        ("invalid_client", 7000218, "app_type_wrong", Remedy.CONFIGURATION),
        ("invalid_client", 700025, "app_type_wrong", Remedy.CONFIGURATION),
        ("invalid_request", 900144, "scope_wrong", Remedy.CONFIGURATION),
        ("invalid_scope", 70011, "scope_wrong", Remedy.CONFIGURATION),
        ("invalid_request", 9001023, "app_or_tenant_unknown", Remedy.CONFIGURATION),
        ("invalid_grant", 50196, "token_service_busy", Remedy.WAIT),
        ("invalid_request", 90033, "token_service_busy", Remedy.WAIT),
        ("authorization_pending", 70016, "token_not_retrieved", Remedy.WAIT),
        # what is known of `error` alone holds where the number is new
        ("invalid_grant", 99999999, "unknown", Remedy.UNKNOWN),
        ("never_heard_of", 99999999, "unknown", Remedy.UNKNOWN),
        # a number cannot turn waiting into anything else
        ("temporarily_unavailable", 700082, "token_service_busy", Remedy.WAIT),
        ("slow_down", 7000215, "token_service_busy", Remedy.WAIT),
    ],
)
def test_aadsts_codes_refine_the_cause(error: str, number: int, cause: str, kind: Remedy) -> None:
    text = f"AADSTS{number}: Something happened.\r\nTrace ID: 0000aaaa\r\nTimestamp: 2026-01-09 02:02:12Z"
    for found in (fault(error, text), fault(error, "…", number), fault(error, text, 1, "x", number)):
        assert (found.cause, found.remedy) == (cause, kind)
        assert number in found.error_codes
        assert "\n" not in found.error_description


@pytest.mark.parametrize("codes", [[], None, "7000222", {"a": 1}, [True], [None], [[7000222]], [1e400], ["7000222"]])
def test_invalid_aadsts_codes(codes: object) -> None:
    found = classify_error(TokenServiceResponse(400, {"error": "invalid_client", "error_codes": codes}))
    assert (found.cause, found.error_codes) == ("app_secret_invalid", ())


@pytest.mark.parametrize(
    ("error", "text", "cause"),
    [
        ("invalid_grant", "Token has been expired or revoked.", "token_update_failed"),
        (
            "unauthorized_client",
            "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any.",
            "consent_missing",
        ),
        ("invalid_client", "The OAuth client was not found.", "app_or_tenant_unknown"),
        ("invalid_client", "Unauthorized", "app_secret_invalid"),
        ("unauthorized_client", "Unauthorized", "app_type_wrong"),
        ("unauthorized_client", "Invalid client or Invalid client credentials", "app_secret_invalid"),
        ("unauthorized_client", "Unknown client", "app_or_tenant_unknown"),
        ("unauthorized_client", "Client printer was not found", "app_or_tenant_unknown"),
        ("unauthorized_client", "The client does not exist.", "app_or_tenant_unknown"),
        ("unauthorized_client", "The client may not use the grant type refresh_token.", "app_type_wrong"),
    ],
)
def test_descriptions_of_google(error: str, text: str, cause: str) -> None:
    assert fault(error, text).cause == cause


def test_a_bare_refusal_to_refresh() -> None:
    """glewlwyd, protocol_oidc.c, get_access_token_from_refresh: status 400 and nothing else."""
    found = classify_error(TokenServiceResponse(400, None, host="issuer.test"), "refresh_token")
    assert (found.cause, found.remedy, found.retryable) == ("token_update_failed", Remedy.NEW_GRANT, False)
    assert "no longer accepts" in str(found)
    assert found.detail == "HTTP 400: HTTP 400"
    for answer, grant_type in (
        (TokenServiceResponse(400, None), "authorization_code"),
        (TokenServiceResponse(400, None), "client_credentials"),
        (TokenServiceResponse(401, None), "refresh_token"),
        (TokenServiceResponse(400, {"message": "no such page"}), "refresh_token"),
    ):
        assert classify_error(answer, grant_type).cause == "unknown"


@pytest.mark.parametrize(("status", "cause"), [(403, "app_or_tenant_unknown"), (400, "app_type_wrong")])
def test_an_unknown_client_id(status: int, cause: str) -> None:
    """glewlwyd, protocol_oidc.c, check_auth_type_access_token_request: status 403; 400 is RFC 6749's."""
    found = classify_error(
        TokenServiceResponse(status, {"error": "unauthorized_client"}, host="issuer.test"), "authorization_code"
    )
    assert (found.cause, found.remedy) == (cause, Remedy.CONFIGURATION)
    assert "does not know this application" in str(found)


@pytest.mark.parametrize(
    ("grant_type", "description", "cause", "kind"),
    [
        ("refresh_token", "", "token_update_failed", Remedy.NEW_GRANT),
        ("authorization_code", "", "token_not_retrieved", Remedy.NEW_GRANT),
        (DEVICE_CODE_GRANT, "", "token_not_retrieved", Remedy.NEW_GRANT),
        (JWT_BEARER_GRANT, "Invalid JWT Signature.", "app_secret_invalid", Remedy.CONFIGURATION),
        (JWT_BEARER_GRANT, "Invalid email or User ID", "mailbox_not_allowed", Remedy.CONFIGURATION),
    ],
)
def test_invalid_grant_depends_on_the_grant_type(grant_type: str, description: str, cause: str, kind: Remedy) -> None:
    found = fault("invalid_grant", description, grant_type=grant_type)
    assert (found.cause, found.remedy) == (cause, kind)


SHORT_LIVED = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
NOT_IN_RANGE = "AADSTS700024: Client assertion is not within its valid time range."


@pytest.mark.parametrize(
    ("error", "text", "skew", "cause"),
    [
        ("invalid_grant", "", 301, "clock_wrong"),
        ("invalid_grant", "", -86_400, "clock_wrong"),
        ("invalid_grant", "", 299, "token_update_failed"),
        ("invalid_grant", "", None, "token_update_failed"),
        ("invalid_grant", SHORT_LIVED, None, "clock_wrong"),
        ("invalid_grant", SHORT_LIVED, 4000, "clock_wrong"),
        ("invalid_client", NOT_IN_RANGE, 4000, "clock_wrong"),
        ("invalid_client", NOT_IN_RANGE, 3, "app_secret_invalid"),
        ("invalid_client", "", 4000, "app_secret_invalid"),
        ("invalid_scope", "", 4000, "scope_wrong"),
    ],
)
def test_a_wrong_clock_if_it_explains_the_refusal(error: str, text: str, skew: float | None, cause: str) -> None:
    found = fault(error, text, skew=skew)
    assert found.cause == cause
    if cause == "clock_wrong":
        assert found.remedy is Remedy.WAIT
        assert "clock is wrong" in str(found)


@pytest.mark.parametrize(
    ("skew", "expected"),
    [(400, "by 7 minutes"), (-7300, "by 2 hours"), (86_400 * 400.0, "by 400 days"), (-1.6e9, "by 18519 days")],
)
def test_the_size_of_the_clock_error(skew: float, expected: str) -> None:
    assert expected in str(fault("invalid_grant", skew=skew))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("error", [None, "invalid_grant", "server_error", "nonsense"])
def test_a_busy_service_is_temporary(status: int, error: str | None) -> None:
    found = fault(error, status=status)
    assert (found.cause, found.remedy, found.response_lost) == ("token_service_busy", Remedy.WAIT, status >= 500)


def test_a_refusal_without_json() -> None:
    found = classify_error(TokenServiceResponse(404, None, host="issuer.test"))
    assert (found.cause, found.remedy) == ("unknown", Remedy.UNKNOWN)
    assert str(found) == "The token service issuer.test said: HTTP 404"


def test_an_error_object_of_google() -> None:
    found = fault({"code": 403, "status": "PERMISSION_DENIED", "message": "No."})
    assert (found.error, found.error_description) == ("PERMISSION_DENIED", "No.")
    assert str(found) == "The token service issuer.test said: PERMISSION_DENIED: No."


def test_every_row_has_a_known_cause_and_a_source() -> None:
    table = error_table()
    rows = [*table.errors.values(), *table.aadsts.values(), *(row.meaning for row in table.descriptions)]
    assert {row.cause for row in rows} <= causes().keys()
    assert all(row.source for row in rows)
    assert {error for row in table.descriptions for error in row.errors} <= table.errors.keys()
    assert all((row.remedy is Remedy.WAIT) >= (row.cause == "token_service_busy") for row in rows)


def test_every_sentence_names_the_token_service() -> None:
    for error in [*error_table().errors, None]:
        for status in (400, 503):
            sentence = str(fault(error, status=status))
            assert "token service issuer.test" in sentence
            assert sentence[0].isupper()
            assert "{" not in sentence


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.none()
    | st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("error", "error_description", "error_codes", "error_uri"), anything)
    ),
    st.integers(200, 599),
    st.none() | st.floats(-1e12, 1e12),
)
def test_any_input_is_handled(json: dict[str, object] | None, status: int, skew: float | None) -> None:
    found = classify_error(TokenServiceResponse(status, json, date_skew=skew, host="issuer.test"))
    assert found.cause in causes()
    for text in (str(found), found.detail, found.error or "", found.error_description):
        assert text.isprintable()
        assert len(text) < 1000
        text.encode()


@given(st.text())
def test_foreign_text_is_one_printable_line(text: str) -> None:
    assert shorten(text).isprintable()
    assert len(shorten(text)) <= 300
    assert shorten(shorten(text)) == shorten(text)


def test_long_text_is_cut() -> None:
    assert shorten("x" * 10_000, 5) == "xxxx…"
    assert shorten("a\x1b[31m\r\n\tb\u202e") == "a [31m b"
    assert shorten(None) == shorten(7) == ""


# The table.


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("[errors]", "errors"),
        ('[error]\nx = { cause = "unknown", remedy = "hope", source = "s" }', "HOPE"),
        ('[error]\nx = { cause = "unknown", source = "s" }', "remedy"),
        ('[[aadsts]]\ncause = "unknown"\nremedy = "wait"\nsource = "s"\ncodes = [1, 1]\nmore = 1', "more"),
        ('[[description]]\nwords = ["["]\ncause = "unknown"\nremedy = "wait"\nsource = "s"', "error"),
        ('[[aadsts]]\ncause = "a"\nremedy = "wait"\nsource = "s"\ncodes = [1]\n' * 2, "AADSTS1 has two rows"),
    ],
)
def test_a_wrong_table_is_refused(written: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        parse_error_table(written)


# Device code.


@pytest.mark.parametrize("number", [530035, 530036, 53003])
def test_a_rule_against_device_codes_affects_only_their_grants(number: int) -> None:
    refusal = TokenServiceResponse(400, {"error": "invalid_grant", "error_description": f"AADSTS{number}: Blocked."})
    by_device = classify_error(refusal, "refresh_token", obtained_by="device")
    assert (by_device.cause, by_device.remedy) == ("device_code_blocked", Remedy.NEW_GRANT)
    assert classify_error(refusal, DEVICE_CODE_GRANT).cause == "device_code_blocked"
    by_browser = classify_error(refusal, "refresh_token", obtained_by="browser")
    assert (by_browser.cause, by_browser.remedy) == ("sign_in_blocked_by_policy", Remedy.CONFIGURATION)


def test_an_unknown_code_is_reported_with_its_text() -> None:
    found = fault("invalid_grant", "AADSTS99999: Something that nobody has published.")
    assert (found.cause, found.remedy) == ("unknown", Remedy.UNKNOWN)
    assert "Something that nobody has published." in str(found)
