"""The client's side of LDAP without I/O: StartTLS, a simple bind, and searches (RFC 4511).

sansldap encodes and decodes the messages. What it is given is bounded here, and anything that it cannot decode is an
error of the server.
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
"""Octets of a message; an entry has its names and its addresses only."""

_SEQUENCE: Final = 0x30
_LONG_FORM: Final = 0x80


@dataclass(slots=True)
class LdapProtocol:
    """A dialogue with one operation at a time. The methods that begin one return the octets to send."""

    _client: LDAPClient = field(default_factory=LDAPClient)
    _arrived: bytearray = field(default_factory=bytearray)

    def start_tls(self) -> bytes:
        """Ask for TLS (RFC 4511 section 4.14)."""
        self._client.extended_request(ExtendedOperations.LDAP_START_TLS.value)
        return self._client.data_to_send()

    def bind(self, user: str, password: Secret) -> bytes:
        """Sign in with a name and a password (RFC 4513 section 5.1.3)."""
        self._client.bind_simple(user, password.reveal())
        return self._client.data_to_send()

    def search(self, base: str, query: Query, *, page_size: int, cookie: bytes, seconds: int) -> bytes:
        """Search below an entry.

        Args:
            base: the entry.
            query: what is wanted.
            page_size: the most entries of this page (RFC 2696).
            cookie: that of the page before; empty for the first page.
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
        """Whether the beginning of a message has come, without its end."""
        return bool(self._arrived)

    def unbind(self) -> bytes:
        """Say that the connection ends."""
        self._client.unbind()
        return self._client.data_to_send()

    def receive(self, octets: bytes) -> Iterator[Found | Result]:
        """Yield what has come.

        Args:
            octets: some octets of the server.

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
    """Return what a message says; None for references to other servers, which are not followed."""
    if isinstance(message, SearchResultEntry):
        return Found({each.name.lower(): each.values for each in message.attributes})
    if isinstance(message, SearchResultDone | BindResponse | ExtendedResponse):
        paged = [each.cookie for each in message.controls if isinstance(each, PagedResultControl)]
        result = message.result
        return Result(int(result.result_code), result.diagnostics_message, paged[0] if paged else b"")
    return None


def _message_length(octets: bytearray) -> int | None:
    """Return the length of the message that octets begin with; None if that has not come yet.

    Raises:
        RemoteProtocolError: no message begins so (RFC 4511 section 5.1), or it is too long.
    """
    if not octets:
        return None
    if octets[0] != _SEQUENCE:
        raise RemoteProtocolError("it is not LDAP")
    if len(octets) == 1:
        return None
    first = octets[1]
    if first < _LONG_FORM:
        return 2 + first
    count = first - _LONG_FORM
    if not 1 <= count <= 4:
        raise RemoteProtocolError("a length is not LDAP's")
    if len(octets) < 2 + count:
        return None
    length = int.from_bytes(octets[2 : 2 + count])
    if length > MAX_MESSAGE:
        raise RemoteProtocolError(f"a message has {length} octets")
    return 2 + count + length
