"""SCRAM-SHA-256, also with a server that does not know the password."""

from __future__ import annotations

import base64
import time
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailslot import InputError, Secret
from mailslot.sasl.mechanism import AuthenticationContext, MechanismError
from mailslot.sasl.scram import MAX_ITERATIONS, MIN_ITERATIONS, ScramSha256, saslprep

# RFC 7677 section 3.
NONCE: Final = "rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE: Final = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SERVER_FIRST: Final = f"r={SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL: Final = f"c=biws,r={SERVER_NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_FINAL: Final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def identity(user: str, password: str) -> AuthenticationContext:
    return AuthenticationContext(user, Secret(password))


def scram() -> ScramSha256:
    return ScramSha256(identity("user", "pencil"), nonce=NONCE)


def test_the_example_of_rfc_7677() -> None:
    """RFC 7677 section 3."""
    mechanism = scram()
    assert mechanism.start() == f"n,,n=user,r={NONCE}".encode()
    assert not mechanism.verifier
    assert mechanism.next(SERVER_FIRST.encode()) == CLIENT_FINAL.encode()
    assert not mechanism.is_complete
    assert mechanism.next(SERVER_FINAL.encode()) == b""
    assert mechanism.is_complete
    assert mechanism.secrets[0] == "pencil"
    assert mechanism.secrets[1] == mechanism.verifier == SERVER_FINAL.removeprefix("v=")
    with pytest.raises(MechanismError, match="third"):
        mechanism.next(b"")


def test_the_user_is_escaped_and_prepared() -> None:
    """RFC 5802 section 5.1, "n"."""
    first = ScramSha256(identity("a=b,c\u00ad\u00aa", "pencil"), nonce="x").start()
    assert first == b"n,,n=a=3Db=2Cca,r=x"


def test_nonces_are_long_and_new() -> None:
    nonces = [ScramSha256(identity("user", "pencil")).start().partition(b",r=")[2] for _ in range(50)]
    assert len(set(nonces)) == 50
    assert all(len(base64.b64decode(nonce)) >= 18 and b"," not in nonce for nonce in nonces)


@pytest.mark.parametrize(
    "challenge",
    [
        pytest.param("r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", id="another nonce"),
        pytest.param(f"r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", id="nothing of its own in the nonce"),
        pytest.param(f"r={NONCE[:-1]},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", id="a cut nonce"),
        pytest.param(f"m=must,{SERVER_FIRST}", id="an extension"),
        pytest.param(f"{SERVER_FIRST},m=must", id="an extension in the end"),
        *(
            pytest.param(f"r={SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i={count}", id=f"i={count}")
            for count in (
                "1",
                "0",
                "-4096",
                str(MIN_ITERATIONS - 1),
                str(MAX_ITERATIONS + 1),
                "1000000000",
                "",
                "4096x",
            )
        ),
        pytest.param(f"r={SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=٤٠٩٦", id="digits of another script"),
        pytest.param(f"r={SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==", id="no count"),
        pytest.param(f"r={SERVER_NONCE},i=4096", id="no salt"),
        pytest.param(f"r={SERVER_NONCE},s=,i=4096", id="an empty salt"),
        pytest.param(f"r={SERVER_NONCE},s=W22Za*J0,i=4096", id="a salt that is not base64"),
        pytest.param(f"r={SERVER_NONCE},s=sält,i=4096", id="a salt that is not ASCII"),
        pytest.param("s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", id="no nonce"),
        pytest.param("", id="empty"),
        pytest.param("r", id="no equals"),
        pytest.param("rr=x", id="a long key"),
        pytest.param(SERVER_FINAL, id="the end at once"),
        pytest.param("e=unknown-user", id="an error at once"),
    ],
)
def test_invalid_server_first_messages(challenge: str) -> None:
    mechanism = scram()
    started = time.process_time()
    with pytest.raises(MechanismError):
        mechanism.next(challenge.encode())
    assert time.process_time() - started < 0.5
    assert not mechanism.is_complete
    assert not mechanism.verifier


@pytest.mark.parametrize("count", [MIN_ITERATIONS, MAX_ITERATIONS])
def test_iteration_counts_at_the_limits(count: int) -> None:
    assert scram().next(f"r={SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i={count}".encode()).startswith(b"c=biws,")


@pytest.mark.parametrize(
    "final",
    [
        pytest.param("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", id="another signature"),
        pytest.param(SERVER_FINAL[:-4], id="a cut signature"),
        pytest.param("v=", id="an empty signature"),
        pytest.param("v", id="no equals"),
        pytest.param("x=y", id="no signature"),
        pytest.param("", id="empty"),
        pytest.param(SERVER_FIRST, id="the first message again"),
    ],
)
def test_a_server_that_does_not_know_the_password(final: str) -> None:
    mechanism = scram()
    mechanism.next(SERVER_FIRST.encode())
    with pytest.raises(MechanismError):
        mechanism.next(final.encode())
    assert not mechanism.is_complete


@pytest.mark.parametrize("final", ["e=invalid-proof", "e=other-error,v=x", SERVER_FINAL + ",e=invalid-proof"])
def test_a_refusal_is_acknowledged_and_never_a_success(final: str) -> None:
    """RFC 5802 section 7, server-error: the refusal itself comes in the protocol's own words."""
    mechanism = scram()
    mechanism.next(SERVER_FIRST.encode())
    assert mechanism.next(final.encode()) == b""
    assert not mechanism.is_complete


@given(st.lists(st.binary(max_size=60) | st.sampled_from([SERVER_FIRST.encode()]), max_size=4))
@example([SERVER_FIRST.encode(), b"v=\xff"])
def test_only_the_server_signature_completes_scram(messages: list[bytes]) -> None:
    mechanism = scram()
    try:
        for message in messages:
            mechanism.next(message)
    except MechanismError:
        pass
    assert not mechanism.is_complete


@pytest.mark.parametrize(
    ("text", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b")],
)
def test_saslprep(text: str, prepared: str) -> None:
    """RFC 4013 section 3, and section 2.1 for other spaces."""
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\u0007", id="control character, RFC 4013 section 3"),
        pytest.param("\u0627\u0031", id="bidirectional check, RFC 4013 section 3"),
        pytest.param("\u0627a\u0627", id="both directions"),
        pytest.param("\u00ad", id="nothing left"),
        pytest.param("a\ue000", id="private use"),
        pytest.param("a\ufdd0", id="no character"),
        pytest.param("a\u2060\u200e", id="display property"),
        pytest.param("\U000e0041", id="tag"),
        pytest.param("a\ufffd", id="inappropriate for plain text"),
        pytest.param("\u2ff0", id="inappropriate for canonical form"),
    ],
)
def test_saslprep_refuses(text: str) -> None:
    with pytest.raises(InputError):
        saslprep(text)
    with pytest.raises(InputError):
        ScramSha256(identity("user", text)) if "\u0007" not in text else ScramSha256(identity("user", text + "x"))


def test_saslprep_right_to_left() -> None:
    assert saslprep("\u0627\u0031\u0628") == "\u0627\u0031\u0628"
