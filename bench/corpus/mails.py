"""Mails of a collection, opened by the product's code in a separate process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from bench.corpus.outcome import Outcome
from mailslot_plugins.intake.auto_reply_policy import automatic_reason
from mailslot_plugins.intake.mail import open_mail
from mailslot_plugins.intake.process import IntakeError

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot_plugins.intake.mail import OpenedMail

_ODD_LETTERS = "\ufffd"


def examine(path: Path, scratch: Path) -> Outcome:
    """Classify a mail: a report, another automatic mail, a person's mail, or one that cannot be opened.

    Args:
        path: its file.
        scratch: an empty folder for its parts.
    """
    try:
        mail = anyio.run(open_mail, path.absolute(), scratch.absolute())
    except IntakeError as error:
        return Outcome("refused", str(error))
    return Outcome(label(mail), "; ".join(oddities(mail)))


def label(mail: OpenedMail) -> str:
    """Return how the pipelines classify a mail."""
    if mail.report is not None:
        return "report"
    if mail.is_report:
        return "report of no known form"
    return "automatic" if automatic_reason(mail) else "person"


def oddities(mail: OpenedMail) -> list[str]:
    """Return what is odd about a mail, such as missing text or replacement characters."""
    found: list[str] = []
    if not mail.text.strip() and not mail.parts:
        found.append("nothing in it")
    if any(letter in mail.subject for letter in _ODD_LETTERS):
        found.append(f"subject {mail.subject!r}")
    found += [f"name {part.name!r}" for part in mail.parts if any(letter in part.name for letter in _ODD_LETTERS)]
    if "=?" in mail.subject:
        found.append(f"encoded subject {mail.subject[:60]!r}")
    if any(letter in mail.text for letter in _ODD_LETTERS):
        found.append("letters lost in the text")
    if any(len(line) > 50 and line.isalnum() for line in mail.text.splitlines()):
        found.append("looks undecoded")
    if len(mail.senders) != 1 or not mail.senders[0]:
        found.append(f"senders {mail.senders[:3]}")
    found += [defect for defect in mail.defects if "empty" in defect]
    return found
