"""How many messages a device may send in a time."""

from __future__ import annotations

import pytest

from mailslot.slots.gateway.device_entry import DeviceEntry, Limit
from mailslot_plugins.gateway.rates import RateLimits, SlidingCount


@pytest.mark.parametrize(("messages", "seconds"), [(1, 1), (3, 60), (100, 60), (500, 86_400)])
def test_never_more_in_any_such_time(messages: int, seconds: int) -> None:
    count, sent, now = SlidingCount(Limit(messages, seconds)), list[float](), 1000.0
    for _ in range(5 * messages):
        now += wait if (wait := count.wait(now)) else seconds / messages / 7
        assert count.wait(now) == 0.0
        count.count(now)
        sent.append(now)
    assert all(later - earlier >= seconds for earlier, later in zip(sent, sent[messages:], strict=False))
    # And not much less: a sixtieth of the time is counted twice at most.
    assert sent[-1] - sent[0] <= 5 * seconds * (1 + 2 / 60)


def test_it_takes_little_memory() -> None:
    count = SlidingCount(Limit(1_000_000, 60))
    for number in range(100_000):
        count.count(number / 1000)
    assert len(count._buckets) <= 102


def test_each_device_has_its_own_and_all_hold() -> None:
    now = 0.0
    limits = RateLimits(lambda: now)
    hall = DeviceEntry("hall", limits=(Limit(2, 60), Limit(3, 3600)))
    attic = DeviceEntry("attic")
    limits.count(hall)
    assert limits.wait(hall) == 0.0
    limits.count(hall)
    assert 60 <= limits.wait(hall) <= 61
    assert limits.wait(attic) == 0.0
    now = 61.5
    assert limits.wait(hall) == 0.0
    limits.count(hall)
    assert limits.wait(hall) > 3000
    # Other limits begin anew.
    assert limits.wait(DeviceEntry("hall", limits=(Limit(2, 60),))) == 0.0
    limits.forget_except(frozenset())
    assert limits.wait(hall) == 0.0
