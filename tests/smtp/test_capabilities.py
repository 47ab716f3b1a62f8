"""What EHLO says."""

from __future__ import annotations

import pytest

from mailslot.smtp.capabilities import Capabilities


def test_keywords_and_parameters() -> None:
    offered = Capabilities("mail.example.com at your service\nSIZE 1000\nStartTLS\n\n8bitmime\nX-Thing A b")
    assert list(offered) == ["SIZE", "STARTTLS", "8BITMIME", "X-THING"]
    assert len(offered) == 4
    assert "starttls" in offered
    assert "mail.example.com" not in offered
    assert 7 not in offered
    assert offered["x-thing"] == ("A", "b")
    assert offered.get("DSN") is None
    assert Capabilities() == {}


def test_mechanisms_in_all_notations() -> None:
    offered = Capabilities("mail\nAUTH plain XOAUTH2\nAUTH=LOGIN PLAIN\nauth")
    assert offered.mechanisms == {"PLAIN", "XOAUTH2", "LOGIN"}
    assert Capabilities("mail\nAUTH=").mechanisms == {""} or Capabilities("mail\nAUTH=").mechanisms == frozenset()


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("SIZE", None),
        ("SIZE 0", None),
        ("SIZE 10", 10),
        ("SIZE 10 20", 10),
        ("size 99999999999999999999", 99_999_999_999_999_999_999),
        ("SIZE 999999999999999999999", None),
        ("SIZE ten", None),
        ("SIZE -1", None),
        ("SIZE ٣", None),
        ("HELP", None),
    ],
)
def test_size(line: str, size: int | None) -> None:
    assert Capabilities(f"mail\n{line}").size == size


@pytest.mark.parametrize(
    ("line", "limit"),
    [
        ("LIMITS MAILMAX=5 RCPTMAX=7", 7),
        ("LIMITS rcptmax=7", 7),
        ("LIMITS MAILMAX=5", None),
        ("LIMITS RCPTMAX=0", None),
        ("LIMITS RCPTMAX=x", None),
        ("LIMITS RCPTMAX", None),
        ("LIMITS", None),
        ("HELP", None),
    ],
)
def test_limits(line: str, limit: int | None) -> None:
    assert Capabilities(f"mail\n{line}").limit("RCPTMAX") == limit
