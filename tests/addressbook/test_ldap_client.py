"""Questions to OpenLDAP's server, on both event loops."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from addressbook.directory_home import Home
from lab.process import free_ports
from lab.slapd import LIMITED, MANY
from mailslot_plugins.addressbook.directory.directory import directory_of
from mailslot_plugins.addressbook.directory.directory_error import DirectoryError

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
    [closed] = free_ports(1)
    for port, security, cause in (
        (closed, "tls", "connection_refused"),
        (slapd.plain, "tls", "tls_failed"),
        (slapd.tls, "starttls", "connection_lost"),
    ):
        async with home.device(ldap_port=port, ldap_security=security) as device:
            with pytest.raises(DirectoryError) as caught:
                await directory_of(device).test()
            assert caught.value.cause == cause


async def test_a_silent_directory_is_waited_for_once(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        async with home.device(ldap_server="127.0.0.1", ldap_port=port, ldap_timeout=1) as device:
            directory = directory_of(device)
            with pytest.raises(DirectoryError, match="did not answer within 1 seconds"):
                await directory.search("alice")
            silent.close()
            # It would be refused now, if it were asked.
            with pytest.raises(DirectoryError, match="did not answer within 1 seconds"):
                await directory.search("bob")
            with pytest.raises(DirectoryError, match="refused the connection"):
                await directory.test()
