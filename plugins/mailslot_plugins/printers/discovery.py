"""Finds the printers that announce themselves on the network (DNS-SD, RFC 6763).

The program ``ippfind`` of CUPS does it, through the system's own responder for multicast DNS. So nothing here has to
join a multicast group or share port 5353, and no library is needed. Without the program, addresses are entered by hand.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Final

import anyio

from mailslot_plugins.intake.one_line import one_line
from mailslot_plugins.printers.printer import PrinterError

if TYPE_CHECKING:
    from collections.abc import Iterable

PROGRAM: Final = "ippfind"

_SECONDS: Final = 3
"""Seconds to wait for printers; most respond within one."""

_DEADLINE: Final = 30.0
"""Seconds after which the program is killed."""

_MAX_PRINTERS: Final = 50
_MAX_LENGTH: Final = 300
_URI: Final = re.compile(r"ipps?://[!-~]+")


@dataclass(frozen=True, slots=True)
class FoundPrinter:
    """A printer on the network.

    Attributes:
        name: its name for people.
        address: its address, such as ``ipps://printer.local:631/ipp/print``.
    """

    name: str
    address: str


def can_discover() -> bool:
    """Return whether printers can be found on this machine."""
    return shutil.which(PROGRAM) is not None


async def discover_printers() -> list[FoundPrinter]:
    """Return the printers that announce IPP on the network; this takes some seconds.

    Raises:
        PrinterError: the program is missing or cannot browse, such as without a responder for multicast DNS.
    """
    # Its arguments are two lists: the services to browse for, and the expression to evaluate for each of them.
    browse = [PROGRAM, "-T", str(_SECONDS), "_ipps._tcp", "_ipp._tcp"]
    command = [*browse, "--exec", "printf", r"%s\t%s\n", "{}", "{service_name}", ";"]
    try:
        with anyio.fail_after(_DEADLINE):
            ended = await anyio.run_process(command, stdin=DEVNULL, check=False)
    except (OSError, TimeoutError) as error:
        raise _error(str(error) or "it did not end") from error
    found = parse_found(ended.stdout.decode("utf-8", "replace").split("\n"))
    if not found and ended.stderr:
        raise _error(one_line(ended.stderr.decode("utf-8", "replace"), _MAX_LENGTH))
    return found


def parse_found(lines: Iterable[str]) -> list[FoundPrinter]:
    """Return the printers in lines of address, tab and name: each name once, if possible with encryption.

    The lines come from anybody on the network; anything but an IPP address is left out.
    """
    found: dict[str, FoundPrinter] = {}
    for line in lines:
        address, _, name = line.partition("\t")
        shown = one_line(name, 80)
        if not _URI.fullmatch(address) or len(address) > _MAX_LENGTH or not shown:
            continue
        known = found.get(shown)
        if known is None or (address.startswith("ipps:") and not known.address.startswith("ipps:")):
            found[shown] = FoundPrinter(shown, address)
    return sorted(found.values(), key=lambda each: each.name.casefold())[:_MAX_PRINTERS]


def _error(detail: str) -> PrinterError:
    return PrinterError(
        "Printers cannot be looked for on this device: enter the printer's address instead.",
        cause="printer_unreachable",
        detail=detail,
    )
