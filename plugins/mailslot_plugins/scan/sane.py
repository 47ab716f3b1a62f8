"""Scans through SANE's ``scanimage``: one page from the flatbed, or all pages in the feeder."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import anyio
from anyio import to_thread

from mailslot.errors import MailError
from mailslot_plugins.programs.start import start_program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from anyio.abc import ByteReceiveStream, Process

PROGRAM: Final = "scanimage"

SILENCE_TIMEOUT: Final = 180.0
"""Seconds for which a scanner may be silent; a cold lamp needs one minute."""

MAX_PAGES: Final = 1_000
_STOP_TIMEOUT: Final = 5.0
_MAX_LINES: Final = 20
_MAX_LINE_LENGTH: Final = 4_096

Format = Literal["pdf", "tiff", "jpeg", "png"]

# SANE standard 1.06, section 4.2.7; scanimage ends with the status as its exit code.
_STATUSES: Final = {
    1: ("scanner_failed", "cannot do what was asked of it"),
    2: ("scanner_cancelled", "was stopped at its own panel"),
    3: ("scanner_busy", "is busy; somebody else is using it"),
    4: ("scanner_failed", "does not know such a setting"),
    6: ("feeder_jammed", "has a paper jam in its feeder"),
    7: ("feeder_empty", "has no paper in its feeder"),
    8: ("scanner_cover_open", "has its cover open"),
    9: ("scanner_failed", "does not answer; look at its cable and whether it is switched on"),
    10: ("scanner_failed", "has not enough memory for such a scan"),
    11: ("scanner_refused", "may not be used by this program"),
}
_STATUS_TEXTS: Final = {
    "Device busy": 3,
    "Document feeder jammed": 6,
    "Document feeder out of documents": 7,
    "Scanner cover is open": 8,
    "Error during device I/O": 9,
    "Access to resource has been denied": 11,
}
_IO_ERROR: Final = 9
_PROGRESS: Final = re.compile(r"Progress: ([0-9.]+)%")
_OPEN_FAILED: Final = re.compile(r"open of device .* failed: (.*)")
_SOURCES: Final = re.compile(r"^ +--source ([^\[\n]+?)(?: \[|$)", re.MULTILINE)
_SOURCE_WORDS: Final = {"adf": ("adf", "feeder"), "flatbed": ("flatbed", "glass", "platen"), "duplex": ("duplex",)}
_RETRYABLE: Final = frozenset({2, 3, 6, 7, 8})


class ScannerError(MailError):
    """The scan failed, and nothing was sent.

    Its cause is `scanner_busy`, `feeder_empty`, `feeder_jammed`, `scanner_cover_open`, `scanner_refused`,
    `scanner_cancelled`, `scanner_not_found` or `scanner_failed`.
    """

    def __init__(self, sentence: str, cause: str, *, retryable: bool = False, detail: str = "") -> None:
        super().__init__(sentence, stage="data", cause=cause, retryable=retryable, detail=detail)


@dataclass(frozen=True, slots=True)
class Scanner:
    """A scanner and its settings.

    Attributes:
        device: its SANE name, for example ``"test"`` or ``"airscan:e0:Office"``.
        source: where the paper is: ``adf``, ``flatbed``, ``duplex`` or the scanner's own name; None for its default.
        resolution: dots per inch; None for its default.
        mode: ``Gray``, ``Color`` or ``Lineart``; None for its default.
        options: further options of the device, for example ``("-x", "210")``.
        silence_timeout: seconds without output after which the scan is given up.
    """

    device: str
    source: str | None = None
    resolution: int | None = None
    mode: str | None = None
    options: Sequence[str] = ()
    silence_timeout: float = SILENCE_TIMEOUT


async def scan_pages(
    scanner: Scanner, encoding: Literal["tiff", "jpeg", "png"], folder: Path, progress: Callable[[int, float], None]
) -> list[Path]:
    """Scan all pages in the feeder, or one page from any other source.

    Args:
        scanner: the scanner.
        encoding: the file format of each page.
        folder: where the pages are written.
        progress: called with the page's number and the scanned fraction of it, 0.0 to 1.0.

    Returns:
        the pages, one file each.

    Raises:
        ScannerError: there was no paper, or a page failed; then none is returned.
    """
    if shutil.which(PROGRAM) is None:
        raise ScannerError(f"{PROGRAM} is not installed; on Debian: apt-get install sane-utils", "scanner_failed")
    source = await _find_source(scanner)
    command = _command(scanner, source)
    # Only a feeder reports that it is empty; a batch from the flatbed would never end.
    has_feeder = source is not None and any(word in source.lower() for word in (*_SOURCE_WORDS["adf"], "duplex"))
    suffix = {"tiff": "tif", "jpeg": "jpg", "png": "png"}[encoding]
    command += [f"--format={encoding}", "--progress", "--batch-print", f"--batch={folder}/page%04d.{suffix}"]
    if not has_feeder:
        command.append("--batch-count=1")
    run = _ScanimageRun(progress, scanner.silence_timeout)
    code = await run.run(command)
    pages = await to_thread.run_sync(lambda: sorted(folder.glob(f"page*.{suffix}")))
    if code:
        raise _scanner_error(scanner, code, run.stderr_lines, len(pages))
    if not pages:
        raise _scanner_error(scanner, _IO_ERROR, run.stderr_lines, 0)
    return pages


def _command(scanner: Scanner, source: str | None) -> list[str]:
    command = [PROGRAM, "-d", scanner.device]
    for name, value in (("source", source), ("mode", scanner.mode), ("resolution", scanner.resolution)):
        if value is not None:
            command.append(f"--{name}={value}")
    return [*command, *scanner.options]


async def _find_source(scanner: Scanner) -> str | None:
    """Return the scanner's own name for the wanted source."""
    if scanner.source is None:
        return None
    run = _ScanimageRun(lambda _page, _part: None, scanner.silence_timeout)
    code = await run.run([PROGRAM, "-d", scanner.device, "--all-options"], keep_output=True)
    if code:
        raise _scanner_error(scanner, code, run.stderr_lines, 0)
    match = _SOURCES.search("\n".join(run.stdout_lines))
    known = match[1].strip().split("|") if match else []
    wanted = scanner.source.lower()
    exact = [word for word in known if word.lower() == wanted]
    similar = [word for word in known if any(part in word.lower() for part in _SOURCE_WORDS.get(wanted, (wanted,)))]
    for word in (*exact, *similar):
        return word
    available = f"it has {', '.join(known)}" if known else "it has no choice of sources"
    raise ScannerError(
        f"The scanner {scanner.device!r} has no source {scanner.source!r}; {available}.", "scanner_failed"
    )


class _ScanimageRun:
    """One run of scanimage, and its output."""

    def __init__(self, progress: Callable[[int, float], None], silence_timeout: float) -> None:
        self.stderr_lines: list[str] = []
        self.stdout_lines: list[str] = []
        self._progress = progress
        self._silence_timeout = silence_timeout
        self._page = 1
        self._last_output_at = 0.0

    async def run(self, command: Sequence[str], *, keep_output: bool = False) -> int:
        """Run it to its end and return the exit code; it is stopped if we are cancelled or it falls silent."""
        try:
            process = await start_program(command, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise ScannerError(f"{PROGRAM} cannot be run: {error.strerror}.", "scanner_failed") from error
        failure: ScannerError | None = None
        try:
            # Nothing is raised inside the task group, which would wrap it in an exception group.
            async with anyio.create_task_group() as group:
                self._last_output_at = anyio.current_time()
                if process.stdout is not None and process.stderr is not None:
                    group.start_soon(self._read, process.stdout, self.stdout_lines if keep_output else None)
                    group.start_soon(self._read, process.stderr, self.stderr_lines)
                failure = await self._watch(process)
                if failure is not None:
                    group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await _stop(process)
        if failure is not None:
            raise failure
        return process.returncode or 0

    async def _watch(self, process: Process) -> ScannerError | None:
        while True:
            with anyio.move_on_after(1.0):
                await process.wait()
                return None
            if anyio.current_time() - self._last_output_at > self._silence_timeout:
                return ScannerError(
                    f"The scanner did not respond for {self._silence_timeout:.0f} seconds. Nothing was sent.",
                    "scanner_failed",
                )
            if self._page > MAX_PAGES:
                return ScannerError(f"The scan has more than {MAX_PAGES} pages. Nothing was sent.", "scanner_failed")

    async def _read(self, stream: ByteReceiveStream, lines: list[str] | None) -> None:
        pending = ""
        with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            while True:
                pending += (await stream.receive()).decode(errors="replace")
                self._last_output_at = anyio.current_time()
                *complete, pending = re.split(r"[\r\n]", pending)
                for line in complete:
                    self._handle_line(line, lines)
                pending = pending[-_MAX_LINE_LENGTH:]
        self._handle_line(pending, lines)

    def _handle_line(self, line: str, lines: list[str] | None) -> None:
        if match := _PROGRESS.match(line):
            self._progress(self._page, min(float(match[1]) / 100, 1.0))
        elif match := re.match(r"Scanning page (\d{1,6})", line):
            self._page = int(match[1])
        elif lines is not None and line.strip():
            lines.append(line)
            if lines is self.stderr_lines:
                del lines[:-_MAX_LINES]


async def _stop(process: Process) -> None:
    """Let scanimage eject the paper and end; kill it if it does not."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        with anyio.move_on_after(_STOP_TIMEOUT):
            await process.wait()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    await process.aclose()


def _scanner_error(scanner: Scanner, code: int, stderr_lines: Sequence[str], pages: int) -> ScannerError:
    detail = "\n".join(stderr_lines)
    open_failure = next((match[1] for line in stderr_lines if (match := _OPEN_FAILED.search(line))), None)
    reported_status = next((status for line in stderr_lines if (status := _reported_status(line)) is not None), None)
    if open_failure is not None and reported_status is None:
        return ScannerError(
            f"There is no scanner {scanner.device!r}, or it is switched off. Nothing was sent.",
            "scanner_not_found",
            retryable=True,
            detail=detail,
        )
    bad_option = next(
        (line for line in stderr_lines if "setting of option" in line or "unrecognized option" in line), None
    )
    status = reported_status if reported_status is not None else 4 if bad_option else code
    cause, does = _STATUSES.get(status, ("scanner_failed", f"failed: {stderr_lines[-1]}" if stderr_lines else "failed"))
    if bad_option:
        does += f" ({bad_option.removeprefix(f'{PROGRAM}: ')})"
    where = f" on page {pages + 1}" if pages else ""
    return ScannerError(
        f"The scanner {scanner.device!r} {does}{where}. Nothing was sent.",
        cause,
        retryable=status in _RETRYABLE,
        detail=detail,
    )


def _reported_status(line: str) -> int | None:
    return next((status for words, status in _STATUS_TEXTS.items() if words in line), None)
