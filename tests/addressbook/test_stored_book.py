"""Where the entries are kept: beside the settings, and changed by one at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from anyio.to_thread import run_sync

from mailslot.plugin import InputError
from mailslot.service.device import open_device
from mailslot.slots.records import Records
from mailslot.spool.errors import SpoolError
from mailslot_plugins.addressbook.book import load_book, save_entries
from mailslot_plugins.addressbook.entry import Entry
from mailslot_plugins.addressbook.stored_book import StoredBook

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.home.home import Home

ALICE = Entry("alice", "Älice", ("alice@example.com",), (), ("accounting",))
BOB = Entry("bob", "", ("bob@example.com",))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Records(tmp_path / "home").place


def test_what_is_left_is_stored(home: Home) -> None:
    book = StoredBook(home)
    assert book.read() == {}
    with book.changed() as entries:
        entries |= {"bob": BOB, "alice": ALICE}
    assert StoredBook(home).read() == {"alice": ALICE, "bob": BOB}
    with pytest.raises(KeyError), book.changed() as entries:
        del entries["alice"], entries["nobody"]
    assert set(book.read()) == {"alice", "bob"}


def test_two_changes_at_once_are_both_kept(home: Home) -> None:
    """As of two threads, or two processes: the second reads what the first has stored."""
    has_read, go_on = threading.Event(), threading.Event()

    def add_alice() -> None:
        with StoredBook(home).changed() as entries:
            entries["alice"] = ALICE
            has_read.set()
            go_on.wait(60)

    def add_bob() -> None:
        with StoredBook(home).changed() as entries:
            entries["bob"] = BOB

    threads = [threading.Thread(target=work) for work in (add_alice, add_bob)]
    threads[0].start()
    assert has_read.wait(60)
    threads[1].start()
    # Nothing tells of a thread that waits for a lock; without one, it would have ended by then.
    threads[1].join(0.2)
    go_on.set()
    for thread in threads:
        thread.join()
    assert StoredBook(home).read() == {"alice": ALICE, "bob": BOB}


async def test_it_outlives_the_list_of_jobs(home: Home) -> None:
    async with open_device(Records(home)) as device:
        await save_entries(device, [ALICE])
    for path in (home.folder / "spool").glob("spool.db*"):
        path.unlink()
    async with open_device(Records(home)) as device:
        assert (await load_book(device)).entries == {"alice": ALICE}
        with pytest.raises(InputError, match="There is an entry alice already"):
            await save_entries(device, [ALICE], replaces=False)
        await save_entries(device, [BOB], renamed="alice", replaces=False)
        assert (await load_book(device)).entries == {"bob": BOB}


async def test_a_damaged_book_is_not_taken_for_an_empty_one(home: Home) -> None:
    async with open_device(Records(home)) as device:
        await save_entries(device, [ALICE])
        path = home.folder / "addressbook.json"
        octets = await run_sync(path.read_bytes)
        await run_sync(path.write_bytes, octets[:-20])
        for use in (load_book(device), save_entries(device, [BOB])):
            with pytest.raises(SpoolError, match="is damaged"):
                await use
        assert await run_sync(path.read_bytes) == octets[:-20]
