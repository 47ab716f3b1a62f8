"""Masking of secrets in what a server echoes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot.wire.redact import Redactor
from mailslot.wire.reply import Reply
from mailslot.wire.secret import Secret

TOKEN_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"

tokens = st.text(TOKEN_CHARACTERS, min_size=24, max_size=200)
surroundings = st.binary(max_size=30)


def knowing(*secrets: str) -> Redactor:
    redactor = Redactor()
    for secret in secrets:
        redactor.add(Secret(secret))
    return redactor


def assert_masked(masked: str, secret: str, words: int = 12) -> None:
    """No `words` characters in a row of the secret are left, in any case."""
    folded = masked.casefold()
    for at in range(len(secret) - words + 1):
        assert secret[at : at + words].casefold() not in folded, masked


@given(tokens, st.data())
def test_complete_or_truncated_in_any_case(token: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(token) - 12))
    end = data.draw(st.integers(start + 12, len(token)))
    change = data.draw(st.sampled_from([str, str.upper, str.lower, str.swapcase]))
    around = data.draw(st.sampled_from(["{}", "<{}>", "token={}", '"{}"', "refused: {} (bad)", "a\n{}\nb"]))
    masked = knowing(token).mask(around.format(change(token[start:end])))
    assert "•••" in masked
    assert_masked(masked, token)


@given(tokens, surroundings, surroundings, st.sampled_from([str, str.upper, str.lower]))
def test_base64_at_any_alignment(token: str, before: bytes, after: bytes, change: object) -> None:
    coded = base64.b64encode(before + token.encode() + after).decode()
    masked = knowing(token).mask(change(f"535 5.7.8 {coded}"))  # type: ignore[operator]  # one of the three
    assert "•••" in masked
    own = base64.b64encode(bytes(3 - len(before) % 3) + before + token.encode()).decode()
    assert_masked(masked, own[4 * ((len(before) + 3) // 3 + 1) : -4])


@given(tokens, st.integers(0, 2), st.data())
def test_a_fragment_of_base64(token: str, lead: int, data: st.DataObject) -> None:
    coded = base64.b64encode(b"x" * lead + token.encode()).decode()
    start = data.draw(st.integers(3, len(coded) - 12 - 4))
    masked = knowing(token).mask(f"what is {coded[start : start + 12]}?")
    assert masked == "what is •••" or masked == "what is •••?"


def test_a_response_of_xoauth2() -> None:
    token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
    response = base64.b64encode(f"user=me@example.com\x01auth=Bearer {token}\x01\x01".encode()).decode()
    masked = knowing(token).mask(f"5.7.8 Bad: {response}")
    own = response[response.index("5YTI5") : response.index("cBAQ==")]
    assert_masked(masked, own)
    assert masked.startswith("5.7.8 Bad: ")


@pytest.mark.parametrize("token", ["opaque|token|of|a|service", "semi;colon:token,with{all}!of#them%there"])
def test_a_truncated_token_of_other_characters(token: str) -> None:
    masked = knowing(token).mask(f"I do not know {token[3:20]}")
    assert_masked(masked, token)
    assert "•••" in masked


@pytest.mark.parametrize("password", ["tiger", "open sesame", "pä$$wörd", "correct horse battery staple"])
def test_a_password_is_masked_only_exactly(password: str) -> None:
    coded = base64.b64encode(password.encode()).decode()
    masked = knowing(password).mask(f"no: {password}, {coded}")
    assert password not in masked
    assert coded.rstrip("=")[:-1] not in masked


@given(tokens, st.text(max_size=60))
def test_other_text_is_kept(token: str, text: str) -> None:
    if len(text) < 5 or not any(text[at : at + 5].casefold() in token.casefold() for at in range(len(text))):
        assert knowing("0" * 40).mask(text) == text or "0" in text
        assert Redactor().mask(text) == text


def test_ordinary_text_is_kept() -> None:
    text = "5.7.8 Username and Password not accepted: https://support.google.com/mail/?p=BadCredentials"
    assert knowing("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", "tiger").mask(text) == text


def test_an_empty_secret_masks_nothing() -> None:
    assert knowing("").mask("anything") == "anything"


def test_several_secrets_and_one_within_another() -> None:
    redactor = knowing("first-secret-of-all", "first", "first-secret-of-all")
    masked = redactor.mask("first-secret-of-all and first and second-secret")
    assert masked == "••• and ••• and second-secret"
    redactor.add(Secret("second-secret"))
    assert redactor.mask("first and second-secret") == "••• and •••"


@pytest.mark.parametrize("cut", ["{} {}", "{}\n{}", "{} \n {}"])
def test_a_token_split_by_blanks_or_lines(cut: str) -> None:
    token = "abcdefghijklmnopqrst"
    pieces = [token[at : at + 5] for at in range(0, len(token), 5)]
    masked = knowing(token).mask("no: " + cut.format(" ".join(pieces[:2]), " ".join(pieces[2:])))
    assert not any(piece in masked for piece in pieces)


@pytest.mark.parametrize("said", ["PASSWORT: STRASSE-7", "weiß: STRASSE-7", "straße-7"])
def test_a_letter_whose_uppercase_is_two_letters(said: str) -> None:
    masked = knowing("straße-7").mask(said)
    assert "•••" in masked
    assert "7" not in masked


def test_a_reply_is_masked_in_text_and_enhanced_code() -> None:
    redactor = knowing("tiger-tiger")
    plain = Reply(535, "5.7.8", "no", positive=False)
    assert redactor.mask_reply(plain) is plain
    echoed = redactor.mask_reply(Reply(None, "TIGER-TIGER", "not tiger-tiger", positive=False))
    assert echoed == Reply(None, "•••", "not •••", positive=False)
