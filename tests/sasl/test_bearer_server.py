"""The server's side of XOAUTH2 and OAUTHBEARER, alone and with the client's."""

from __future__ import annotations

import pytest

from mailslot import Secret
from mailslot.sasl.bearer import OAuthBearer, XOAuth2
from mailslot.sasl.bearer_server import OAuthBearerServer, XOAuth2Server
from mailslot.sasl.mechanism import AuthenticationContext, MechanismError
from mailslot.sasl.server import LoginServer, SuppliedSecret

USER, TOKEN = "gr=ü,n@example.com", "ya29.a0-b_c~d+e/f=="
CONTEXT = AuthenticationContext(USER, Secret(TOKEN), "mail.example.com", 587)
SERVERS = pytest.mark.parametrize("server", [XOAuth2Server, OAuthBearerServer])


@pytest.mark.parametrize(("client", "server"), [(XOAuth2, XOAuth2Server), (OAuthBearer, OAuthBearerServer)])
def test_what_our_client_sends(client: type, server: type) -> None:
    for made, response in ((server(), None), (server(), client(CONTEXT).start())):
        step = made.start(response)
        if response is None:
            assert step == b""
            step = made.next(client(CONTEXT).start())
        assert step == SuppliedSecret(USER, Secret(TOKEN))
        if isinstance(made, OAuthBearerServer):
            assert made.fields == {"host": "mail.example.com", "port": "587"}


@SERVERS
def test_the_reasons_of_a_refusal(server: type[XOAuth2Server]) -> None:
    assert server().explain_refusal() is None
    assert LoginServer().explain_refusal() is None
    assert server({"status": "401", "scope": "mail"}).explain_refusal() == b'{"status":"401","scope":"mail"}'


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\xff",
        b"user=a\x01auth=Bearer t\x01",
        b"user=a\x01auth=Bearer t t\x01\x01",
        b"user=\x01auth=Bearer t\x01\x01",
        b"user=a\x01auth=Basic t\x01\x01",
        b"n,a=a=b,\x01auth=Bearer t\x01\x01",
        b"n,a=a,\x01host=h\x01\x01",
        b"n,a=a,\x01auth=Bearer \x01\x01",
        b"n,a=a,\x01auth=Basic t\x01\x01",
        b"y,a=a,\x01auth=Bearer t\x01\x01",
    ],
)
@SERVERS
def test_malformed_responses(server: type[XOAuth2Server], response: bytes) -> None:
    with pytest.raises(MechanismError):
        server().start(response)
