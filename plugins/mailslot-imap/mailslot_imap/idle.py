"""IDLE: the server reports new mail (RFC 2177)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from mailslot_imap.folder_name import encode_folder_name
from mailslot_imap.responses import parse_exists

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot_imap.commands import PendingCommand
    from mailslot_imap.dialogue import ImapDialogue

RESTART_AFTER: Final = 600.0
"""Seconds after which IDLE is sent again. RFC 2177 asks for 29 minutes at most, but middleboxes may drop a silent
connection far sooner, without notice."""

_MAX_LINES: Final = 100_000
"""Lines that a server may send until then; when much mail is deleted at once, it sends a line for each."""


async def idle(dialogue: ImapDialogue, folder: str, on_mail: Callable[[], None]) -> None:
    """Wait for new mail in a folder, until cancelled.

    Args:
        dialogue: the authenticated dialogue.
        folder: the folder's name.
        on_mail: called when IDLE has begun, and whenever the server reports new mail.

    Returns:
        at once if the server does not offer IDLE.

    Raises:
        MailError: the connection failed.
    """
    if "IDLE" not in dialogue.capabilities:
        return
    async with dialogue.exclusive_use("transaction"):
        await dialogue.execute(
            dialogue.new_command("EXAMINE", encode_folder_name(folder)), f"does not open the folder {folder}"
        )
        dialogue.client.mark_selected()
        first = True
        while True:
            await _idle_once(dialogue, on_mail, first=first)
            first = False


async def _idle_once(dialogue: ImapDialogue, arrived: Callable[[], None], *, first: bool) -> None:
    command = dialogue.new_command("IDLE")
    command.max_lines = _MAX_LINES
    await dialogue.send_command(command)
    if await dialogue.await_prompt(command) is None:
        raise dialogue.refusal(await dialogue.read_tagged_response(command), "does not tell of new mail")
    # Mail that came before IDLE began is not reported, so report once.
    if first:
        arrived()
    end = anyio.current_time() + RESTART_AFTER
    while not command.completed:
        if _new_mail_reported(command):
            arrived()
        try:
            await dialogue.parse_more(command, end)
        except TimeoutError:
            await dialogue.respond(b"DONE", "DONE")
            break
    await dialogue.read_tagged_response(command)
    if _new_mail_reported(command):
        arrived()


def _new_mail_reported(command: PendingCommand) -> bool:
    """Tell whether the server has reported mail since the last call."""
    return any(parse_exists(line) is not None for line in command.take_responses())
