"""Searching a directory: one connection for each search, with limits on its time and on the octets received."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError, NetworkError
from mailslot.net.endpoint import Security
from mailslot.net.establish import establish
from mailslot.net.tls import PlainTextError, context_trusting, tls_context_for
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot_plugins.addressbook.directory.errors import (
    LIMITS,
    SUCCESS,
    bind_error,
    connection_error,
    lost_error,
    protocol_error,
    search_error,
    settings_error,
    silent_error,
    tls_refused_error,
)
from mailslot_plugins.addressbook.directory.protocol import LdapProtocol
from mailslot_plugins.addressbook.directory.results import Found, Result

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from mailslot.net.channel import Channel
    from mailslot.plugin import Secret
    from mailslot_plugins.addressbook.directory.query import Query
    from mailslot_plugins.addressbook.directory.source import Source

MAX_RECEIVED: Final = 8 * 1024 * 1024
"""Octets received for one search."""

_PAGE_SIZE: Final = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """The entries that a search found.

    Attributes:
        entries: the values of each entry, by attribute in lower case.
        is_complete: whether there are no further matches.
    """

    entries: Sequence[Mapping[str, Sequence[bytes]]]
    is_complete: bool = True


async def ask(source: Source, password: Secret | None, query: Query, max_results: int) -> Answer:
    """Connect to a directory, bind if there is a password, and search.

    Args:
        source: the directory.
        password: the password of its user; None for an anonymous search.
        query: the filter and the attributes to return.
        max_results: the maximum number of entries.

    Raises:
        DirectoryError: the directory was not reached, or refused.
    """
    try:
        context = None if source.ca_file is None else await run_sync(context_trusting, source.ca_file)
    except InputError as error:
        raise settings_error(error) from error
    context = tls_context_for(source.endpoint, context, credentials=True)
    try:
        with anyio.fail_after(source.timeout):
            session = await establish(source.endpoint, source.timeout, partial(_greet, source, context))
            try:
                if password is not None:
                    await session.bind(password)
                return await session.search(query, max_results)
            finally:
                session.close()
    except NetworkError as error:
        raise connection_error(source, error) from error
    except TimeoutError as error:
        raise silent_error(source) from error
    except (RemoteProtocolError, PlainTextError) as error:
        raise protocol_error(source, error) from error
    except (EOFError, OSError) as error:
        raise lost_error(source, error) from error


async def _greet(source: Source, context: ssl.SSLContext, channel: Channel) -> _Session:
    """Encrypt a new connection; LDAP has no greeting."""
    session = _Session(source, channel)
    if source.endpoint.security is Security.STARTTLS:
        await session.start_tls(context)
    else:
        await channel.start_tls(context, source.timeout, after_starttls=False)
    return session


@dataclass(slots=True)
class _Session:
    _source: Source
    _channel: Channel
    _protocol: LdapProtocol = field(default_factory=LdapProtocol)
    _events: deque[Found | Result] = field(default_factory=deque["Found | Result"])
    _received: int = 0

    async def start_tls(self, context: ssl.SSLContext) -> None:
        await self._channel.send(self._protocol.start_tls())
        result = await self._result()
        if result.code != SUCCESS:
            raise tls_refused_error(self._source, result)
        # What came before TLS must not be believed after it, as the beginning of an answer that TLS then completes.
        if self._events or self._protocol.has_unread:
            raise RemoteProtocolError("octets sent ahead of the TLS handshake", cause="tls_injection")
        await self._channel.start_tls(context, self._source.timeout, after_starttls=True)

    async def bind(self, password: Secret) -> None:
        await self._channel.send(self._protocol.bind(self._source.user, password))
        result = await self._result()
        if result.code != SUCCESS:
            raise bind_error(self._source, result)

    async def search(self, query: Query, max_results: int) -> Answer:
        found: list[Mapping[str, Sequence[bytes]]] = []
        cookie = b""
        while True:
            # One more than the maximum, to know whether there are more.
            size = min(_PAGE_SIZE, max_results + 1 - len(found))
            seconds = max(1, int(self._source.timeout))
            await self._channel.send(
                self._protocol.search(self._source.base, query, page_size=size, cookie=cookie, seconds=seconds)
            )
            while isinstance(event := await self._event(), Found):
                found.append(event.values)
                if len(found) > max_results:
                    return Answer(found[:max_results], is_complete=False)
            if event.code in LIMITS and found:
                return Answer(found, is_complete=False)
            if event.code != SUCCESS:
                raise search_error(self._source, event)
            if not event.cookie:
                return Answer(found)
            cookie = event.cookie

    async def _result(self) -> Result:
        event = await self._event()
        if not isinstance(event, Result):
            raise RemoteProtocolError("a search result without a search")
        return event

    async def _event(self) -> Found | Result:
        while not self._events:
            octets = await self._channel.receive()
            self._received += len(octets)
            if self._received > MAX_RECEIVED:
                raise RemoteProtocolError(f"a response of more than {MAX_RECEIVED} octets")
            self._events.extend(self._protocol.receive(octets))
        return self._events.popleft()

    def close(self) -> None:
        """Close at once; an unbind is not required (RFC 4511 section 5.3)."""
        self._channel.close()
