"""Runs one task in a confined process, with limits on time, memory and written files.

Mails and documents from anybody are opened only there. The process gets a working folder, no environment and none of
our open files.
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

MAX_OUTPUT: Final = 4 << 20
_MAX_STDERR: Final = 20_000

logger = logging.getLogger(__name__)


class IntakeError(Exception):
    """A mail or document cannot be opened; the text is one sentence that says why."""


async def run_task(task: str, request: Mapping[str, Any], folder: Path, limits: Limits | None = None) -> dict[str, Any]:
    """Run a task of `mailslot_plugins.intake.tasks` and return its result.

    Args:
        task: its name.
        request: its arguments, as JSON values.
        folder: its working folder, which must exist.
        limits: its limits; None for the defaults.

    Raises:
        IntakeError: it failed, exceeded its limits, or crashed.
    """
    limits = limits or Limits()
    input_octets = json.dumps({"task": task, "request": request, "limits": limits.as_json()}).encode()
    output = bytearray()
    errors = bytearray()
    process = await start_program(
        [sys.executable, "-P", "-m", "mailslot_plugins.intake.child"],
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        cwd=folder,
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    )
    finished = False
    try:
        with anyio.move_on_after(2 * limits.seconds):
            await _communicate(process, input_octets, output, errors)
            await process.wait()
            finished = True
    finally:
        with anyio.CancelScope(shield=True):
            await _kill(process)
    if errors:
        logger.debug("While %s was done: %s", task, errors.decode("utf-8", "replace"))
    if not finished:
        raise IntakeError("It takes too long to open.")
    return _parse_output(process.returncode or 0, bytes(output))


async def _communicate(process: Process, input_octets: bytes, output: bytearray, errors: bytearray) -> None:
    async def read_stream(stream: Any, target: bytearray, limit: int) -> None:  # noqa: ANN401 - anyio's optional stream
        async for piece in stream:
            if len(target) < limit:
                target += piece

    async with anyio.create_task_group() as group:
        group.start_soon(read_stream, process.stdout, output, MAX_OUTPUT + 1)
        group.start_soon(read_stream, process.stderr, errors, _MAX_STDERR)
        stdin = process.stdin
        assert stdin is not None  # noqa: S101 - it is a pipe
        with suppress(anyio.BrokenResourceError):
            await stdin.send(input_octets)
        await stdin.aclose()


async def _kill(process: Process) -> None:
    # Kills its child processes too, which are in its process group.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.aclose()


def _parse_output(code: int, output: bytes) -> dict[str, Any]:
    if code == -signal.SIGXCPU:
        raise IntakeError("It takes too long to open.")
    if code == -signal.SIGXFSZ:
        raise IntakeError("It becomes too large when it is opened.")
    try:
        parsed = json.loads(output) if len(output) <= MAX_OUTPUT else None
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise IntakeError("It cannot be opened: the program that reads it crashed.")
    result = cast("dict[str, Any]", parsed)
    if "refused" in result:
        raise IntakeError(str(result["refused"]))
    return result
