"""LDAP without I/O: what a server sends, whole, octet by octet, and wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sansldap import LDAPResultCode, LDAPServer, PagedResultControl, PartialAttribute

from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot.wire.secret import Secret
from mailslot_plugins.addressbook.directory.protocol import MAX_MESSAGE, LdapProtocol
from mailslot_plugins.addressbook.directory.query import parse_filter, query
from mailslot_plugins.addressbook.directory.results import Found, Result
from mailslot_plugins.addressbook.directory.source import source_of
from mailslot_plugins.addressbook.section import SECTION

SETTINGS = SECTION.with_defaults({"ldap_server": "ldap.example.com", "ldap_base": "dc=example,dc=com"})


def answered(text: str = "alice") -> tuple[LdapProtocol, bytes]:
    """A dialogue that waits for the answer to a search, and that answer."""
    source = source_of(SETTINGS)
    assert source is not None
    client, server = LdapProtocol(), LDAPServer()
    octets = client.search(source.base, query(source, "name", text), page_size=10, cookie=b"", seconds=5)
    [request] = server.receive(octets)
    number = request.message_id
    server.search_result_entry(number, "uid=alice", [PartialAttribute("UID", [b"alice"]), PartialAttribute("cn", [])])
    server.search_result_reference(number, ["ldap://elsewhere.example/"])
    cookie = PagedResultControl(critical=False, size=0, cookie=b"next")
    server.search_result_done(number, LDAPResultCode.SIZE_LIMIT_EXCEEDED, None, "more", [cookie])
    return client, server.data_to_send()


EVENTS = [Found({"uid": [b"alice"], "cn": []}), Result(4, "more", b"next")]


def test_an_answer_is_read_whole_and_octet_by_octet() -> None:
    client, octets = answered()
    assert list(client.receive(octets)) == EVENTS
    client, octets = answered()
    assert [event for octet in octets for event in client.receive(bytes([octet]))] == EVENTS
    client, octets = answered()
    assert list(client.receive(octets + octets[:9])) == EVENTS


def test_a_password_is_sent_as_it_is() -> None:
    client, server = LdapProtocol(), LDAPServer()
    [request] = server.receive(client.bind("cn=Müller", Secret("pass wörd")))
    assert (request.name, request.authentication.password) == ("cn=Müller", "pass wörd")
    server.bind_response(request.message_id, None, LDAPResultCode.INVALID_CREDENTIALS, None, "no")
    assert list(client.receive(server.data_to_send())) == [Result(49, "no")]


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x30\x80\x00\x00",
        b"\x30\x85\x00\x00\x00\x00\x01",
        b"\x30\x84" + (MAX_MESSAGE + 1).to_bytes(4),
        b"\x30\x00",
        b"\x30\x02\x02\x00",
        b"\x30\x03\x02\x01\x01",
        b"\x30\x06\x02\x01\x01\x64\x7f\x04",
        b"\x30\x0c\x02\x01\x63\x65\x07\x0a\x01\x00\x04\x00\x04\x00",
        b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x00\x04\x00\x04\x00\x00",
    ],
)
def test_what_is_no_answer_is_an_error_of_the_server(octets: bytes) -> None:
    client, _ = answered()
    with pytest.raises(RemoteProtocolError):
        list(client.receive(octets))


def element(tag: int, contents: bytes) -> bytes:
    """An element of BER, with a length in the long form."""
    return bytes([tag, 0x84]) + len(contents).to_bytes(4) + contents


def test_a_message_that_is_nested_deeply_is_an_error_of_the_server() -> None:
    """No server sends a search, but it would be decoded, with a filter in a filter in a filter."""
    condition = element(0x87, b"cn")
    while len(condition) < MAX_MESSAGE - 200:
        condition = element(0xA2, condition)
    numbers = [element(0x0A, b"\0"), element(0x0A, b"\0"), element(0x02, b"\0"), element(0x02, b"\0")]
    search = [element(0x04, b""), *numbers, element(0x01, b"\0"), condition, element(0x30, b"")]
    client, _ = answered()
    with pytest.raises(RemoteProtocolError, match="nested too deeply"):
        list(client.receive(element(0x30, element(0x02, b"\1") + element(0x63, b"".join(search)))))


@given(st.integers(0, 200), st.integers(0, 255), st.binary(max_size=20))
def test_damaged_answers_raise_nothing_else(place: int, octet: int, more: bytes) -> None:
    client, octets = answered()
    place %= len(octets)
    damaged = octets[:place] + bytes([octet]) + octets[place + 1 :] + more
    try:
        for event in client.receive(damaged):
            assert isinstance(event, Found | Result)
    except RemoteProtocolError:
        pass


@given(st.text(max_size=200))
def test_what_people_type_is_a_value_and_never_a_filter(text: str) -> None:
    """The server decodes the filter that was meant, whatever is in the text."""
    source = source_of(SETTINGS)
    assert source is not None
    for kind in ("name", "address", "search"):
        client, server = LdapProtocol(), LDAPServer()
        wanted = query(source, kind, text)
        octets = client.search(source.base, wanted, page_size=10, cookie=b"", seconds=5)
        [request] = server.receive(octets)
        assert request.filter == wanted.filter
        conditions = request.filter.filters
        assert conditions[0] == parse_filter("(objectClass=inetOrgPerson)")
        if kind != "search":
            assert conditions[-1].value == text.encode("utf-8", "replace")
        else:
            assert [each.filters[0].initial for each in conditions[3:]] == [
                word.encode("utf-8", "replace") for word in text[:100].split()[:5]
            ]


@pytest.mark.parametrize(
    "text", ["(", "(objectClass=", "(&)", "(a=b)(c=d)", "(a=\\zz)", "(!" * 200 + "(a=b)" + ")" * 200, "()"]
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        SECTION.keys["ldap_filter"].parse(text)
