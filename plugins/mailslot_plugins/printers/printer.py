"""The interface of printers, which print each document once and report the result.

Printers are found by the entry points ``mailslot.printers``, each a function of an address and `PrinterOptions`. The
address begins with the entry point's name: ``ipp://printer.example/ipp/print``, ``folder /srv/print``,
``command lp``; ``ipps`` belongs to ``ipp``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from mailslot.plugin import InputError, MailError
from mailslot.registry import PluginGroup
from mailslot_plugins.printers.pins import pins_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.errors import Stage
    from mailslot.plugin import Device
    from mailslot.slots.keys import SetterRole
    from mailslot_plugins.intake.kinds import Kind
    from mailslot_plugins.intake.limits import Limits
    from mailslot_plugins.printers.journal import Attempt

Sides = Literal["one-sided", "two-sided-long-edge", "two-sided-short-edge"]
Color = Literal["color", "monochrome"]

_ADDRESS: Final = re.compile(r"([a-z][a-z0-9-]*)(?:://|\s+)\S.*")
_ALIASES: Final = {"ipps": "ipp"}


class PrinterError(MailError):
    """A printer cannot be reached, does not print, or refuses a document.

    If it is `retryable`, the document may be printed later; otherwise it has failed for good. Its cause is
    ``printer_unreachable``, ``printer_stopped``, ``printer_refused`` or ``document_unprintable``.
    """

    def __init__(
        self, message: str, *, cause: str, stage: Stage = "transaction", retryable: bool = False, detail: str = ""
    ) -> None:
        super().__init__(message, stage=stage, cause=cause, retryable=retryable, detail=detail)


@dataclass(frozen=True, slots=True)
class Document:
    """A document to be printed.

    Attributes:
        path: its file.
        kind: its kind, by its content.
        title: its name for people; printable, on one line.
        owner: who prints it, for the printer's list of jobs.
        copies: the number of copies.
        sides: the sides of the paper; None for the printer's default.
        media: the paper by its PWG 5101.1 name, for example ``iso_a4_210x297mm``; None for the printer's default.
        color: colour or monochrome; None for the printer's default.
        media_type: the media type that it is sent as; set by `Printer.prepare`.
    """

    path: Path
    kind: Kind
    title: str
    owner: str
    copies: int = 1
    sides: Sides | None = None
    media: str | None = None
    color: Color | None = None
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """A printer's state.

    Attributes:
        ready: whether it accepts documents and prints them now.
        state: ``"idle"``, ``"printing"``, ``"stopped"`` or ``"unknown"``.
        reasons: its problems, one sentence each.
        formats: the media types that it accepts.
    """

    ready: bool
    state: str
    reasons: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PrintResult:
    """The result of a printed document.

    Attributes:
        job: the printer's name for the job; empty if there is none.
        note: further information in a sentence, for example that somebody has to release the job.
    """

    job: str = ""
    note: str = ""


class Pins(Protocol):
    """A store of the certificates that printers showed first, in PEM."""

    async def get(self, host: str) -> str | None:
        """Return the certificate of ``HOST:PORT``; None if there is none."""
        ...

    async def put(self, host: str, pem: str) -> None:
        """Store the certificate of ``HOST:PORT``."""
        ...


@dataclass(frozen=True, slots=True)
class PrinterOptions:
    """The options of a printer.

    Attributes:
        limits: the limits of a conversion; None for the defaults.
        ca_file: the only certificate authorities that are trusted, in PEM; None to trust the certificate that the
            printer shows first.
        pins: the store of first certificates; None to trust none without `ca_file`.
        timeout: seconds for each step of a request.
        job_timeout: seconds to wait for the end of a job before trying again later.
        home: the folder that relative paths in an address are in; None if they cannot be used, as by a worker of a
            fleet.
    """

    limits: Limits | None = None
    ca_file: Path | None = None
    pins: Pins | None = None
    timeout: float = 30.0
    job_timeout: float = 240.0
    home: Path | None = None


def printer_options(device: Device, ca_file: Path | None) -> PrinterOptions:
    """Return the options of a device's printer.

    Args:
        device: the device.
        ca_file: see `PrinterOptions`.
    """
    # Any worker of a fleet may print, and each has a folder of its own for the device.
    home = None if device.records.place.is_shared else device.home
    return PrinterOptions(ca_file=ca_file, pins=pins_of(device), home=home)


class Printer(Protocol):
    """A printer. Two tasks never call its methods for the same document at once.

    Every method may raise `PrinterError`.
    """

    async def check(self) -> Readiness:
        """Return whether it is ready, and the formats that it accepts."""
        ...

    async def prepare(self, document: Document, folder: Path) -> list[Document]:
        """Return the documents to print for this one, in order; often just this one.

        Args:
            document: the document.
            folder: where converted files are written.

        Raises:
            IntakeError: the document cannot be opened.
        """
        ...

    async def print(self, document: Document, attempt: Attempt) -> PrintResult:
        """Print a document that `prepare` returned, and wait for its end.

        Args:
            document: the document.
            attempt: its journal entry; each step must be recorded before it is taken.
        """
        ...

    async def resume(self, attempt: Attempt) -> PrintResult | None:
        """Wait for the end of a document that was, or may have been, sent before.

        Returns:
            the result; None if the document did not reach the printer and is to be printed.
        """
        ...


PRINTERS: Final[PluginGroup[Callable[[str, PrinterOptions], Printer]]] = PluginGroup(
    "mailslot.printers", noun="printer", check=callable
)
"""The functions that make printers, by the first word of an address."""


def is_printer_address(text: str) -> bool:
    """Whether a text has the form of a printer's address."""
    return _ADDRESS.fullmatch(text) is not None


def entry_point_name(address: str) -> str:
    """Return the name of the entry point for an address; empty if it is not an address."""
    found = _ADDRESS.fullmatch(address)
    name = found[1] if found else ""
    return _ALIASES.get(name, name)


def printer_plugins(address: str) -> list[tuple[str, str]]:
    """Return the plugin that an address uses, for `mailslot.slots.keys.Key.plugins`."""
    return [(PRINTERS.name, entry_point_name(address))]


def printer_set_by(address: str) -> SetterRole:
    """Return who may set a printer's address, for `mailslot.slots.keys.Key.set_by`.

    A network printer may be set through the API. Any other address is set locally, because a plugin may write to the
    folder or run the program that it names.
    """
    return "api_key" if entry_point_name(address) == "ipp" else "local"


def find_printer(address: str, options: PrinterOptions) -> Printer:
    """Return the printer at an address. This imports its module, so coroutines call it in a thread.

    Raises:
        InputError: the address is not valid, or no installed plugin for it can be loaded.
    """
    name = entry_point_name(address)
    if name not in PRINTERS.names():
        raise InputError(
            f"{address[:80]!r} is not a printer; examples are ipp://printer.example/ipp/print, ipps://… and "
            "folder /srv/print.",
            stage="resolve",
        )
    return PRINTERS.find(name)(address, options)
