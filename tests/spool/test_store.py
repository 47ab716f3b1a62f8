"""The small memory of a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot import InputError
from mailslot.spool.spool import Spool
from mailslot.spool.store import MAX_VALUE, StoreValues

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


async def test_values_that_are_changed_together(spool: Spool) -> None:
    """What is read and written is of one moment, and nothing is written if it raises."""

    def double(values: StoreValues) -> int:
        found: int = values.get("a") or 1
        values.update({"a": 2 * found, "b": list(values.items())})
        return found

    def fail(values: StoreValues) -> None:
        values.update({"a": 0}, ["b"])
        values.update({"a": object()})

    store = spool.store("alerts")
    await store.put("c", 0)
    assert [await store.run(double), await store.run(double, durable=False)] == [1, 2]
    with pytest.raises(InputError, match="The value of a"):
        await store.run(fail)
    assert await store.items() == {"a": 4, "b": ["a", "b", "c"], "c": 0}
    await store.run(lambda values: values.update({}, ["a", "b"]))
    assert await store.items() == {"c": 0}


@pytest.mark.parametrize("value", [object(), float("nan"), "x" * MAX_VALUE, {1, 2}])
async def test_values_that_cannot_be_stored(spool: Spool, value: object) -> None:
    store = spool.store("alerts")
    await store.put("a", 1)
    with pytest.raises(InputError, match="The value of a"):
        await store.put("a", value)
    assert await store.get("a") == 1
