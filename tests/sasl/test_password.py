"""PLAIN and LOGIN."""

from __future__ import annotations

import pytest

from mailslot import Secret
from mailslot.sasl.mechanism import AuthenticationContext, MechanismError
from mailslot.sasl.password import Login, Plain

CREDENTIALS = AuthenticationContext("tim", Secret("tanstaaftanstaaf"))


def test_plain_is_the_example_of_rfc_4616() -> None:
    """RFC 4616 section 4, the first example."""
    mechanism = Plain(CREDENTIALS)
    assert mechanism.start() == b"\0tim\0tanstaaftanstaaf"
    assert mechanism.is_complete
    assert mechanism.secrets == (Secret("tanstaaftanstaaf"),)
    with pytest.raises(MechanismError):
        mechanism.next(b"")


def test_plain_in_utf_8() -> None:
    assert Plain(AuthenticationContext("jürgen", Secret("pässword"))).start() == "\0jürgen\0pässword".encode()


@pytest.mark.parametrize(
    "prompts",
    [(b"Username:", b"Password:"), (b"User Name\0", b"Password\0"), (b"", b""), (b"Password:", b"Username:")],
)
def test_login_replies_in_order_whatever_the_prompts(prompts: tuple[bytes, bytes]) -> None:
    mechanism = Login(CREDENTIALS)
    assert mechanism.secrets == (Secret("tanstaaftanstaaf"),)
    assert mechanism.start() is None
    assert [mechanism.next(prompts[0]), mechanism.is_complete] == [b"tim", False]
    assert [mechanism.next(prompts[1]), mechanism.is_complete] == [b"tanstaaftanstaaf", True]
    with pytest.raises(MechanismError, match="third"):
        mechanism.next(b"Password:")
