"""What the conformance tests of a maildrop need: a mailbox, mails for it, and a server that refuses connections."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio

from mailslot.net.endpoint import Endpoint
from mailslot.wire.redact import base64_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.slots.maildrop import Maildrop, MaildropSession


@contextmanager
def refusing(profile: ConnectionProfile) -> Generator[ConnectionProfile]:
    """A profile whose server refuses connections: its port is taken, so that nobody else listens there meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield replace(profile, endpoint=Endpoint("127.0.0.1", bound.getsockname()[1], profile.endpoint.security))


@dataclass(frozen=True)
class MailboxHarness:
    """A mailbox, empty at first, with access to it past the tested maildrop.

    Attributes:
        maildrop: the maildrop.
        profile: its connection profile, as from `Connector.profile`, with a token that the server accepts and
            ``after_fetch`` at its default ``delete``.
        options: its options, as from `mailslot.slots.maildrop.options_of`.
        deliver: delivers a mail whose lines end with CRLF into the mailbox.
        count: returns the number of mails in it.
        clear: removes all mails from it, as another client would.
        renumber: has the server give all mails new unique-ids.
        secrets: secrets that must not be shown, the token first.
    """

    maildrop: Maildrop
    profile: ConnectionProfile
    options: Mapping[str, Any]
    deliver: Callable[[bytes], Awaitable[None]]
    count: Callable[[], Awaitable[int]]
    clear: Callable[[], Awaitable[None]]
    renumber: Callable[[], Awaitable[None]]
    secrets: Sequence[str]

    def open(
        self,
        profile: ConnectionProfile | None = None,
        **watched: Any,  # noqa: ANN401 - as `Maildrop.open` takes it
    ) -> AbstractAsyncContextManager[MaildropSession]:
        """Open a session."""
        return self.maildrop.open(profile or self.profile, self.options, **watched)

    async def wait_for(self, count: int) -> None:
        """Wait until the mailbox has `count` mails; fail after a minute."""
        with anyio.fail_after(60):
            while await self.count() != count:  # noqa: ASYNC110 - it may be another process
                await anyio.sleep(0.02)


def mail(name: str, size: int = 0) -> bytes:
    """Return a mail with a subject, whose lines end with CRLF."""
    header = f"From: a@example.com\r\nSubject: {name}\r\nMessage-ID: <{name}@example.com>\r\n\r\n"
    return header.encode() + b".line\r\n" * (size // 7)


async def read_all(pieces: AsyncIterator[bytes]) -> bytes:
    """Return the octets of a mail."""
    return b"".join([piece async for piece in pieces])


def encodings_of(secret: str) -> list[str]:
    """Return the forms in which a secret may appear: plain, and in base64 at each offset."""
    return [secret, *(base64_of(secret.encode(), lead) for lead in range(3))]
