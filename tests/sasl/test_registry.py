"""Registering a mechanism: one class is enough."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, ClassVar

import pytest

from mailslot import OAuth, Password, StaticToken, connect_pop3, connect_smtp
from mailslot.errors import InputError
from mailslot.sasl import registry
from mailslot.sasl.mechanism import Mechanism, MechanismError
from mailslot.sasl.registry import mechanism_names, register
from transcripts import parse, playing

if TYPE_CHECKING:
    import ssl

    from mailslot.sasl.mechanism import CredentialKind

pytestmark = pytest.mark.virtual_time


class CramMd5(Mechanism):
    """CRAM-MD5 (RFC 2195): the server speaks first, and the password is proved once."""

    name = "CRAM-MD5"
    credential_kind: ClassVar[CredentialKind] = "password"
    strength = 0
    _answered = False

    @property
    def is_complete(self) -> bool:
        return self._answered

    def start(self) -> None:
        return None

    def next(self, challenge: bytes) -> bytes:
        if self._answered:
            raise MechanismError("a second challenge in CRAM-MD5")
        self._answered = True
        digest = hmac.new(self.context.secret.reveal().encode(), challenge, hashlib.md5).hexdigest()
        return f"{self.context.user} {digest}".encode()


HEADER = (
    "# Source: RFC 2195 section 2\n# Protocol: {}\n# Auth: password user=tim password=tanstaaftanstaaf\n# Expect: ok\n"
)
CHALLENGE = "{b64:<1896.697170952@postoffice.reston.mci.net>}"
RESPONSE = "C: dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\n"
SMTP = (
    "!tls\nS: 220 mail.example.com\nC: EHLO {any}\nS: 250-mail.example.com\nS: 250 AUTH CRAM-MD5\n"
    f"C: AUTH CRAM-MD5\nS: 334 {CHALLENGE}\n{RESPONSE}S: 235 2.7.0 ok\nC: QUIT\n"
)
POP3 = (
    "!tls\nS: +OK ready\nC: CAPA\nS: +OK\nS: SASL CRAM-MD5\nS: .\n"
    f"C: AUTH CRAM-MD5\nS: + {CHALLENGE}\n{RESPONSE}S: +OK\nC: QUIT\nS: +OK\n"
)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_mechanisms", dict(registry._mechanisms))
    register(CramMd5)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("protocol", ["smtp", "pop3"])
async def test_a_registered_mechanism_works_in_both_protocols(
    protocol: str, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    """RFC 2195 section 2, its example."""
    connect = connect_smtp if protocol == "smtp" else connect_pop3
    dialogue = HEADER.format(protocol) + (SMTP if protocol == "smtp" else POP3)
    auth = Password("tim", "tanstaaftanstaaf")
    async with (
        playing(parse("inline", dialogue), server_context) as peer,
        connect(peer.endpoint, auth, ssl_context=client_context, timeout=5),
    ):
        pass
    assert peer.connections == 1


@pytest.mark.usefixtures("registered")
def test_mechanisms_are_ordered_by_preference() -> None:
    assert mechanism_names("password") == ("SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5")
    assert mechanism_names("token") == ("OAUTHBEARER", "XOAUTH2")


def test_mechanism_names_are_unique() -> None:
    class Other(CramMd5):
        name = "PLAIN"

    with pytest.raises(ValueError, match="PLAIN"):
        register(Other)


def test_a_password_mechanism_accepts_no_token() -> None:
    with pytest.raises(InputError, match="OAUTHBEARER or XOAUTH2"):
        OAuth("scanner@example.com", StaticToken("t"), "PLAIN")
