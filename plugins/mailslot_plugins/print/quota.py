"""Limits how many mails per hour and pages per day each sender may print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR: Final = 3600.0
DAY: Final = 86_400.0
_MAX_REMEMBERED: Final = 5000


@dataclass(frozen=True, slots=True)
class PrintedMail:
    """A mail that was printed or is being printed.

    Attributes:
        mail: its number.
        at: the time, in seconds since 1970.
        sender: its sender, in lower case.
        pages: its pages, including copies; 0 before they are counted.
    """

    mail: int
    at: float
    sender: str
    pages: int = 0


def count_mail(
    printed_mails: Sequence[PrintedMail], this_mail: PrintedMail, *, mails_per_hour: int, pages_per_day: int
) -> tuple[list[PrintedMail], str]:
    """Count a mail against its sender's quota.

    Args:
        printed_mails: the mails counted before; one with a future time, after the clock was set back, counts as now.
        this_mail: the mail to count; it replaces an earlier entry of the same mail.
        mails_per_hour: the most mails of one sender.
        pages_per_day: the most pages of one sender.

    Returns:
        the entries to store, and why this mail exceeds the quota; empty if it does not.
    """
    before = [
        PrintedMail(each.mail, min(each.at, this_mail.at), each.sender, each.pages)
        for each in printed_mails
        if each.at > this_mail.at - DAY and each.mail != this_mail.mail
    ][-_MAX_REMEMBERED:]
    of_sender = [each for each in before if each.sender == this_mail.sender]
    if sum(each.at > this_mail.at - HOUR for each in of_sender) >= mails_per_hour:
        return before, f"{this_mail.sender[:100]} has sent {mails_per_hour} mails within an hour"
    if sum(each.pages for each in of_sender) + this_mail.pages > pages_per_day:
        return before, f"{this_mail.sender[:100]} may print {pages_per_day} pages a day"
    return [*before, this_mail], ""
