"""Starts external programs without leaving them behind on cancellation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import Process


async def start_program(command: Sequence[str], **options: Any) -> Process:  # noqa: ANN401 - `anyio.open_process`'s
    """Start a program.

    Shielded: on asyncio, a cancellation while the program starts would leave it running.

    Args:
        command: the program and its arguments.
        options: as for `anyio.open_process`.

    Raises:
        OSError: it cannot be started.
    """
    process: Process | None = None
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process(command, **options)
    assert process is not None  # noqa: S101 - a shield swallows nothing
    return process
