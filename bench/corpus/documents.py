"""Sending a document through the product, and comparing its pages with those that poppler and libtiff render.

The document comes in a mail; it is received as a fax, printed, and converted to a fax.
"""

from __future__ import annotations

import mimetypes
import warnings
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, Final

import anyio
from PIL import Image, ImageSequence

from bench.corpus.outcome import Outcome
from bench.corpus.pages import MAX_PAGES, PageImage, compare, reference_pages
from mailslot_plugins.fax import reception
from mailslot_plugins.intake.kinds import detect_kind
from mailslot_plugins.intake.mail import OpenedMail, opened_mail_from_json
from mailslot_plugins.intake.process import IntakeError, run_task
from mailslot_plugins.print.selection import select_parts
from mailslot_plugins.printers.formats import CONVERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mailslot_plugins.intake.mail import Part

SUFFIXES: Final = {".pdf", ".tif", ".tiff", ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".dib", ".webp"}
DPI: Final = 100
FAX: Final = (1728 / 204, 40.0)
"""The inches of the largest fax page."""

A4: Final = (210 / 25.4, 297 / 25.4)
SETTINGS: Final[Mapping[str, Any]] = {"max_attachments": 10, "body": "never", "printer_languages": False}
_SHAPED: Final = frozenset({"pdf", "tiff", "jpeg", "png", "gif", "bmp", "webp"})


def is_document(path: Path, head: bytes) -> bool:
    """Tell whether a file is examined here."""
    return path.suffix.lower() in SUFFIXES or detect_kind(head) in _SHAPED


def examine(path: Path, scratch: Path) -> Outcome:
    """Send a document through the product.

    Args:
        path: the document.
        scratch: an empty folder.

    Returns:
        ``same`` if all results look as other programs render the document; ``differs`` with the differences;
        ``refused`` with the sentence for people, if other programs cannot render it either, and ``refused alone`` if
        they can; ``broke`` if a task failed without such a sentence; ``no page`` if its kind is not printed.
    """
    folder = scratch / "task"
    folder.mkdir()
    try:
        part = _mailed(path, folder)
    except _TaskRefusedError as error:
        return Outcome("broke", str(error))
    references = reference_pages(part.path, part.kind, scratch / "reference") if part.kind in _SHAPED else []
    differs: list[str] = []
    refused: list[str] = []
    sizes: list[PageImage] = []
    for name, render in (("received", _received), ("printed", _printed), ("faxed", _faxed)):
        if name == "faxed" and part.kind != "tiff" and not refused:
            # The same conversion as for a received fax.
            continue
        try:
            sheets = list(render(part, folder))
        except _TaskRefusedError as error:
            refused.append(f"{name}: {error}")
            continue
        sizes = sheets if name == "received" else sizes
        if len(references) > len(sheets):
            differs.append(f"{name}: {len(sheets)} pages of {len(references)}")
        for number, (ours, reference) in enumerate(zip(sheets, references, strict=False), start=1):
            # The size of a TIFF comes from its tags, as for the received fax.
            own = sizes[number - 1 : number] if name == "faxed" and part.kind == "tiff" else []
            sized = PageImage(reference.image, own[0].width_inches, own[0].height_inches) if own else reference
            difference = compare(ours, _expected(sized, name, part.kind))
            if difference:
                differs.append(f"{name}, page {number}: {difference}")
                break
    if differs:
        return Outcome("differs", f"{part.kind}; {'; '.join([*differs, *refused])}")
    if not refused:
        return Outcome("same", "" if references else "nothing to compare with")
    if any(sign in each for each in refused for sign in ("broke down", "cannot be understood", "takes too long")):
        return Outcome("broke", "; ".join(refused))
    label = "refused alone" if references else "no page" if part.kind not in _SHAPED else "refused"
    return Outcome(label, f"{part.kind}; {'; '.join(refused)}")


class _TaskRefusedError(Exception):
    pass


def _mailed(path: Path, folder: Path) -> Part:
    mail = EmailMessage()
    mail["From"] = "sender@example.com"
    declared = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    main, _, sub = declared.partition("/")
    if main in {"text", "message"}:
        main, sub = "application", "octet-stream"
    mail.add_attachment(path.read_bytes(), main, sub, filename=path.name[-60:])
    (folder / "mail").write_bytes(mail.as_bytes())
    return opened_mail_from_json(_task("mail", {"path": str(folder / "mail")}, folder), folder).parts[0]


def _received(part: Part, folder: Path) -> Iterator[PageImage]:
    if part.kind not in reception._PRINTABLE_KINDS:  # noqa: SLF001 - not public
        raise _TaskRefusedError(f"documents of the kind {part.kind} are no faxes")
    request = {
        "name": "fax",
        "texts": [],
        "documents": [{"path": str(part.path), "kind": part.kind, "name": part.name}],
    }
    _task("received", request, folder)
    yield from _fax_pages(folder / "fax.tif")


def _faxed(part: Part, folder: Path) -> Iterator[PageImage]:
    request = {
        "paths": [str(part.path)],
        "resolution": "fine",
        "coding": "MMR",
        "header": "",
        "into": str(folder / "sent.tif"),
    }
    _task("fax", request, folder)
    yield from _fax_pages(folder / "sent.tif")


def _printed(part: Part, folder: Path) -> Iterator[PageImage]:
    mail = OpenedMail((), (), "", "", "", (), "", (part,), is_report=False, report=None, defects=())
    chosen = select_parts(mail, "", SETTINGS)
    if not chosen or chosen[0].refusal or part.kind not in CONVERSIONS:
        raise _TaskRefusedError(chosen[0].refusal if chosen else "it is left out")
    _task("count", {"path": str(part.path), "kind": part.kind}, folder)
    request = {
        "path": str(part.path),
        "kind": part.kind,
        "into": "image/jpeg",
        "as_is": False,
        "name": "print",
        "suffix": "jpg",
        "dpi": DPI,
        "color": True,
        "raster_types": [],
        "media": "iso_a4_210x297mm",
        "duplex": "one-sided",
    }
    for name in _task("printable", request, folder)["files"][:MAX_PAGES]:
        with Image.open(folder / name) as image:
            sized = part.kind == "pdf"
            yield PageImage(
                image.convert("L"), image.width / DPI if sized else 0.0, image.height / DPI if sized else 0.0
            )


def _fax_pages(path: Path) -> Iterator[PageImage]:
    with warnings.catch_warnings(action="ignore"), Image.open(path) as opened:
        for number, frame in enumerate(ImageSequence.Iterator(opened)):
            if number >= MAX_PAGES:
                return
            x, y = frame.info.get("dpi", (204.0, 196.0))
            yield PageImage(frame.convert("L"), frame.width / float(x), frame.height / float(y))


def _expected(reference: PageImage, name: str, kind: str) -> PageImage:
    """Return the reference as it should look on the paper, or centred on a fax page."""
    wide, high = reference.width_inches, reference.height_inches
    if name == "printed":
        if not wide:
            return reference
        room = A4 if wide <= high else A4[::-1]
        shrink = min(1.0, room[0] / wide, room[1] / high)
        return PageImage(reference.image, wide * shrink, high * shrink)
    if name == "received" and kind == "tiff":
        return reference
    image = reference.image
    if not wide:
        # An image without a size fills the width of the page.
        wide = image.width / max(image.width, image.height * 210 / 297) * FAX[0]
        high = wide * image.height / image.width
        if wide > high and wide <= FAX[0]:
            return _centred_on_fax_page(image, wide, high)
    if wide > high and wide > FAX[0]:
        image, wide, high = image.transpose(Image.Transpose.ROTATE_90), high, wide
    shrink = min(1.0, FAX[0] / wide, FAX[1] / high)
    return _centred_on_fax_page(image, wide * shrink, high * shrink)


def _centred_on_fax_page(image: Image.Image, wide: float, high: float) -> PageImage:
    across = max(image.width, round(image.width * FAX[0] / wide))
    sheet = Image.new("L", (across, image.height), 255)
    sheet.paste(image, ((across - image.width) // 2, 0))
    return PageImage(sheet, FAX[0], high)


def _task(name: str, request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a task as the product does, in its own process and under its limits."""
    try:
        return anyio.run(run_task, name, request, folder)
    except IntakeError as error:
        raise _TaskRefusedError(str(error)) from None
