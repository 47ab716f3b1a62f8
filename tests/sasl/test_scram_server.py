"""The server's side of SCRAM-SHA-256, with a client that checks the server, and with malformed messages."""

from __future__ import annotations

import pytest

from mailslot import Secret
from mailslot.sasl.mechanism import AuthenticationContext, MechanismError
from mailslot.sasl.scram import ScramSha256
from mailslot.sasl.scram_server import ScramSha256Server
from mailslot.sasl.server import SuppliedSecret

USER, PASSWORD = "a=b,c", "open sesame"


def server() -> ScramSha256Server:
    return ScramSha256Server({USER: Secret(PASSWORD)}.get)


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
@pytest.mark.parametrize("user", [USER, "nobody"])
def test_with_our_client(user: str, password: str, initial: bool) -> None:
    client, made = ScramSha256(AuthenticationContext(user, Secret(password))), server()
    step = made.start(client.start() if initial else None)
    if not initial:
        assert step == b""
        step = made.next(client.start())
    while isinstance(step, bytes):
        step = made.next(client.next(step))
    right = (user, password) == (USER, PASSWORD)
    assert client.is_complete is right
    assert step.user == user
    assert (step == SuppliedSecret(USER, Secret(PASSWORD))) is right
    # Neither an empty password nor that which the client tried.
    assert right or (step.secret != password and step.secret)


@pytest.mark.parametrize("message", [b"", b"\xff", b"p=tls-exporter,,n=a,r=b", b"n,,n=a", b"n,,r=b,n=a"])
def test_malformed_first_messages(message: bytes) -> None:
    with pytest.raises(MechanismError):
        server().start(message)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "c=biws,r=x,p=AAAA",
        "c=eSws,r={nonce},p=AAAA",
        "c=!,r={nonce},p=AAAA",
        "c=biws,r={nonce},p=!",
        "c=é,r={nonce},p=AAAA",
        "c=biws,r={nonce},p=é",
    ],
)
def test_malformed_last_messages(message: str) -> None:
    made = server()
    challenge = made.start(b"n,,n=nobody,r=abc")
    assert isinstance(challenge, bytes)
    nonce = challenge.decode().split(",")[0].removeprefix("r=")
    assert nonce.startswith("abc")
    with pytest.raises(MechanismError):
        made.next(message.format(nonce=nonce).encode())


def test_a_third_message() -> None:
    client, made = ScramSha256(AuthenticationContext(USER, Secret(PASSWORD))), server()
    challenge = made.start(client.start())
    assert isinstance(challenge, bytes)
    assert isinstance(made.next(client.next(challenge)), bytes)
    with pytest.raises(MechanismError):
        made.next(b"x")
