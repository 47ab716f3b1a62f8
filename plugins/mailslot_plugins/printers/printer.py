"""What a printer is to the pipelines: something that takes a document once, and says what became of it.

Printers are found under the entry points ``mailslot.printers``, each a function of an address and `Options`. The
address begins with the entry point's name: ``ipp://printer.example/ipp/print``, ``folder /srv/print``,
``command lp``; ``ipps`` belongs to ``ipp``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from mailslot.errors import InputError, MailError
from mailslot.registry import PluginGroup

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailslot.slots.keys import SetterRole
    from mailslot_plugins.intake.kinds import Kind
    from mailslot_plugins.intake.limits import Limits
    from mailslot_plugins.printers.journal import Attempt

Sides = Literal["one-sided", "two-sided-long-edge", "two-sided-short-edge"]
Color = Literal["color", "monochrome"]

_ADDRESS: Final = re.compile(r"([a-z][a-z0-9-]*)(?:://|\s+)\S.*")
_ALIASES: Final = {"ipps": "ipp"}


class PrinterError(MailError):
    """A printer cannot be reached, does not print, or refuses.

    Where it is `retryable`, the document may be printed later and nobody has to be told yet; else it never will.
    Its cause is ``printer_unreachable``, ``printer_stopped``, ``printer_refused`` or ``document_unprintable``.
    """


@dataclass(frozen=True, slots=True)
class Document:
    """What is to be printed.

    Attributes:
        path: its file.
        kind: what it is, by its content.
        title: what people know it by; printable, on one line.
        owner: who wants it printed, for the printer's list of jobs.
        copies: how often.
        sides: on which sides of the paper; None for the printer's default.
        media: a size of paper, as PWG 5101.1 names it, such as ``iso_a4_210x297mm``; None for the printer's default.
        color: in colour or not; None for the printer's default.
        media_type: what it goes to the printer as; set by `Printer.prepare`.
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
    """What a printer says of itself.

    Attributes:
        ready: whether it takes documents and prints them now.
        state: ``"idle"``, ``"printing"``, ``"stopped"`` or ``"unknown"``.
        reasons: what is the matter with it, a sentence each.
        formats: the media types of the documents that it takes.
    """

    ready: bool
    state: str
    reasons: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Printed:
    """A document that was printed.

    Attributes:
        job: how the printer calls it; empty where it does not.
        note: what else there is to say, in a sentence; such as that somebody has to release it.
    """

    job: str = ""
    note: str = ""


class Pins(Protocol):
    """The certificates that printers showed when they were first seen, in PEM."""

    async def get(self, host: str) -> str | None:
        """Return what was seen first at ``HOST:PORT``; None where nothing was."""
        ...

    async def put(self, host: str, pem: str) -> None:
        """Remember what was seen first."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """What a printer is made with.

    Attributes:
        limits: what the conversion of a document may cost; None for the usual ones.
        ca_file: certificate authorities in PEM that alone vouch for a printer; None to trust the certificate that it
            shows first.
        pins: where first certificates are kept; None to trust none without `ca_file`.
        timeout: for each step of talking to it, in seconds.
        patience: how long it is waited for a document's end before its follower is to come back later, in seconds.
    """

    limits: Limits | None = None
    ca_file: Path | None = None
    pins: Pins | None = None
    timeout: float = 30.0
    patience: float = 240.0


class Printer(Protocol):
    """A printer. None of its methods is called for the same document by two tasks at once.

    Every method may raise `PrinterError`.
    """

    async def check(self) -> Readiness:
        """Ask whether it is ready, and what it takes."""
        ...

    async def prepare(self, document: Document, folder: Path) -> list[Document]:
        """Return the documents that it takes in place of this one, in order; often that one alone.

        Args:
            document: what is to be printed.
            folder: where converted files go.

        Raises:
            IntakeError: it cannot be opened.
        """
        ...

    async def print(self, document: Document, attempt: Attempt) -> Printed:
        """Print a document that `prepare` has returned, and follow it to its end.

        Args:
            document: the document.
            attempt: what is remembered of it; brought up to date before each octet that makes a difference.
        """
        ...

    async def resume(self, attempt: Attempt) -> Printed | None:
        """Follow a document to its end that was handed over, or may have been.

        Returns:
            what became of it; None where it did not get there, so that it is to be printed.
        """
        ...


PRINTERS: Final[PluginGroup[Callable[[str, Options], Printer]]] = PluginGroup(
    "mailslot.printers", noun="printer", check=callable
)
"""What makes a printer of an address, by the word that the address begins with."""


def is_address(text: str) -> bool:
    """Whether a text has the form of a printer's address."""
    return _ADDRESS.fullmatch(text) is not None


def kind_of(address: str) -> str:
    """Return the name of the entry point that an address belongs to; empty where it is no address."""
    found = _ADDRESS.fullmatch(address)
    name = found[1] if found else ""
    return _ALIASES.get(name, name)


def used_printers(address: str) -> list[tuple[str, str]]:
    """Return which plugin an address puts to use, as `mailslot.slots.keys.Key.plugins` wants it."""
    return [(PRINTERS.name, kind_of(address))]


def sets_printer(address: str) -> SetterRole:
    """Return who may set a printer's address, as `mailslot.slots.keys.Key.set_by` wants it.

    A printer on the network is anybody's to name. Any other may be a folder that is written to, a program that is run,
    or whatever else a plugin makes of it.
    """
    return "api_key" if kind_of(address) == "ipp" else "local"


def find_printer(address: str, options: Options) -> Printer:
    """Return the printer at an address. Its module is imported: a coroutine has it done in a thread.

    Raises:
        InputError: nothing that is installed knows such printers, or it cannot be loaded, or the address is none.
    """
    name = kind_of(address)
    if name not in PRINTERS.names():
        raise InputError(
            f"{address[:80]!r} names no printer; a printer is such as ipp://printer.example/ipp/print, ipps://… or "
            "folder /srv/print.",
            stage="resolve",
        )
    return PRINTERS.find(name)(address, options)
