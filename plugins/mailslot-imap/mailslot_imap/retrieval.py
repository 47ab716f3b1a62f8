"""Mails as streams: a literal is passed on as it arrives, so memory use does not depend on the mail's size."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

from mailslot.errors import RefusedError
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot_imap.client import MAX_LINE
from mailslot_imap.commands import MAX_LITERAL, MAX_MAIL, PendingCommand
from mailslot_imap.responses import is_fetch, parse_uid

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.pop3.listing import Entry
    from mailslot.wire.reply import Reply
    from mailslot_imap.client import Client
    from mailslot_imap.dialogue import ImapDialogue

_BODY: Final = re.compile(rb'BODY\[[A-Z]*\](?:<\d+>)? (NIL|"(?:[^"\\]|\\.)*"|\{\d+\}$)', re.IGNORECASE)
_ESCAPE: Final = re.compile(rb"\\(.)")


class FetchCommand(PendingCommand):
    """UID FETCH of one part of one mail, streamed.

    Attributes:
        pieces: the octets that were received and not read yet.
        octets: how many octets were received.
    """

    def __init__(self, client: Client, uid: int, part: str) -> None:
        super().__init__(client, "FETCH", str(uid), f"(UID {part})", prefix="UID", untagged="FETCH")
        self.pieces: deque[bytes] = deque()
        self.octets = 0
        self._uid = uid
        self._found = False
        self._response = b""
        self._holds_body = False
        self._in_body = False

    def receive_line(self, line: bytes) -> None:
        """Process a line: the beginning of a FETCH response, or the rest of one after a literal.

        A server may send responses about any mail at any time; only one with the requested part counts.
        """
        if is_fetch(line):
            self._check_end()
            self._response, self._holds_body = b"", False
        self._response += line + b" "
        if len(self._response) > MAX_LINE:
            raise RemoteProtocolError("a FETCH answer without end")
        self._in_body, self.max_literal = False, MAX_LITERAL
        if (match := _BODY.search(line)) is not None:
            if self._found:
                raise RemoteProtocolError("the same part of a mail twice")
            self._found = self._holds_body = True
            if match[1].startswith(b"{"):
                self._in_body, self.max_literal = True, MAX_MAIL
            if match[1].startswith(b'"'):
                self._keep(_ESCAPE.sub(rb"\1", match[1][1:-1]))
        if self._holds_body and parse_uid(self._response) not in {None, self._uid}:
            raise RemoteProtocolError("another mail than was asked for")

    def receive_octets(self, data: bytes) -> None:
        """Process a piece of the mail; pieces of other literals are dropped."""
        if self._in_body:
            self._keep(data)

    def close(self, line: bytes, result: str) -> None:
        """Process the tagged response."""
        self._check_end()
        super().close(line, result)

    def _check_end(self) -> None:
        if self._in_body:
            raise RemoteProtocolError("an answer that breaks off behind the mail")

    def _keep(self, data: bytes) -> None:
        if data:
            self.octets += len(data)
            self.pieces.append(data)


class Retrieval:
    """A mail, or its header, to be read with ``async for``; it is requested when it is first read.

    Args:
        dialogue: the dialogue.
        entry: the mail.
        fetch: returns the command.
        occupy: sets the current reader; raises if another one was not read to its end.
        finished: called when the mail is complete.
    """

    def __init__(
        self,
        dialogue: ImapDialogue,
        entry: Entry,
        fetch: Callable[[], FetchCommand],
        set_reader: Callable[[Retrieval | None], None],
        on_complete: Callable[[Entry], None],
    ) -> None:
        self._dialogue = dialogue
        self._entry = entry
        self._make_command = fetch
        self._set_reader = set_reader
        self._on_complete = on_complete
        self._command: FetchCommand | None = None
        self.complete = False

    def __aiter__(self) -> Retrieval:
        return self

    async def __anext__(self) -> bytes:
        """Return the next octets.

        Raises:
            RefusedError: the mail no longer exists, or the server refuses it.
            MailError: the session broke.
        """
        if self.complete:
            raise StopAsyncIteration
        async with self._dialogue.exclusive_use("transaction"):
            if self._command is None:
                self._set_reader(self)
                self._command = self._make_command()
                await self._dialogue.send_command(self._command)
            if (piece := await self._next(self._command)) is not None:
                return piece
        raise StopAsyncIteration

    async def _next(self, fetch: FetchCommand) -> bytes | None:
        """Return the next octets; None at the end of the mail."""
        # Other responses, such as keep-alives, do not count as progress.
        deadline = self._dialogue.new_deadline()
        while not fetch.pieces and not fetch.completed:
            await self._dialogue.parse_more(fetch, deadline)
        if fetch.pieces:
            return fetch.pieces.popleft()
        self.complete = True
        self._set_reader(None)
        reply = await self._dialogue.read_tagged_response(fetch)
        if not reply.positive:
            raise self._dialogue.refusal(reply, f"does not give mail {self._entry.number}")
        if not fetch.octets and (self._entry.size or reply.enhanced == "EXPUNGEISSUED"):
            # For mail that another client has expunged, servers send nothing, NIL or "" (RFC 2180 section 4.1).
            raise _gone_error(self._dialogue, self._entry, reply)
        self._on_complete(self._entry)
        return None


def _gone_error(dialogue: ImapDialogue, entry: Entry, reply: Reply) -> RefusedError:
    return RefusedError(
        f"Mail {entry.number} is not on the mail server {dialogue.channel.endpoint.host} any more.",
        stage="transaction",
        cause="unknown",
        detail=f"UID FETCH gave nothing: {reply.one_line}",
    )
