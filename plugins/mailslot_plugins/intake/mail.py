"""Opens a mail in the confined process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mailslot_plugins.intake.process import run_task
from mailslot_plugins.intake.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mailslot_plugins.intake.kinds import Kind
    from mailslot_plugins.intake.limits import Limits


@dataclass(frozen=True, slots=True)
class Part:
    """An attachment.

    Attributes:
        path: the file with its content.
        kind: its kind, by its content.
        declared: its declared media type.
        name: its file name, only for people to read; may be empty.
        size: its size in octets.
        inline: whether the text shows it, for example a logo.
    """

    path: Path
    kind: Kind
    declared: str
    name: str
    size: int
    inline: bool


@dataclass(frozen=True, slots=True)
class OpenedMail:
    """An opened mail; none of its content can be trusted.

    Attributes:
        fields: the header fields that matter (`mailslot_plugins.intake.mime.KEPT_FIELDS`), top first, names in
            lower case, not decoded, cut.
        senders: the addresses in From; an ambiguous one is empty.
        sender: the address in Sender, or empty.
        subject: its subject, decoded.
        message_id: its Message-ID, ``<…@…>``, or empty.
        references: the Message-IDs of its thread, oldest first.
        text: its plain text, or else the text of its HTML.
        parts: the attachments, in order.
        is_report: whether it has the form of a report about another mail (RFC 6522).
        report: the parsed report, also if a mail server wrote it as text; None if it is not a report or is not
            understood.
        defects: defects of its form, for engineers.
    """

    fields: tuple[tuple[str, str], ...]
    senders: tuple[str, ...]
    sender: str
    subject: str
    message_id: str
    references: tuple[str, ...]
    text: str
    parts: tuple[Part, ...]
    is_report: bool
    report: Report | None
    defects: tuple[str, ...]

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of the fields with this name, in lower case; topmost first."""
        return tuple(value for field, value in self.fields if field == name)

    @property
    def return_paths(self) -> tuple[str, ...]:
        """The addresses in Return-Path, without angle brackets; ``""`` is the null sender."""
        return tuple(value.strip().removeprefix("<").removesuffix(">") for value in self.values("return-path"))


async def open_mail(path: Path, folder: Path, limits: Limits | None = None) -> OpenedMail:
    """Open a mail.

    Args:
        path: its file, absolute.
        folder: an existing folder for its parts; the caller removes it.
        limits: the limits; None for the defaults.

    Raises:
        IntakeError: it cannot be opened; the text says why.
    """
    return opened_mail_from_json(await run_task("mail", {"path": str(path)}, folder, limits), folder)


def opened_mail_from_json(result: Mapping[str, Any], folder: Path) -> OpenedMail:
    """Return the mail from the result of `mailslot_plugins.intake.mime.read_mail`, with its parts in a folder."""
    parts = cast("list[dict[str, Any]]", result["parts"])
    report = cast("dict[str, Any] | None", result["report"])
    return OpenedMail(
        fields=tuple((name, value) for name, value in result["fields"]),
        senders=tuple(result["senders"]),
        sender=result["sender"],
        subject=result["subject"],
        message_id=result["message_id"],
        references=tuple(result["references"]),
        text=result["text"],
        parts=tuple(Part(**{**part, "path": folder / part["path"]}) for part in parts),
        is_report=result["is_report"],
        report=None if report is None else Report.from_json(report),
        defects=tuple(result["defects"]),
    )
