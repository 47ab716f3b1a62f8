"""Claims of tokens, and mismatches between a token and its use."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot.oauth.claims import MAX_TOKEN, Claims, find_mismatch, missing_scopes, parse_claims
from mailslot.oauth.presets import preset
from mailslot.oauth.providers import Service
from mailslot.wire.secret import Secret

SMTP = preset("microsoft365").smtp or Service()
SCOPES = ("https://outlook.office.com/SMTP.Send", "offline_access", "openid", "profile")
ACCOUNT = "scanner@example.com"
ENTRA = {"aud": "https://outlook.office.com", "scp": "SMTP.Send POP.AccessAsUser.All", "upn": ACCOUNT}


def jwt(payload: object) -> str:
    octets = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return f"eyJ0eXAiOiJKV1QifQ.{base64.urlsafe_b64encode(octets).decode().rstrip('=')}.c2lnbmF0dXJl"


def test_a_delegated_token_of_entra() -> None:
    found = parse_claims(
        Secret(
            jwt(
                {
                    **ENTRA,
                    "iss": "https://sts.windows.net/t/",
                    "appid": "app",
                    "tid": "t",
                    "exp": 1_800_003_600,
                    "nbf": 1_800_000_000.5,
                    "unique_name": "Scanner",
                }
            )
        )
    )
    assert found == Claims(
        issuer="https://sts.windows.net/t/",
        audience=("https://outlook.office.com",),
        scopes=("SMTP.Send", "POP.AccessAsUser.All"),
        users=(ACCOUNT, "Scanner"),
        tenant="t",
        application="app",
        expires_at=1_800_003_600.0,
        not_before=1_800_000_000.5,
    )


def test_a_token_of_rfc_9068() -> None:
    found = parse_claims(
        jwt({"iss": "i", "aud": ["a", "b"], "scope": "mail.send mail.pop", "client_id": "c", "sub": "s"})
    )
    assert found == Claims(issuer="i", audience=("a", "b"), scopes=("mail.send", "mail.pop"), application="c")


def test_an_id_token_names_the_user() -> None:
    found = parse_claims(jwt({"nonce": "n", "email": "a@b.c", "preferred_username": "anna"}))
    assert found is not None
    assert found.users == ("anna", "a@b.c")


@pytest.mark.parametrize(
    ("users", "account", "user"),
    [
        ((), "a@b.c", None),
        (("anna",), "a@b.c", "anna"),
        (("anna", "a@b.c"), "", "a@b.c"),
        (("x@b.c", "A@B.C"), "a@b.c", "A@B.C"),
        (("anna", "a@b.c"), "Anna", "anna"),
        (("x@b.c", "y@b.c"), "z@b.c", "x@b.c"),
    ],
)
def test_the_user(users: tuple[str, ...], account: str, user: str | None) -> None:
    assert Claims(users=users).user(account) == user


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA",
        "ya29.a0Af",
        "a.b",
        "..",
        "a.b.c",
        "a.b.c.d.e",
        "e30.!!!.c2ln",
        "e30.ü.c2ln",
        "e30.\ud800.c2ln",
        jwt(b"no json"),
        jwt(b"\xff"),
        jwt([1]),
        jwt("text"),
        jwt(None),
        jwt(b"[" * 40_000),
        jwt({"x": "y" * MAX_TOKEN}),
    ],
)
def test_invalid_jwts(token: str | None) -> None:
    assert parse_claims(token) is None


def test_claims_of_wrong_types_are_left_out() -> None:
    wrong = {"iss": 1, "aud": {"a": 1}, "scp": 7, "roles": "r", "upn": ["a"], "exp": "soon", "nbf": True, "tid": None}
    assert parse_claims(jwt(wrong)) == Claims(roles=("r",))
    assert parse_claims(jwt({"exp": 1e300, "nbf": -1, "aud": [1, None, "a"]})) == Claims(audience=("a",))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = ("iss", "aud", "scp", "scope", "roles", "upn", "email", "tid", "appid", "exp", "nbf", "nonce")


@given(st.text() | st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, anything)).map(jwt) | st.binary().map(jwt))
def test_any_input_is_handled(token: str) -> None:
    found = parse_claims(token)
    if found is not None:
        texts = [*found.audience, *found.scopes, *found.roles, *found.users, found.issuer or "", found.tenant or ""]
        assert all(text.isprintable() for text in texts)
    wrong = find_mismatch(token, account=ACCOUNT, service=SMTP, scopes=SCOPES)
    assert wrong is None or wrong.sentence.isprintable()


@pytest.mark.parametrize(
    ("needed", "granted", "missing"),
    [
        (SCOPES, ["SMTP.Send"], ()),
        (SCOPES, ["https://outlook.office.com/smtp.send"], ()),
        (SCOPES, ["https://outlook.office365.com/SMTP.Send"], ()),
        (SCOPES, ["Mail.Send", "openid"], ("https://outlook.office.com/SMTP.Send",)),
        (["https://mail.google.com/"], ["https://mail.google.com/", "openid"], ()),
        (
            ["https://mail.google.com/"],
            ["openid", "https://www.googleapis.com/auth/userinfo.email"],
            ("https://mail.google.com/",),
        ),
        (["https://outlook.office365.com/.default"], [], ()),
        (["openid", "offline_access", "email"], [], ()),
        (["mail.send", "mail.pop"], ["mail.pop"], ("mail.send",)),
        (["mail-w"], ["mail-w"], ()),
    ],
)
def test_missing_scopes(needed: list[str], granted: list[str], missing: tuple[str, ...]) -> None:
    assert missing_scopes(needed, granted) == missing


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": "https://outlook.office365.com/"},
        {"aud": "00000002-0000-0ff1-ce00-000000000000"},
        {"aud": ["https://OUTLOOK.office.com"]},
        {"aud": "https://ps.outlook.com"},
        {"aud": "00000002-0000-0ff1-ce00-000000000000/outlook.office365.com@contoso.example"},
        {"aud": ["https://graph.microsoft.com", "https://outlook.office.com"]},
        {"aud": None},
        {"upn": "SCANNER@Example.COM"},
        {"upn": "other@example.com", "email": ACCOUNT},
        {"upn": "scanner"},
        {"upn": None},
        {"scp": None},
    ],
)
def test_no_mismatch(changes: dict[str, object]) -> None:
    assert find_mismatch(jwt({**ENTRA, **changes}), account=ACCOUNT, service=SMTP, scopes=SCOPES) is None


@pytest.mark.parametrize(
    ("changes", "cause", "expected"),
    [
        ({"aud": "https://graph.microsoft.com"}, "token_for_other_service", "Microsoft Graph"),
        ({"aud": "00000003-0000-0000-c000-000000000000"}, "token_for_other_service", "Microsoft Graph"),
        ({"aud": "00000002-0000-0000-c000-000000000000"}, "token_for_other_service", "Azure AD Graph"),
        ({"aud": "https://outlook.office365.us"}, "token_for_other_service", "Exchange Online (US Government)"),
        ({"aud": "https://api.example.com"}, "token_for_other_service", "https://api.example.com"),
        ({"scp": "IMAP.AccessAsUser.All"}, "token_for_other_service", "SMTP.Send"),
        ({"upn": "bob@example.com"}, "account_mismatch", "bob@example.com, not to scanner@example.com"),
        ({"aud": "https://graph.microsoft.com", "upn": "bob@example.com"}, "token_for_other_service", "Graph"),
    ],
)
def test_mismatches(changes: dict[str, object], cause: str, expected: str) -> None:
    found = find_mismatch(jwt({**ENTRA, **changes}), account=ACCOUNT, service=SMTP, scopes=SCOPES)
    assert found is not None
    assert found.cause == cause
    assert expected in found.sentence


@pytest.mark.parametrize(
    ("roles", "cause"),
    [
        (["SMTP.SendAsApp"], None),
        (["POP.AccessAsApp", "SMTP.SendAsApp"], None),
        (["POP.AccessAsApp"], "consent_missing"),
        ([], "consent_missing"),
        (None, "consent_missing"),
    ],
)
def test_an_app_only_token(roles: list[str] | None, cause: str | None) -> None:
    token = jwt({"aud": "https://outlook.office365.com", "roles": roles})
    found = find_mismatch(token, account=ACCOUNT, service=SMTP, scopes=["https://outlook.office365.com/.default"])
    assert (found and found.cause) == cause


def test_an_opaque_token_has_no_mismatch() -> None:
    assert find_mismatch("opaque", account=ACCOUNT, service=SMTP, scopes=SCOPES) is None
    assert find_mismatch(Secret(jwt({})), account=ACCOUNT, service=Service(), scopes=["mail.send"]) is None
