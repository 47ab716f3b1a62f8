"""Test doubles: a token source, a hook and streamed messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from mailslot.sasl.credentials import AccessToken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ListedTokenSource:
    """A token source that returns the given tokens in order, and then the last one again and again.

    Attributes:
        force_calls: the argument `force` of each call.
    """

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)
        self.force_calls: list[bool] = []

    async def token(self, *, force: bool = False) -> AccessToken:
        """Return the next token."""
        self.force_calls.append(force)
        return AccessToken(self._tokens.pop(0) if len(self._tokens) > 1 else self._tokens[0])

    async def forget(self) -> None:
        """Do nothing."""


class RecordingHook:
    """A `before_end` hook.

    Attributes:
        calls: how often it was called.
    """

    def __init__(self, failure: Exception | None = None, *, pause: float = 0.01) -> None:
        self.calls = 0
        self._failure = failure
        self._pause = pause

    async def __call__(self) -> None:
        """Count the call; raise the failure if there is one."""
        self.calls += 1
        await anyio.sleep(self._pause)
        if self._failure is not None:
            raise self._failure


class StreamedMessage:
    """A message in pieces.

    Attributes:
        size: the announced octets.
        eight_bit: whether it contains octets over 127.
        smtputf8: whether its header contains them.
    """

    eight_bit = smtputf8 = False

    def __init__(self, *pieces: bytes | Exception, size: int | None = None) -> None:
        self._pieces = pieces
        self.size = sum(len(piece) for piece in pieces if isinstance(piece, bytes)) if size is None else size

    async def chunks(self) -> AsyncIterator[bytes]:
        """Return the pieces; raise those that are exceptions."""
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


class SlowStream(StreamedMessage):
    """A message whose pieces come slowly."""

    def __init__(self) -> None:
        super().__init__(*[b"x" * 998 + b"\r\n"] * 600)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Return the pieces, with pauses."""
        for piece in self._pieces:
            await anyio.sleep(0.005)
            yield bytes(piece) if isinstance(piece, bytes) else b""
