"""The answer to CAPA."""

from __future__ import annotations

import pytest

from mailslot.pop3.capabilities import Capabilities


def test_the_example_of_rfc_2449() -> None:
    """RFC 2449 section 5."""
    lines = ["TOP", "USER", "SASL CRAM-MD5 KERBEROS_V4", "UIDL", "IMPLEMENTATION Shlemazle-Plotz-v302"]
    capabilities = Capabilities(lines)
    assert dict(capabilities) == {
        "TOP": (),
        "USER": (),
        "SASL": ("CRAM-MD5", "KERBEROS_V4"),
        "UIDL": (),
        "IMPLEMENTATION": ("Shlemazle-Plotz-v302",),
    }
    assert capabilities.mechanisms == {"CRAM-MD5", "KERBEROS_V4"}
    assert capabilities.login_delay is None
    assert len(capabilities) == 5
    assert 7 not in capabilities


def test_nothing_is_known_before_capa() -> None:
    capabilities = Capabilities()
    assert not capabilities
    assert capabilities.mechanisms == frozenset()
    with pytest.raises(KeyError):
        capabilities["TOP"]


def test_case_and_spaces_do_not_matter() -> None:
    capabilities = Capabilities(["sasl  xoauth2", " Uidl ", "", "  ", "SASL Plain"])
    assert set(capabilities) == {"SASL", "UIDL"}
    assert capabilities["Sasl"] == ("xoauth2", "Plain")
    assert capabilities.mechanisms == {"XOAUTH2", "PLAIN"}
    assert "uidl" in capabilities


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("LOGIN-DELAY 900", 900),
        ("LOGIN-DELAY 900 USER", 900),
        ("LOGIN-DELAY 0", 0),
        ("LOGIN-DELAY", None),
        ("LOGIN-DELAY soon", None),
        ("LOGIN-DELAY -1", None),
        ("LOGIN-DELAY 99999999", None),
        ("LOGIN-DELAY ٩", None),
        ("SASL", None),
    ],
)
def test_login_delay(line: str, seconds: int | None) -> None:
    """RFC 2449 section 6.5."""
    assert Capabilities([line]).login_delay == seconds


def test_sasl_without_mechanisms() -> None:
    assert Capabilities(["SASL"]).mechanisms == frozenset()
