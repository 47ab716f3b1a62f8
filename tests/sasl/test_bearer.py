"""XOAUTH2 and OAUTHBEARER, held to the examples of those who defined them."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import Secret
from mailslot.sasl.bearer import MAX_ERROR_CHALLENGE, OAuthBearer, XOAuth2
from mailslot.sasl.mechanism import AuthenticationContext, MechanismError

TOKEN = Secret("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")

MECHANISMS = [
    pytest.param(lambda: XOAuth2(AuthenticationContext("user@example.com", TOKEN)), b"", id="XOAUTH2"),
    pytest.param(
        lambda: OAuthBearer(AuthenticationContext("user@example.com", TOKEN, "h", 995)), b"\x01", id="OAUTHBEARER"
    ),
]


def test_xoauth2_is_googles_example() -> None:
    """Google, "OAuth 2.0 Mechanism", The SASL XOAUTH2 Mechanism, Initial Client Response."""
    mechanism = XOAuth2(
        AuthenticationContext("someuser@example.com", Secret("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"))
    )
    assert base64.b64encode(mechanism.start()) == (
        b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0"
        b"Q2cBAQ=="
    )


def test_oauthbearer_is_the_example_of_rfc_7628() -> None:
    """RFC 7628 section 4.1."""
    mechanism = OAuthBearer(AuthenticationContext("user@example.com", TOKEN, "server.example.com", 143))
    assert base64.b64encode(mechanism.start()) == (
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52"
        b"YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )


@pytest.mark.parametrize(
    ("user", "escaped"),
    [("a=b,c@x", "a=3Db=2Cc@x"), ("=2C", "=3D2C"), ("jürgen@example.com", "jürgen@example.com"), (",", "=2C")],
)
def test_gs2_escapes_comma_and_equals(user: str, escaped: str) -> None:
    """RFC 5801 section 4."""
    assert (
        OAuthBearer(AuthenticationContext(user, TOKEN, "h", 1))
        .start()
        .startswith(f"n,a={escaped},\x01host=h\x01port=1\x01".encode())
    )


def test_xoauth2_sends_the_user_unescaped() -> None:
    assert (
        XOAuth2(AuthenticationContext("a=b,c@jürgen", TOKEN))
        .start()
        .startswith("user=a=b,c@jürgen\x01auth=Bearer ".encode())
    )


@pytest.mark.parametrize(("mechanism", "acknowledgement"), MECHANISMS)
def test_the_error_challenge_is_kept_and_acknowledged_once(mechanism, acknowledgement: bytes) -> None:
    """Google, "OAuth 2.0 Mechanism", Error Response; RFC 7628 section 3.2.3."""
    bearer = mechanism()
    assert bearer.secrets == (TOKEN,)
    assert (bearer.is_complete, bearer.error_challenge) == (True, None)
    challenge = base64.b64decode(
        "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyIsInNjb3BlIjoiaHR0cHM6Ly9tYWlsLmdvb2dsZS5jb20vIn0K"
    )
    assert bearer.next(challenge) == acknowledgement
    assert bearer.error_challenge == {"status": "401", "schemes": "bearer mac", "scope": "https://mail.google.com/"}
    assert not bearer.is_complete
    with pytest.raises(MechanismError, match="second challenge"):
        bearer.next(challenge)


@pytest.mark.parametrize(
    ("challenge", "reasons"),
    [
        pytest.param(b'{"status":401,"a":null,"b":[1]}', {"status": "401", "a": "None", "b": "[1]"}, id="no strings"),
        pytest.param(b"", {}, id="empty"),
        pytest.param(b'"401"', {}, id="no object"),
        pytest.param(b"\xff\xfe{", {}, id="invalid UTF-8"),
        pytest.param(b"invalid_token", {}, id="no JSON"),
        pytest.param(b'{"status":"401"', {}, id="cut"),
        pytest.param(b"[" * 5_000, {}, id="deep"),
        pytest.param(b'{"a":' + b"9" * 5_000 + b"}", {}, id="a number of 5,000 digits"),
        pytest.param(json.dumps({"status": "x" * MAX_ERROR_CHALLENGE}).encode(), {}, id="long"),
        pytest.param(b'{"status":"401"}' + b" " * 1_048_576, {}, id="1 MB"),
    ],
)
def test_invalid_error_challenges(challenge: bytes, reasons: dict[str, str]) -> None:
    mechanism = XOAuth2(AuthenticationContext("user", TOKEN))
    assert mechanism.next(challenge) == b""
    assert mechanism.error_challenge == reasons


@given(st.binary(max_size=200) | st.from_regex(rb'\A\{"status":("([^"\\]|\\u[0-9a-f]{4}){0,9}"|[0-9.eE-]{1,9})\}\Z'))
def test_error_challenges_are_printable(challenge: bytes) -> None:
    mechanism = XOAuth2(AuthenticationContext("user", TOKEN))
    mechanism.next(challenge)
    assert mechanism.error_challenge is not None
    for key, value in mechanism.error_challenge.items():
        f"{key}={value}".encode()
