"""A maildrop that fetches like mailslot's own, but only a limited number of mails at a time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mailslot.plugin import Key, keys, pop3

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from mailslot.plugin import ConnectionProfile, Entry, MaildropSession


class LimitedSession:
    """Wraps a session of another maildrop, and shows only the first mails."""

    def __init__(self, session: MaildropSession, at_most: int) -> None:
        self._session = session
        self._at_most = at_most

    @property
    def login_delay(self) -> float:
        """Seconds that the server wants between two sign-ins."""
        return self._session.login_delay

    async def stat(self) -> tuple[int, int | None]:
        """Return the number of mails."""
        count, _ = await self._session.stat()
        return min(count, self._at_most), None

    async def listing(self) -> Sequence[Entry]:
        """Return the mails."""
        return (await self._session.listing())[: self._at_most]

    def retrieve(self, entry: Entry) -> AsyncIterator[bytes]:
        """Return a mail's octets."""
        return self._session.retrieve(entry)

    def top(self, entry: Entry) -> AsyncIterator[bytes]:
        """Return a mail's header."""
        return self._session.top(entry)

    async def delete(self, *entries: Entry) -> None:
        """Mark mails for deletion when the session is closed normally."""
        await self._session.delete(*entries)


class LimitedMaildrop:
    """The maildrop."""

    options: Mapping[str, Key] = {"at_most": Key("a number from 1 to 1000", keys.number(1, 1000), default=10)}

    def mailbox_id(self, options: Mapping[str, Any]) -> str:
        """Return an empty text: the account has only one mailbox."""
        return ""

    @asynccontextmanager
    async def open(
        self, profile: ConnectionProfile, options: Mapping[str, Any], **watched: Any
    ) -> AsyncGenerator[MaildropSession]:
        """Open a session."""
        async with pop3.open(profile, {}, **watched) as session:
            yield LimitedSession(session, options["at_most"])


maildrop = LimitedMaildrop()
