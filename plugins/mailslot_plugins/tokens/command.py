"""Tokens from a program that is run when one is needed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

import anyio

from mailslot.plugin import InputError, Secret, TokenError
from mailslot.wire.redact import Redactor
from mailslot.wire.secret import MASK
from mailslot_plugins.programs.start import start_program
from mailslot_plugins.tokens.token_text import MAX_TEXT, parse_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anyio.abc import ByteReceiveStream, Process

    from mailslot.plugin import AccessToken


_TIMEOUT: Final = 60.0
_MAX_DETAIL: Final = 1000  # characters of standard error that are shown
_MARGIN: Final = 60.0  # seconds that a cached token must still be valid to be returned again

# Possibly a token or a secret: a long word with letters and digits.
_TOKEN_LIKE: Final = re.compile(r"(?=[\w.~+/=-]*\d)(?=[\w.~+/=-]*[A-Za-z])[\w.~+/=-]{16,}")


class CommandToken:
    """Runs a program, and reads the token from its standard output.

    A token with an expiry time is cached until a minute before it.

    Args:
        command: the program and its arguments, or a text for the shell.
        timeout: seconds that the program may take.
    """

    def __init__(self, command: Sequence[str] | str, timeout: float = _TIMEOUT) -> None:
        self._command = command
        self._timeout = timeout
        self._lock = anyio.Lock()
        self._last: AccessToken | None = None

    @property
    def _name(self) -> str:
        words = self._command.split() if isinstance(self._command, str) else self._command
        return f"The command {words[0]}"

    async def token(self, *, force: bool = False) -> AccessToken:
        """Return the program's token; the program is never run twice at the same time.

        Raises:
            TokenError: the program cannot be run, failed, took too long, or returned no valid token.
        """
        async with self._lock:
            last = self._last
            if force or last is None or last.expires_at is None or last.expires_at - _MARGIN <= time.time():
                started = time.time()
                text = await self._run()
                self._last = last = parse_token(text, self._name, written_at=started, now=time.time())
            return last

    async def forget(self) -> None:
        """Drop the cached token; the program's own storage is not touched."""
        self._last = None

    async def _run(self) -> bytes:
        try:
            process = await start_program(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # so that its child processes are killed too
            )
        except OSError as error:
            raise self._failed(f"cannot be run: {error.strerror}") from error
        output, errors = bytearray(), bytearray()
        ended = False
        try:
            with anyio.move_on_after(self._timeout):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_collect, process, process.stdout, output)
                    tasks.start_soon(_collect, process, process.stderr, errors)
                    await process.wait()
                    _kill(process)
                ended = True
        finally:
            _kill(process)
            with anyio.CancelScope(shield=True):
                await process.aclose()
        detail = _error_text(bytes(errors), bytes(output))
        if len(output) > MAX_TEXT or len(errors) > MAX_TEXT:
            raise self._failed("wrote more than 64 KiB, which is not a token", detail)
        if not ended:
            raise self._failed(f"did not end within {self._timeout:g} seconds", detail)
        if process.returncode:
            raise self._failed(f"failed with exit code {process.returncode}", detail)
        return bytes(output)

    def _failed(self, predicate: str, detail: str = "") -> TokenError:
        return TokenError(f"{self._name} {predicate}.", cause="token_source_failed", detail=detail)


def source(settings: Mapping[str, object]) -> CommandToken:
    """Return the source for its settings.

    Args:
        settings: ``command``, a list of program and arguments, or a text that is split as a shell would split it;
            ``shell``, true to give that text to the shell itself; ``timeout`` in seconds (60).

    Raises:
        InputError: a setting cannot be used.
    """
    timeout = settings.get("timeout", _TIMEOUT)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= 600:
        raise InputError("The timeout of a command is a number of seconds, 600 at most.", stage="token")
    command = _command(settings.get("command"), shell=bool(settings.get("shell", False)))
    if not command or not command[0]:
        raise InputError("The token source command needs command, the program and its arguments.", stage="token")
    return CommandToken(command, timeout)


def _command(value: object, *, shell: bool) -> list[str] | str | None:
    """Return the program and its arguments; None if there is nothing to run."""
    if isinstance(value, str):
        try:
            return value if shell else shlex.split(value)
        except ValueError:
            return None
    words = cast("list[object]", value) if isinstance(value, list) else [None]
    texts = [word for word in words if isinstance(word, str) and "\0" not in word]
    return None if shell or len(texts) < len(words) else texts


async def _collect(process: Process, stream: ByteReceiveStream | None, buffer: bytearray) -> None:
    """Read a stream to its end; kill the program if it exceeds the limit."""
    if stream is not None:
        async for octets in stream:
            buffer += octets
            if len(buffer) > MAX_TEXT:
                _kill(process)
                return


def _kill(process: Process) -> None:
    """Kill the program and its child processes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _error_text(errors: bytes, output: bytes) -> str:
    """Return the end of standard error, with possible secrets masked."""
    redactor = Redactor()
    for word in output.decode("utf-8", "replace").split():
        redactor.add(Secret(word))
    end = errors[-2 * _MAX_DETAIL :]
    words = end.decode("utf-8", "replace").split()[
        len(end) < len(errors) :
    ]  # the first word may be cut off, and then not recognized
    text = " ".join(words)
    masked = _TOKEN_LIKE.sub(MASK, redactor.mask(text))
    return "".join(c for c in masked if c.isprintable())[-_MAX_DETAIL:]
