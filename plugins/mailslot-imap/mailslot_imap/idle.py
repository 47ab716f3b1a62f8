"""IDLE: the server tells when mail comes (RFC 2177)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from mailslot_imap.folder import on_the_wire
from mailslot_imap.responses import exists_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot_imap.commands import PendingCommand
    from mailslot_imap.dialogue import ImapDialogue

LONGEST: Final = 600.0
"""Seconds after which IDLE is said anew. RFC 2177 wants it within 29 minutes; what stands between may forget a silent
connection far sooner, and nobody would notice."""

_MOST_LINES: Final = 100_000
"""Lines that a server says until then; an end of much mail at once is a line for each."""


async def idle(dialogue: ImapDialogue, folder: str, arrived: Callable[[], None]) -> None:
    """Wait for mail in a folder, until cancelled.

    Args:
        dialogue: signed in.
        folder: the folder's name.
        arrived: called once the server tells of everything, and whenever it tells of mail.

    Returns:
        at once where the server does not offer IDLE.

    Raises:
        MailError: the connection failed.
    """
    if "IDLE" not in dialogue.capabilities:
        return
    async with dialogue.exclusive_use("transaction"):
        await dialogue.ask(dialogue.command("EXAMINE", on_the_wire(folder)), f"does not open the folder {folder}")
        dialogue.client.selected()
        first = True
        while True:
            await _once(dialogue, arrived, first=first)
            first = False


async def _once(dialogue: ImapDialogue, arrived: Callable[[], None], *, first: bool) -> None:
    command = dialogue.command("IDLE")
    command.most_lines = _MOST_LINES
    await dialogue.begin(command)
    if await dialogue.prompted(command) is None:
        raise dialogue.refusal(await dialogue.answer(command), "does not tell of new mail")
    # What came before the server began to tell is looked for once.
    if first:
        arrived()
    end = anyio.current_time() + LONGEST
    while not command.ended:
        if _told(command):
            arrived()
        try:
            await dialogue.more(command, end)
        except TimeoutError:
            await dialogue.respond(b"DONE", "DONE")
            break
    await dialogue.answer(command)
    if _told(command):
        arrived()


def _told(command: PendingCommand) -> bool:
    """Tell whether there was word of mail since this was asked last."""
    return any(exists_in(line) is not None for line in command.take())
