"""The tasks of the confined process, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot_plugins.intake.mime import read_mail
from mailslot_plugins.intake.refusal import IntakeRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot_plugins.intake.limits import Limits

__all__ = ["TASKS", "IntakeRefusedError"]


def _fax(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    from mailslot_plugins.intake.documents import make_fax  # noqa: PLC0415 - Pillow and PDFium take a while to import

    return make_fax(request, limits)


def _printable(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    from mailslot_plugins.intake.printable import make_printable  # noqa: PLC0415 - as above

    return make_printable(request, limits)


def _count(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    from mailslot_plugins.intake.printable import count_pages  # noqa: PLC0415 - as above

    return count_pages(request, limits)


def _received(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    from mailslot_plugins.fax.received_pages import make_received_pages  # noqa: PLC0415 - as above

    return make_received_pages(request, limits)


def _thumbnail(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    from mailslot_plugins.intake.thumbnail import make_thumbnail  # noqa: PLC0415 - as above

    return make_thumbnail(request, limits)


TASKS: Final[Mapping[str, Callable[[dict[str, Any], Limits], dict[str, Any]]]] = {
    "mail": read_mail,
    "fax": _fax,
    "received": _received,
    "printable": _printable,
    "count": _count,
    "thumbnail": _thumbnail,
}
