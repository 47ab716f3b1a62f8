"""How failed sign-ins are slowed down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.net import sign_in_delay
from mailslot.net.sign_in_delay import SignInDelay

if TYPE_CHECKING:
    import pytest


def test_delays_double_and_are_forgotten() -> None:
    now = 0.0
    delay = SignInDelay(lambda: now)
    assert [delay.failed("a") for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert delay.failed("b") == 1
    now = 600
    assert delay.failed("a") == 30
    now = 1201
    assert delay.failed("a") == 1
    delay.failed("a")
    delay.succeeded("a")
    delay.succeeded("c")
    assert delay.failed("a") == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_delay, "_MAX_ADDRESSES", 3)
    delay = SignInDelay(lambda: 0.0)
    for address in "abcabd":
        delay.failed(address)
    assert len(delay._failures) == 3
    # The one that failed longest ago was forgotten.
    assert [delay.failed(address) for address in "abd"] == [4, 4, 2]
    assert delay.failed("c") == 1
