"""Credentials: refused values, and that secrets are not shown."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from typing import Any

import pytest

from mailslot import AccessToken, InputError, MailError, OAuth, Password, Secret, StaticToken, TokenSource
from mailslot.sasl.credentials import check_credentials

LONG = "ya29.a0AfH6SMBx-Zq7kPw9"


@pytest.mark.parametrize(
    "value",
    ["", " ", "a b", "a\x01b", "a\rb", "a\nb", "a\x7f", "töken", "a\u00a0", "\ud800", None, b"token", 7, Secret("")],
)
def test_invalid_tokens(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        AccessToken(value)
    assert (caught.value.stage, caught.value.cause) == ("token", "invalid_input")


@pytest.mark.parametrize("value", [LONG, Secret(LONG), "a" * 6_000, "!#$%&'()*+,-./:;<=>?@[]^_`{|}~\\\""])
def test_valid_tokens(value: Any) -> None:
    token = AccessToken(value, 1.5)
    assert token.value == Secret(value)
    assert token.expires_at == 1.5
    assert token == AccessToken(value, 1.5) != AccessToken("other", 1.5)


@pytest.mark.parametrize("user", ["", "a\0b", "a\x01", "a\r\nQUIT", "\n", "a\x7f", "a\tb", "a\udcff", None, b"user", 7])
def test_invalid_users(user: Any) -> None:
    for credentials in (lambda: Password(user, "secret"), lambda: OAuth(user, StaticToken(LONG))):
        with pytest.raises(InputError) as caught:
            credentials()
        assert caught.value.stage == "sign_in"


@pytest.mark.parametrize("password", ["", "a\0b", "\udc80", None, b"secret", 7, Secret("")])
def test_invalid_passwords(password: Any) -> None:
    with pytest.raises(InputError) as caught:
        Password("user", password)
    assert str(password) not in str(caught.value) or not password


@pytest.mark.parametrize("password", [" ", "with spaces", "tab\tand\nline", "pässwörd", "🖨", "a" * 1_000])
def test_valid_passwords(password: str) -> None:
    assert Password("jürgen müller", password).password == password


@pytest.mark.parametrize("mechanism", ["PLAIN", "xoauth2", "", "OAUTHBEARER\r\n"])
def test_invalid_bearer_mechanisms(mechanism: str) -> None:
    with pytest.raises(InputError):
        OAuth("user", StaticToken(LONG), mechanism)


def secretive() -> list[Any]:
    source = StaticToken(LONG)
    return [Secret(LONG), AccessToken(LONG), Password("user", LONG), OAuth("user", source), source]


@pytest.mark.parametrize("thing", secretive(), ids=lambda thing: type(thing).__name__)
def test_secrets_are_never_shown(thing: Any, caplog: pytest.LogCaptureFixture) -> None:
    shown = [repr(thing), str(thing), f"{thing}", f"{thing!s:>40}", "%s %r" % (thing, thing), repr([thing])]  # noqa: UP031 - as logging does
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").debug("%s %r", thing, thing)
    try:
        raise RuntimeError(thing)
    except RuntimeError as error:
        shown.append("".join(traceback.format_exception(error)))
    assert not [text for text in [*shown, caplog.text] if "Zq7" in text]


@pytest.mark.parametrize("thing", secretive(), ids=lambda thing: type(thing).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_secrets_are_never_pickled(thing: Any, protocol: int) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(thing, protocol)
    with pytest.raises(TypeError):
        copy.deepcopy(thing)


def test_credentials_can_be_compared_and_are_frozen() -> None:
    assert Password("user", "secret") == Password("user", Secret("secret")) != Password("user", "other")
    assert len({Password("user", "secret"), Password("user", "secret")}) == 1
    with pytest.raises(AttributeError):
        Password("user", "secret").password = "other"  # type: ignore[misc,assignment]  # that is what is tested


async def test_a_static_token_is_constant_until_forgotten() -> None:
    source = StaticToken(Secret(LONG), 17.0)
    assert isinstance(source, TokenSource)
    assert await source.token() == await source.token(force=True) == AccessToken(LONG, 17.0)
    await source.forget()
    with pytest.raises(MailError) as caught:
        await source.token()
    assert (caught.value.stage, caught.value.cause) == ("token", "token_not_retrieved")


def test_unsendable_secrets_are_refused() -> None:
    assert AccessToken("x" * 16_384).value == "x" * 16_384
    with pytest.raises(InputError) as long:
        AccessToken("x" * 16_385)
    assert long.value.cause == "token_too_long"
    assert "x" * 20 not in str(long.value)
    assert Password("user", "x" * 4_096)
    with pytest.raises(InputError, match="longer than"):
        Password("user", "x" * 4_097)


@pytest.mark.parametrize("soon", ["soon", b"1", [1]])
def test_an_invalid_expiry_is_refused(soon: Any) -> None:
    with pytest.raises(InputError, match="seconds since the epoch"):
        AccessToken("token", soon)


@pytest.mark.parametrize("auth", ["alice", b"x", 5, ("alice", "secret")])
def test_invalid_credentials_are_refused(auth: object) -> None:
    check_credentials(None)
    check_credentials(Password("user", "secret"))
    with pytest.raises(InputError, match="OAuth, Password or None"):
        check_credentials(auth)
