"""How many mails an hour and pages a day each sender may print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR: Final = 3600.0
DAY: Final = 86_400.0
_MOST: Final = 5000


@dataclass(frozen=True, slots=True)
class PrintedMail:
    """A mail that was printed, or is being.

    Attributes:
        mail: its number.
        at: when, in seconds since 1970.
        sender: who wrote it, in lower case.
        pages: how many pages it has, copies counted; 0 before they are counted.
    """

    mail: int
    at: float
    sender: str
    pages: int = 0


def count(
    uses: Sequence[PrintedMail], use: PrintedMail, *, mails_per_hour: int, pages_per_day: int
) -> tuple[list[PrintedMail], str]:
    """Count a use.

    Args:
        uses: those before; what is of the future, where the clock was set back, counts as now.
        use: this one; the same mail again takes the place of what was counted of it.
        mails_per_hour: the most mails of a sender.
        pages_per_day: the most pages of a sender.

    Returns:
        the uses to remember, and why this one is too much; empty where it is not.
    """
    before = [
        PrintedMail(each.mail, min(each.at, use.at), each.sender, each.pages)
        for each in uses
        if each.at > use.at - DAY and each.mail != use.mail
    ][-_MOST:]
    own = [each for each in before if each.sender == use.sender]
    if sum(each.at > use.at - HOUR for each in own) >= mails_per_hour:
        return before, f"{use.sender[:100]} has sent {mails_per_hour} mails within an hour"
    if sum(each.pages for each in own) + use.pages > pages_per_day:
        return before, f"{use.sender[:100]} may print {pages_per_day} pages a day"
    return [*before, use], ""
