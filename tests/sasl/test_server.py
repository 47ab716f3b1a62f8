"""The server's side of PLAIN and LOGIN, alone and with the client's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import Secret
from mailslot.sasl.mechanism import AuthenticationContext, MechanismError
from mailslot.sasl.password import Login, Plain
from mailslot.sasl.server import SERVER_MECHANISMS, LoginServer, PlainServer, SuppliedSecret

ME = SuppliedSecret("scan", Secret("open sesame"))


def test_names() -> None:
    assert list(SERVER_MECHANISMS) == ["PLAIN", "LOGIN"]


@pytest.mark.parametrize("response", [b"\0scan\0open sesame", b"scan\0scan\0open sesame"])
def test_plain(response: bytes) -> None:
    assert PlainServer().start(response) == ME
    mechanism = PlainServer()
    assert mechanism.start(None) == b""
    assert mechanism.next(response) == ME


@pytest.mark.parametrize("response", [b"", b"scan", b"scan\0open sesame", b"\0a\0b\0c", b"boss\0scan\0open sesame"])
def test_plain_malformed(response: bytes) -> None:
    with pytest.raises(MechanismError):
        PlainServer().start(response)


def test_login() -> None:
    mechanism = LoginServer()
    assert mechanism.start(None) == b"Username:"
    assert mechanism.next(b"scan") == b"Password:"
    assert mechanism.next(b"open sesame") == ME


def test_login_with_the_user_at_once() -> None:
    mechanism = LoginServer()
    assert mechanism.start(b"scan") == b"Password:"
    assert mechanism.next(b"open sesame") == ME


def test_latin_1() -> None:
    assert PlainServer().start(b"\0b\xfcro\0gr\xfc\xdfe") == SuppliedSecret("büro", Secret("grüße"))
    assert PlainServer().start("\0büro\0grüße".encode()) == SuppliedSecret("büro", Secret("grüße"))


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(text, text)
def test_what_our_client_sends(user: str, password: str) -> None:
    context = AuthenticationContext(user, Secret(password))
    assert PlainServer().start(Plain(context).start()) == SuppliedSecret(user, Secret(password))
    client, server = Login(context), LoginServer()
    step = server.start(client.start())
    while isinstance(step, bytes):
        step = server.next(client.next(step))
    assert step == SuppliedSecret(user, Secret(password))
