"""A scanner, through SANE's ``scanimage``: one page from the glass, or all that lie in the feeder."""

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

SILENCE: Final = 180.0
"""Seconds for which a scanner may say nothing; a cold lamp needs one minute."""

MOST_PAGES: Final = 1_000
_GRACE: Final = 5.0
_KEPT: Final = 20
_LONGEST_LINE: Final = 4_096

Format = Literal["pdf", "tiff", "jpeg", "png"]

# SANE standard 1.06, section 4.2.7; scanimage ends with the status as its exit code.
_STATUS: Final = {
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
_WORDS: Final = {
    "Device busy": 3,
    "Document feeder jammed": 6,
    "Document feeder out of documents": 7,
    "Scanner cover is open": 8,
    "Error during device I/O": 9,
    "Access to resource has been denied": 11,
}
_IO_ERROR: Final = 9
_PROGRESS: Final = re.compile(r"Progress: ([0-9.]+)%")
_OPENING: Final = re.compile(r"open of device .* failed: (.*)")
_SOURCES: Final = re.compile(r"^ +--source ([^\[\n]+?)(?: \[|$)", re.MULTILINE)
_KINDS: Final = {"adf": ("adf", "feeder"), "flatbed": ("flatbed", "glass", "platen"), "duplex": ("duplex",)}
_RETRYABLE: Final = frozenset({2, 3, 6, 7, 8})


class ScannerError(MailError):
    """The scanner gave no scan, and nothing was sent.

    Its cause is `scanner_busy`, `feeder_empty`, `feeder_jammed`, `scanner_cover_open`, `scanner_refused`,
    `scanner_cancelled`, `scanner_not_found` or `scanner_failed`.
    """

    def __init__(self, sentence: str, cause: str, *, retryable: bool = False, detail: str = "") -> None:
        super().__init__(sentence, stage="data", cause=cause, retryable=retryable, detail=detail)


@dataclass(frozen=True, slots=True)
class Scanner:
    """A scanner and how to scan.

    Attributes:
        device: SANE's name of it, such as ``"test"`` or ``"airscan:e0:Office"``.
        source: where the paper is: ``adf``, ``flatbed``, ``duplex`` or the scanner's own word; None for its default.
        resolution: dots an inch; None for its default.
        mode: such as ``Gray``, ``Color`` or ``Lineart``; None for its default.
        options: further ones of the device, such as ``("-x", "210")``.
        silence: seconds without a word from it, after which it is taken for dead.
    """

    device: str
    source: str | None = None
    resolution: int | None = None
    mode: str | None = None
    options: Sequence[str] = ()
    silence: float = SILENCE


async def scan_pages(
    scanner: Scanner, encoding: Literal["tiff", "jpeg", "png"], folder: Path, progress: Callable[[int, float], None]
) -> list[Path]:
    """Scan, from the feeder until it is empty, else one page.

    Args:
        scanner: the scanner.
        encoding: what each page becomes.
        folder: where the pages go.
        progress: called with the page's number and how much of it is scanned, 0.0 to 1.0.

    Returns:
        the pages, a file each.

    Raises:
        ScannerError: there was no paper, or something happened to a page; then none counts.
    """
    if shutil.which(PROGRAM) is None:
        raise ScannerError(f"{PROGRAM} is not installed; on Debian: apt-get install sane-utils", "scanner_failed")
    source = await _source(scanner)
    command = _command(scanner, source)
    # Only a feeder tells when there is no more paper; the glass would be scanned for ever.
    feeds = source is not None and any(word in source.lower() for word in (*_KINDS["adf"], "duplex"))
    suffix = {"tiff": "tif", "jpeg": "jpg", "png": "png"}[encoding]
    command += [f"--format={encoding}", "--progress", "--batch-print", f"--batch={folder}/page%04d.{suffix}"]
    if not feeds:
        command.append("--batch-count=1")
    run = _Run(progress, scanner.silence)
    code = await run.run(command)
    pages = await to_thread.run_sync(lambda: sorted(folder.glob(f"page*.{suffix}")))
    if code:
        raise _error(scanner, code, run.said, len(pages))
    if not pages:
        raise _error(scanner, _IO_ERROR, run.said, 0)
    return pages


def _command(scanner: Scanner, source: str | None) -> list[str]:
    command = [PROGRAM, "-d", scanner.device]
    for name, value in (("source", source), ("mode", scanner.mode), ("resolution", scanner.resolution)):
        if value is not None:
            command.append(f"--{name}={value}")
    return [*command, *scanner.options]


async def _source(scanner: Scanner) -> str | None:
    """Return the scanner's own word for where the paper is."""
    if scanner.source is None:
        return None
    run = _Run(lambda _page, _part: None, scanner.silence)
    code = await run.run([PROGRAM, "-d", scanner.device, "--all-options"], keep=True)
    if code:
        raise _error(scanner, code, run.said, 0)
    match = _SOURCES.search("\n".join(run.output))
    known = match[1].strip().split("|") if match else []
    wanted = scanner.source.lower()
    exact = [word for word in known if word.lower() == wanted]
    like = [word for word in known if any(part in word.lower() for part in _KINDS.get(wanted, (wanted,)))]
    for word in (*exact, *like):
        return word
    there = f"it has {', '.join(known)}" if known else "it has no choice of sources"
    raise ScannerError(f"The scanner {scanner.device!r} has no source {scanner.source!r}; {there}.", "scanner_failed")


class _Run:
    """One run of scanimage, and what it said."""

    def __init__(self, progress: Callable[[int, float], None], silence: float) -> None:
        self.said: list[str] = []
        self.output: list[str] = []
        self._progress = progress
        self._silence = silence
        self._page = 1
        self._heard = 0.0

    async def run(self, command: Sequence[str], *, keep: bool = False) -> int:
        """Run it to its end; returns the exit code. It is stopped where we are cancelled or it falls silent."""
        try:
            process = await start_program(command, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise ScannerError(f"{PROGRAM} cannot be run: {error.strerror}.", "scanner_failed") from error
        failure: ScannerError | None = None
        try:
            # Nothing may be raised in the group: it would come out as a group of exceptions.
            async with anyio.create_task_group() as group:
                self._heard = anyio.current_time()
                if process.stdout is not None and process.stderr is not None:
                    group.start_soon(self._read, process.stdout, self.output if keep else None)
                    group.start_soon(self._read, process.stderr, self.said)
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
            if anyio.current_time() - self._heard > self._silence:
                return ScannerError(
                    f"The scanner has said nothing for {self._silence:.0f} seconds and was given up. Nothing was sent.",
                    "scanner_failed",
                )
            if self._page > MOST_PAGES:
                return ScannerError(
                    f"The scanner has scanned more than {MOST_PAGES} pages. Nothing was sent.", "scanner_failed"
                )

    async def _read(self, stream: ByteReceiveStream, lines: list[str] | None) -> None:
        pending = ""
        with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            while True:
                pending += (await stream.receive()).decode(errors="replace")
                self._heard = anyio.current_time()
                *whole, pending = re.split(r"[\r\n]", pending)
                for line in whole:
                    self._hear(line, lines)
                pending = pending[-_LONGEST_LINE:]
        self._hear(pending, lines)

    def _hear(self, line: str, lines: list[str] | None) -> None:
        if match := _PROGRESS.match(line):
            self._progress(self._page, min(float(match[1]) / 100, 1.0))
        elif match := re.match(r"Scanning page (\d{1,6})", line):
            self._page = int(match[1])
        elif lines is not None and line.strip():
            lines.append(line)
            if lines is self.said:
                del lines[:-_KEPT]


async def _stop(process: Process) -> None:
    """Let scanimage bring the paper out and end, and end it otherwise."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        with anyio.move_on_after(_GRACE):
            await process.wait()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    await process.aclose()


def _error(scanner: Scanner, code: int, said: Sequence[str], pages: int) -> ScannerError:
    detail = "\n".join(said)
    opening = next((match[1] for line in said if (match := _OPENING.search(line))), None)
    told = next((status for line in said if (status := _told(line)) is not None), None)
    if opening is not None and told is None:
        return ScannerError(
            f"There is no scanner {scanner.device!r}, or it is switched off. Nothing was sent.",
            "scanner_not_found",
            retryable=True,
            detail=detail,
        )
    wrong = next((line for line in said if "setting of option" in line or "unrecognized option" in line), None)
    status = told if told is not None else 4 if wrong else code
    cause, does = _STATUS.get(status, ("scanner_failed", f"failed: {said[-1]}" if said else "failed"))
    if wrong:
        does += f" ({wrong.removeprefix(f'{PROGRAM}: ')})"
    where = f" on page {pages + 1}" if pages else ""
    return ScannerError(
        f"The scanner {scanner.device!r} {does}{where}. Nothing was sent.",
        cause,
        retryable=status in _RETRYABLE,
        detail=detail,
    )


def _told(line: str) -> int | None:
    return next((status for words, status in _WORDS.items() if words in line), None)
