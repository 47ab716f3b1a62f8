"""Authenticated identifiers in the trace field, by which the gateway recognizes its own messages, and so a loop."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from mailslot.plugin import Store

_STORED: Final = "trace key"
_ID_LENGTH: Final = 24
_TAG_LENGTH: Final = 24


class TraceIds:
    """Creates and recognizes identifiers.

    Args:
        key: the gateway's key.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    async def load(cls, store: Store) -> Self:
        """Return the identifiers of a home folder; its key is created at the first call.

        Raises:
            SpoolError: the key cannot be read or written.
        """
        stored = await store.get(_STORED)
        if not isinstance(stored, str):
            stored = secrets.token_hex(32)
            await store.put(_STORED, stored)
        return cls(bytes.fromhex(stored))

    def new(self) -> str:
        """Return a new identifier."""
        identifier = secrets.token_hex(_ID_LENGTH // 2)
        return f"{identifier}.{self._tag(identifier)}"

    def is_own(self, value: str) -> bool:
        """Whether `new` created an identifier, in this home folder."""
        identifier, _, tag = value.strip().partition(".")
        return hmac.compare_digest(tag.encode(), self._tag(identifier).encode())

    def _tag(self, identifier: str) -> str:
        return hmac.digest(self._key, identifier.encode("utf-8", "replace"), "sha256").hex()[:_TAG_LENGTH]
