"""A pipeline's key-value store; each change is on the disk once it returns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mailslot.spool.repositories import Values
    from mailslot.spool.storage import Storage

T = TypeVar("T")

MAX_VALUE: Final = 1_000_000
"""Characters of a value, written as JSON."""


class Store:
    """The JSON values of one pipeline, by key.

    Every method may raise `mailslot.spool.errors.SpoolError`.

    Args:
        storage: the spool's storage.
        name: the name of the store, such as ``"alerts"``.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name

    async def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - any JSON
        """Return a value, or `default` if there is none."""
        text = await self._storage.read(lambda repositories: repositories.values.get(self._name, key))
        return default if text is None else json.loads(text)

    async def get_all(self, *keys: str) -> list[Any]:
        """Return several values, None for each that there is not, as they are at one moment."""
        texts = await self._storage.read(lambda each: [each.values.get(self._name, key) for key in keys])
        return [None if text is None else json.loads(text) for text in texts]

    async def put(self, key: str, value: Any, *, durable: bool = True) -> None:  # noqa: ANN401 - any JSON
        """Set a value.

        Args:
            key: the key.
            value: its value.
            durable: False not to wait for the disk: where the power fails before the next thing of this device is
                written, the value is the former one. Whatever is on the disk later has it before.

        Raises:
            InputError: it cannot be serialized as JSON, or is too long.
        """
        await self.update({key: value}, durable=durable)

    async def update(self, values: Mapping[str, Any], deleted: Iterable[str] = (), *, durable: bool = True) -> None:
        """Set several values, and delete others, all of them or none.

        Args:
            values: by key.
            deleted: keys.
            durable: as for `put`.

        Raises:
            InputError: as for `put`.
        """
        texts = {key: as_json(key, value) for key, value in values.items()}
        removed = list(deleted)
        await self._storage.write(
            lambda repositories: repositories.values.update(self._name, texts, removed), durable=durable
        )

    async def run(self, work: Callable[[StoreValues], T], *, durable: bool = True) -> T:
        """Read and change values while nobody else does, all of them or none; return what `work` returns.

        Args:
            work: called with the values; it may be called several times, in another thread.
            durable: as for `put`.
        """
        return await self._storage.write(
            lambda repositories: work(StoreValues(self._name, repositories.values)), durable=durable
        )

    async def delete(self, key: str) -> None:
        """Delete a value, if there is one."""
        await self.update({}, [key])

    async def keys(self) -> list[str]:
        """Return the keys of all values, in order."""
        return await self._storage.read(lambda repositories: repositories.values.keys(self._name))

    async def items(self) -> dict[str, Any]:
        """Return all values."""
        found = await self._storage.read(lambda repositories: repositories.values.items(self._name))
        return {key: json.loads(text) for key, text in found}


class StoreValues:
    """The values of one store, in a transaction.

    Args:
        name: the name of the store.
        values: the values of all stores.
    """

    def __init__(self, name: str, values: Values) -> None:
        self._name = name
        self._values = values

    def get(self, key: str) -> Any:  # noqa: ANN401 - any JSON
        """Return a value; None if there is none."""
        text = self._values.get(self._name, key)
        return None if text is None else json.loads(text)

    def items(self) -> dict[str, Any]:
        """Return all values."""
        return {key: json.loads(text) for key, text in self._values.items(self._name)}

    def update(self, values: Mapping[str, Any], deleted: Iterable[str] = ()) -> None:
        """Set values, and delete others.

        Raises:
            InputError: as for `Store.put`.
        """
        self._values.update(self._name, {key: as_json(key, value) for key, value in values.items()}, list(deleted))


def as_json(key: str, value: object) -> str:
    """Return a value as it is kept.

    Raises:
        InputError: it cannot be serialized as JSON, or is too long.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"The value of {key} cannot be kept.", stage="spool", detail=str(error)) from error
    if len(text) > MAX_VALUE:
        raise InputError(f"The value of {key} is too long to be kept.", stage="spool", detail=f"{len(text)}")
    return text
