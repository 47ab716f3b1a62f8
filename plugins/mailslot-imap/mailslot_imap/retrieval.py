"""Mails as streams: a literal is handed on as it arrives, so memory does not grow with the mail."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

from mailslot.errors import RefusedError
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot_imap.client import MAX_LINE
from mailslot_imap.commands import MAX_LITERAL, MAX_MAIL, PendingCommand
from mailslot_imap.responses import is_fetch, uid_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.pop3.listing import Entry
    from mailslot.wire.reply import Reply
    from mailslot_imap.client import Client
    from mailslot_imap.dialogue import ImapDialogue

_BODY: Final = re.compile(rb'BODY\[[A-Z]*\](?:<\d+>)? (NIL|"(?:[^"\\]|\\.)*"|\{\d+\}$)', re.IGNORECASE)
_ESCAPE: Final = re.compile(rb"\\(.)")


class Fetch(PendingCommand):
    """UID FETCH of one part of one mail; its octets come as they are received.

    Attributes:
        pieces: what has come and was not read yet.
        octets: how many have come.
    """

    def __init__(self, client: Client, uid: int, part: str) -> None:
        super().__init__(client, "FETCH", str(uid), f"(UID {part})", prefix="UID", untagged="FETCH")
        self.pieces: deque[bytes] = deque()
        self.octets = 0
        self._uid = uid
        self._found = False
        self._answer = b""
        self._holds_body = False
        self._in_body = False

    def hear(self, line: bytes) -> None:
        """Take a line: the beginning of a FETCH answer, or what stands behind a literal in one.

        A server may tell of any mail at any time; only what has the part that was asked for counts.
        """
        if is_fetch(line):
            self._check_end()
            self._answer, self._holds_body = b"", False
        self._answer += line + b" "
        if len(self._answer) > MAX_LINE:
            raise RemoteProtocolError("a FETCH answer without end")
        self._in_body, self.most = False, MAX_LITERAL
        if (match := _BODY.search(line)) is not None:
            if self._found:
                raise RemoteProtocolError("the same part of a mail twice")
            self._found = self._holds_body = True
            if match[1].startswith(b"{"):
                self._in_body, self.most = True, MAX_MAIL
            if match[1].startswith(b'"'):
                self._keep(_ESCAPE.sub(rb"\1", match[1][1:-1]))
        if self._holds_body and uid_in(self._answer) not in {None, self._uid}:
            raise RemoteProtocolError("another mail than was asked for")

    def hear_octets(self, data: bytes) -> None:
        """Take a piece of the mail, or of something else, which is left out."""
        if self._in_body:
            self._keep(data)

    def close(self, line: bytes, result: str) -> None:
        """Take the tagged answer."""
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
    """A mail, or its header, to be read with ``async for``; it is asked for when it is first read.

    Args:
        dialogue: the dialogue.
        entry: which mail.
        fetch: makes the command.
        occupy: makes this the one that may read; raises where another is not read to its end.
        finished: called once all of it has come.
    """

    def __init__(
        self,
        dialogue: ImapDialogue,
        entry: Entry,
        fetch: Callable[[], Fetch],
        occupy: Callable[[Retrieval | None], None],
        finished: Callable[[Entry], None],
    ) -> None:
        self._dialogue = dialogue
        self._entry = entry
        self._make = fetch
        self._occupy = occupy
        self._finished = finished
        self._fetch: Fetch | None = None
        self.complete = False

    def __aiter__(self) -> Retrieval:
        return self

    async def __anext__(self) -> bytes:
        """Return the next octets.

        Raises:
            RefusedError: the mail is not there any more, or the server does not give it.
            MailError: the session broke.
        """
        if self.complete:
            raise StopAsyncIteration
        async with self._dialogue.exclusive_use("transaction"):
            if self._fetch is None:
                self._occupy(self)
                self._fetch = self._make()
                await self._dialogue.begin(self._fetch)
            if (piece := await self._next(self._fetch)) is not None:
                return piece
        raise StopAsyncIteration

    async def _next(self, fetch: Fetch) -> bytes | None:
        """Return the next octets; None where the mail is complete."""
        # Whatever else the server says meanwhile, that it is still there for example, is no progress.
        deadline = self._dialogue.deadline()
        while not fetch.pieces and not fetch.ended:
            await self._dialogue.more(fetch, deadline)
        if fetch.pieces:
            return fetch.pieces.popleft()
        self.complete = True
        self._occupy(None)
        reply = await self._dialogue.answer(fetch)
        if not reply.positive:
            raise self._dialogue.refusal(reply, f"does not give mail {self._entry.number}")
        if not fetch.octets and (self._entry.size or reply.enhanced == "EXPUNGEISSUED"):
            # A server says nothing, NIL or "" of what another client has expunged (RFC 2180 section 4.1).
            raise _gone(self._dialogue, self._entry, reply)
        self._finished(self._entry)
        return None


def _gone(dialogue: ImapDialogue, entry: Entry, reply: Reply) -> RefusedError:
    return RefusedError(
        f"Mail {entry.number} is not on the mail server {dialogue.channel.endpoint.host} any more.",
        stage="transaction",
        cause="unknown",
        detail=f"UID FETCH gave nothing: {reply.words}",
    )
