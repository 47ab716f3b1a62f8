"""The client's side of LDAP without I/O: StartTLS, a simple bind, and searches (RFC 4511).

sansldap encodes and decodes the messages. This module bounds their size, and reports what cannot be decoded as a
protocol error of the server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sansldap import (
    BindResponse,
    ExtendedOperations,
    ExtendedResponse,
    LDAPClient,
    LDAPError,
    PagedResultControl,
    SearchResultDone,
    SearchResultEntry,
    SearchScope,
)

from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot_plugins.addressbook.directory.results import Found, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sansldap import LDAPMessage

    from mailslot.plugin import Secret
    from mailslot_plugins.addressbook.directory.query import Query

MAX_MESSAGE: Final = 64 * 1024
"""Octets of a message; only names and addresses of an entry are requested."""

_SEQUENCE: Final = 0x30
_LONG_FORM: Final = 0x80


@dataclass(slots=True)
class LdapProtocol:
    """The client's state, with one operation at a time. Methods that begin an operation return the octets to send."""

    _client: LDAPClient = field(default_factory=LDAPClient)
    _arrived: bytearray = field(default_factory=bytearray)

    def start_tls(self) -> bytes:
        """Request TLS (RFC 4511 section 4.14)."""
        self._client.extended_request(ExtendedOperations.LDAP_START_TLS.value)
        return self._client.data_to_send()

    def bind(self, user: str, password: Secret) -> bytes:
        """Bind with a name and a password (RFC 4513 section 5.1.3)."""
        self._client.bind_simple(user, password.reveal())
        return self._client.data_to_send()

    def search(self, base: str, query: Query, *, page_size: int, cookie: bytes, seconds: int) -> bytes:
        """Request one page of a search.

        Args:
            base: the distinguished name below which to search.
            query: the filter and the attributes to return.
            page_size: the maximum number of entries of this page (RFC 2696).
            cookie: the cookie of the previous page; empty for the first page.
            seconds: how long the server may search.
        """
        self._client.search_request(
            base,
            SearchScope.SUBTREE,
            time_limit=seconds,
            filter=query.filter,
            attributes=list(query.attributes),
            controls=[PagedResultControl(critical=False, size=page_size, cookie=cookie)],
        )
        return self._client.data_to_send()

    @property
    def has_unread(self) -> bool:
        """Whether a part of a message has been received."""
        return bool(self._arrived)

    def receive(self, octets: bytes) -> Iterator[Found | Result]:
        """Yield the entries and results in received octets.

        Args:
            octets: octets from the server, in pieces of any size.

        Raises:
            RemoteProtocolError: they are not LDAP, or a message is too long.
        """
        self._arrived += octets
        while (length := _message_length(self._arrived)) is not None and len(self._arrived) >= length:
            message = bytes(self._arrived[:length])
            del self._arrived[:length]
            yield from self._events(message)

    def _events(self, octets: bytes) -> Iterator[Found | Result]:
        try:
            messages = self._client.receive(octets)
        except RecursionError as error:
            raise RemoteProtocolError("it is nested too deeply") from error
        except (LDAPError, LookupError, ArithmeticError, AttributeError, TypeError, ValueError) as error:
            raise RemoteProtocolError(f"it cannot be decoded: {error}") from error
        if not messages:
            raise RemoteProtocolError("a message ends before its contents")
        for message in messages:
            if (event := _event(message)) is not None:
                yield event


def _event(message: LDAPMessage) -> Found | Result | None:
    """Return the event of a message; None for references to other servers, which are not followed."""
    if isinstance(message, SearchResultEntry):
        return Found({each.name.lower(): each.values for each in message.attributes})
    if isinstance(message, SearchResultDone | BindResponse | ExtendedResponse):
        paged = [each.cookie for each in message.controls if isinstance(each, PagedResultControl)]
        result = message.result
        return Result(int(result.result_code), result.diagnostics_message, paged[0] if paged else b"")
    return None


def _message_length(octets: bytearray) -> int | None:
    """Return the length of the message at the beginning of the octets; None while its header is incomplete.

    Raises:
        RemoteProtocolError: this is not the beginning of a message (RFC 4511 section 5.1), or it is too long.
    """
    if not octets:
        return None
    if octets[0] != _SEQUENCE:
        raise RemoteProtocolError("not LDAP")
    if len(octets) == 1:
        return None
    first = octets[1]
    if first < _LONG_FORM:
        return 2 + first
    count = first - _LONG_FORM
    if not 1 <= count <= 4:
        raise RemoteProtocolError("not the length of an LDAP message")
    if len(octets) < 2 + count:
        return None
    length = int.from_bytes(octets[2 : 2 + count])
    if length > MAX_MESSAGE:
        raise RemoteProtocolError(f"a message has {length} octets")
    return 2 + count + length
