"""Test doubles: a token source, what is done before a message ends, and messages as streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from mailslot.sasl.credentials import AccessToken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Tokens:
    """A token source that gives one token after the other, the last one again and again.

    Attributes:
        asked: `force` of each call.
    """

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)
        self.asked: list[bool] = []

    async def token(self, *, force: bool = False) -> AccessToken:
        """Give the next one."""
        self.asked.append(force)
        return AccessToken(self._tokens.pop(0) if len(self._tokens) > 1 else self._tokens[0])

    async def forget(self) -> None:
        """Do nothing."""


class Hook:
    """What is done before a message ends.

    Attributes:
        calls: how often it was.
    """

    def __init__(self, failure: Exception | None = None, *, pause: float = 0.01) -> None:
        self.calls = 0
        self._failure = failure
        self._pause = pause

    async def __call__(self) -> None:
        """Note it."""
        self.calls += 1
        await anyio.sleep(self._pause)
        if self._failure is not None:
            raise self._failure


class Stream:
    """A message in pieces.

    Attributes:
        size: the octets that it announces.
        eight_bit: whether it holds octets over 127.
        smtputf8: whether its header does.
    """

    eight_bit = smtputf8 = False

    def __init__(self, *pieces: bytes | Exception, size: int | None = None) -> None:
        self._pieces = pieces
        self.size = sum(len(piece) for piece in pieces if isinstance(piece, bytes)) if size is None else size

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the pieces, or raise one that is an error."""
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


class Slow(Stream):
    """A message that takes its time."""

    def __init__(self) -> None:
        super().__init__(*[b"x" * 998 + b"\r\n"] * 600)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the pieces, one after the other."""
        for piece in self._pieces:
            await anyio.sleep(0.005)
            yield bytes(piece) if isinstance(piece, bytes) else b""
