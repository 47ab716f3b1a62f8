"""A mail that was opened in a process of its own."""

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
        path: the file with its octets.
        kind: what it is, by its content.
        declared: the media type that it says it has.
        name: its file name, for people to read only; may be empty.
        size: its octets.
        inline: whether the text shows it, such as a logo.
    """

    path: Path
    kind: Kind
    declared: str
    name: str
    size: int
    inline: bool


@dataclass(frozen=True, slots=True)
class OpenedMail:
    """A mail from anybody; nothing in it is to be believed.

    Attributes:
        fields: the header fields that matter (`mailslot_plugins.intake.mime.KEPT`), top first, names in lower case,
            not decoded, cut.
        senders: the addresses in From; one that cannot be parsed is empty.
        sender: the address in Sender, or empty.
        subject: decoded.
        message_id: its identifier, ``<…@…>``, or empty.
        references: the identifiers of its thread, oldest first.
        text: its text, plain if there is any, else that of its HTML.
        parts: what is attached, in order.
        is_report: whether it is a report about another mail by its form (RFC 6522).
        report: what the report says, also where a mail server has written it as text; None where it is none, or is
            not understood.
        flaws: what is wrong with its form, for engineers.
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
    flaws: tuple[str, ...]

    def values(self, name: str) -> tuple[str, ...]:
        """Return what stands in the fields of this name, in lower case; the topmost one first."""
        return tuple(value for field, value in self.fields if field == name)

    @property
    def return_paths(self) -> tuple[str, ...]:
        """What stands in Return-Path, without angle brackets; ``""`` is the null sender."""
        return tuple(value.strip().removeprefix("<").removesuffix(">") for value in self.values("return-path"))


async def open_mail(path: Path, folder: Path, limits: Limits | None = None) -> OpenedMail:
    """Take a mail apart.

    Args:
        path: its file, absolute.
        folder: where its parts go; it has to be there, and is the caller's to remove.
        limits: what it may cost.

    Raises:
        IntakeError: it cannot be opened; its text says why.
    """
    return as_opened(await run_task("mail", {"path": str(path)}, folder, limits), folder)


def as_opened(said: Mapping[str, Any], folder: Path) -> OpenedMail:
    """Return what `mailslot_plugins.intake.mime.open_mail` said of a mail whose parts are in a folder."""
    parts = cast("list[dict[str, Any]]", said["parts"])
    report = cast("dict[str, Any] | None", said["report"])
    return OpenedMail(
        fields=tuple((name, value) for name, value in said["fields"]),
        senders=tuple(said["senders"]),
        sender=said["sender"],
        subject=said["subject"],
        message_id=said["message_id"],
        references=tuple(said["references"]),
        text=said["text"],
        parts=tuple(Part(**{**part, "path": folder / part["path"]}) for part in parts),
        is_report=said["is_report"],
        report=None if report is None else Report.from_json(report),
        flaws=tuple(said["flaws"]),
    )
