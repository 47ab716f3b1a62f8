"""One task in a process of its own: bounded in time, memory and what it writes, and gone with whatever it did.

A mail or a document from anybody is opened there and nowhere else. The process gets a folder to write into, no
environment, no open files of ours, and no second try.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from contextlib import suppress
from subprocess import PIPE
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from mailslot_plugins.intake.limits import Limits
from mailslot_plugins.programs.start import start_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anyio.abc import Process

MAX_ANSWER: Final = 4 << 20
_MAX_COMPLAINT: Final = 20_000

logger = logging.getLogger(__name__)


class IntakeError(Exception):
    """What came in cannot be opened; its text is one sentence that says why."""


async def run_task(task: str, request: Mapping[str, Any], folder: Path, limits: Limits | None = None) -> dict[str, Any]:
    """Run a task of `mailslot_plugins.intake.tasks` and return its answer.

    Args:
        task: its name.
        request: what it gets, as JSON holds it.
        folder: where it runs and may write; it has to be there.
        limits: what it may cost.

    Raises:
        IntakeError: it failed, cost too much, or died.
    """
    limits = limits or Limits()
    asked = json.dumps({"task": task, "request": request, "limits": limits.as_json()}).encode()
    answer = bytearray()
    complaint = bytearray()
    process = await start_program(
        [sys.executable, "-P", "-m", "mailslot_plugins.intake.child"],
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        cwd=folder,
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    )
    ended = False
    try:
        with anyio.move_on_after(2 * limits.seconds):
            await _converse(process, asked, answer, complaint)
            await process.wait()
            ended = True
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)
    if complaint:
        logger.debug("While %s was done: %s", task, complaint.decode("utf-8", "replace"))
    if not ended:
        raise IntakeError("It takes too long to open.")
    return _answered(process.returncode or 0, bytes(answer))


async def _converse(process: Process, asked: bytes, answer: bytearray, complaint: bytearray) -> None:
    async def listen(stream: Any, into: bytearray, most: int) -> None:  # noqa: ANN401 - anyio's optional stream
        async for piece in stream:
            if len(into) < most:
                into += piece

    async with anyio.create_task_group() as group:
        group.start_soon(listen, process.stdout, answer, MAX_ANSWER + 1)
        group.start_soon(listen, process.stderr, complaint, _MAX_COMPLAINT)
        stdin = process.stdin
        assert stdin is not None  # noqa: S101 - it was asked for
        with suppress(anyio.BrokenResourceError):
            await stdin.send(asked)
        await stdin.aclose()


async def _end(process: Process) -> None:
    # Whatever it has started has its process group.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.aclose()


def _answered(code: int, answer: bytes) -> dict[str, Any]:
    if code == -signal.SIGXCPU:
        raise IntakeError("It takes too long to open.")
    if code == -signal.SIGXFSZ:
        raise IntakeError("It becomes too large when it is opened.")
    try:
        said = json.loads(answer) if len(answer) <= MAX_ANSWER else None
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise IntakeError("It cannot be opened: the program that reads it broke down over it.")
    found = cast("dict[str, Any]", said)
    if "refused" in found:
        raise IntakeError(str(found["refused"]))
    return found
