"""The small memory of a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot import InputError
from mailslot.spool.spool import Spool
from mailslot.spool.store import MAX_VALUE

if TYPE_CHECKING:
    from pathlib import Path


async def test_stored_values(spool: Spool, home: Path) -> None:
    store = spool.store("alerts")
    assert await store.get("a") is None
    assert await store.get("a", 5) == 5
    await store.put("a", {"since": 1.5, "kinds": ["jam"]})
    await store.put("b", None)
    await store.put("a", [1])
    assert await store.get("b", 5) is None
    assert await store.items() == {"a": [1], "b": None}
    assert await spool.store("status").items() == {}
    await spool.store("status").delete("a")
    async with Spool(home) as other:
        assert await other.store("alerts").get("a") == [1]
        await other.store("alerts").delete("a")
    assert await store.items() == {"b": None}


async def test_a_changed_value(spool: Spool) -> None:
    store = spool.store("alerts")
    await store.change("a", lambda value: [value])
    await store.change("a", lambda value: [*value, 2], durable=False)
    await store.change("a", lambda _: None)
    assert await store.items() == {"a": [None, 2]}
    with pytest.raises(InputError, match="The value of a"):
        await store.change("a", lambda _: object())
    assert await store.get("a") == [None, 2]


@pytest.mark.parametrize("value", [object(), float("nan"), "x" * MAX_VALUE, {1, 2}])
async def test_values_that_cannot_be_stored(spool: Spool, value: object) -> None:
    store = spool.store("alerts")
    await store.put("a", 1)
    with pytest.raises(InputError, match="The value of a"):
        await store.put("a", value)
    assert await store.get("a") == 1
