"""Questions to OpenLDAP's server, on both event loops."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import pytest

from addressbook.directory_home import Home
from lab.slapd import LIMITED, MANY
from mailslot.net.endpoint import Security
from mailslot_plugins.addressbook.directory.client import ask
from mailslot_plugins.addressbook.directory.directory import directory_of
from mailslot_plugins.addressbook.directory.directory_error import DirectoryError
from mailslot_plugins.addressbook.directory.query import query
from mailslot_plugins.addressbook.directory.source import source_of
from mailslot_plugins.addressbook.section import SECTION

if TYPE_CHECKING:
    from pathlib import Path

    import trustme

    from lab.slapd import Slapd

pytestmark = pytest.mark.anyio


@pytest.fixture
def home(tmp_path: Path, slapd: Slapd, ca: trustme.CA) -> Home:
    return Home(tmp_path, slapd, ca)


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_people_are_found_by_what_their_names_begin_with(home: Home, slapd: Slapd, security: str) -> None:
    port = slapd.tls if security == "tls" else slapd.plain
    async with home.device(ldap_security=security, ldap_port=port, ldap_fax_gateway="fax.example") as device:
        directory = directory_of(device)
        answer = await directory.search("ali")
        assert [entry.document() for entry in answer.entries] == [
            {
                "name": "alice",
                "display_name": "Alice Example",
                "addresses": ["alice@example.com", "a.example@example.net"],
                "fax_addresses": ["FAX=+12027653000@fax.example"],
                "groups": [],
            }
        ]
        for text in ("Exam", "@ali", "alice exa", "ALICE@EXAMPLE", "a.ex"):
            assert [entry.name for entry in (await directory.search(text)).entries] == ["alice"], text
        assert [entry.name for entry in (await directory.search("mül bob")).entries] == ["bob"]
        # Of several addresses, those that can be used; nobody without one, or without a name that can be typed.
        assert [entry.addresses for entry in (await directory.search("broken")).entries] == [("broken@example.com",)]
        assert not (await directory.search("nomail")).entries
        assert not (await directory.search("two")).entries
        assert not (await directory.search("a")).entries


async def test_answers_come_in_pages_and_end_at_a_limit(home: Home) -> None:
    async with home.device(ldap_max_results=500) as device:
        answer = await directory_of(device).search("clerk")
        assert (len(answer.entries), answer.is_complete) == (MANY, True)
    async with home.device(ldap_max_results=150) as device:
        answer = await directory_of(device).search("clerk")
        assert (len(answer.entries), answer.is_complete) == (150, False)
    async with home.device(ldap_user=LIMITED) as device:
        answer = await directory_of(device).search("clerk")
        assert (len(answer.entries), answer.is_complete) == (3, False)


async def test_wrong_ports_are_told_apart(home: Home, slapd: Slapd) -> None:
    # While it is bound, nobody else listens there, and connections are refused.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        closed = bound.getsockname()[1]
        for port, security, causes in (
            (closed, "tls", {"connection_refused"}),
            (slapd.plain, "tls", {"tls_failed"}),
            # Some versions say in TLS what is wrong before they close.
            (slapd.tls, "starttls", {"connection_lost", "protocol_error"}),
        ):
            async with home.device(ldap_port=port, ldap_security=security) as device:
                with pytest.raises(DirectoryError) as caught:
                    await directory_of(device).test()
                assert caught.value.cause in causes


# A response to the first request that says yes (RFC 4511 section 4.12).
START_TLS_ACCEPTED = bytes.fromhex("300c02010178070a010004000400")


@pytest.mark.parametrize(
    "inserted",
    [b"\x30\x82\x01", b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04"],
    ids=["the beginning of a message", "all but the end of a sign-in's success"],
)
async def test_what_comes_before_encryption_is_not_believed_after_it(inserted: bytes) -> None:
    """Whoever is in between could give the beginning of an answer, which the directory's own octets complete."""
    heard: list[bytes] = []

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            heard.append(await stream.receive())
            await stream.send(START_TLS_ACCEPTED + inserted)
            heard.extend([octets async for octets in stream])

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        values = {"ldap_server": "127.0.0.1", "ldap_base": "dc=example", "ldap_timeout": 60}
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        source = source_of(SECTION.with_defaults({**values, "ldap_port": port, "ldap_security": Security.STARTTLS}))
        assert source is not None
        with pytest.raises(DirectoryError, match="inserted data before encryption began") as caught:
            await ask(source, None, query(source, "any", ""), 10)
        group.cancel_scope.cancel()
    assert (caught.value.stage, caught.value.cause, caught.value.retryable) == ("tls", "tls_injection", False)
    # No handshake was begun.
    assert len(heard) == 1


async def test_a_silent_directory_is_waited_for_once(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        port = silent.getsockname()[1]
        async with home.device(ldap_server="127.0.0.1", ldap_port=port, ldap_timeout=1) as device:
            directory = directory_of(device)
            for ask, connections in ((directory.search, 1), (directory.find_name, 0), (lambda _: directory.test(), 1)):
                with pytest.raises(DirectoryError, match=r"did not answer within 1 second\."):
                    await ask("alice")
                assert arrived(silent) == connections


def arrived(listener: socket.socket) -> int:
    """Accept and close what waits at a listener; return how many connections there were."""
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1
