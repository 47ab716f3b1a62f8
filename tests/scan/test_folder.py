"""When a file of a watched folder is complete, and where it goes afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mailslot_plugins.scan.document import FileChangedError
from mailslot_plugins.scan.folder import (
    EMPTY_FILE_TIMEOUT,
    FoundFile,
    WatchedFolder,
    fingerprint,
    remove_mailed,
    set_aside,
)

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0


class Watched:
    """A folder and two clocks that the test sets."""

    def __init__(self, path: Path, settle: float = 3.0) -> None:
        path.mkdir()
        self.path = path
        self.monotonic = 0.0
        self.folder = WatchedFolder(path, settle, lambda: self.monotonic, lambda: NOW + self.monotonic)

    def write(self, name: str, text: str = "scan", age: float = 0.0) -> Path:
        path = self.path / name
        path.write_text(text)
        self.date(path, age)
        return path

    def date(self, path: Path, age: float = 0.0) -> None:
        os.utime(path, (NOW + self.monotonic - age,) * 2)

    def list_complete(self, after: float = 0.0) -> list[str]:
        self.monotonic += after
        return [found.path.name for found in self.folder.list_complete()]

    def found(self) -> FoundFile:
        [found] = self.folder.list_complete()
        return found


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "in")


def test_a_file_is_taken_once_it_has_not_changed_for_a_while(watched: Watched) -> None:
    watched.write("a.pdf")
    assert watched.list_complete() == []
    assert watched.list_complete(2.9) == []
    watched.write("a.pdf", "scan that grows")
    assert watched.list_complete(0.5) == []
    assert watched.list_complete(2.9) == []
    assert watched.list_complete(0.2) == ["a.pdf"]


def test_a_rewritten_file_of_the_same_size_is_not_complete(watched: Watched) -> None:
    path = watched.write("a.pdf")
    watched.list_complete()
    watched.monotonic += 2
    watched.date(path)
    assert watched.list_complete() == []
    assert watched.list_complete(2) == []
    assert watched.list_complete(1.1) == ["a.pdf"]


def test_a_file_renamed_into_place_is_complete_at_once(watched: Watched) -> None:
    part = watched.write("a.pdf.part", age=5)
    assert watched.list_complete() == []
    part.rename(watched.path / "a.pdf")
    assert watched.list_complete() == ["a.pdf"]


def test_a_clock_behind_the_share_does_no_harm(watched: Watched) -> None:
    watched.write("future.pdf", age=-90_000)
    watched.write("past.pdf", age=2e9)
    assert watched.list_complete() == []
    assert set(watched.list_complete(3)) == {"future.pdf", "past.pdf"}


def test_the_oldest_comes_first(watched: Watched) -> None:
    for name, age in (("b", 20), ("c", 10), ("a", 30)):
        watched.write(name, age=age)
    assert watched.list_complete() == ["a", "b", "c"]


@pytest.mark.parametrize("name", [".hidden", "~lock", "doc~", "a.part", "a.TMP", "a.pdf.filepart", ".a.pdf.Xy12"])
def test_temporary_names(watched: Watched, name: str) -> None:
    watched.write(name, age=1000)
    assert watched.list_complete() == []
    assert watched.list_complete(1000) == []


def test_a_file_open_for_writing_is_not_complete(watched: Watched) -> None:
    path = watched.write("a.pdf", age=100)
    code = "import sys; file = open(sys.argv[1], 'ab'); print(flush=True); input()"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert watched.list_complete() == []
        assert watched.list_complete(100) == []
        writer.communicate(b"\n")
    with path.open("rb"):
        assert watched.list_complete() == ["a.pdf"]


def test_an_empty_file_waits_for_content(watched: Watched) -> None:
    watched.write("a.pdf", "")
    assert watched.list_complete() == []
    assert watched.list_complete(EMPTY_FILE_TIMEOUT - 1) == []
    watched.monotonic += 1
    assert watched.found().fault == "The file 'a.pdf' is empty, and nothing has been written to it for a while."


def test_links_pipes_and_sockets(watched: Watched, tmp_path: Path) -> None:
    (watched.path / "link").symlink_to("/etc/shadow")
    (watched.path / "dangling").symlink_to("nowhere")
    os.mkfifo(watched.path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(watched.path / "socket"))
        faults = {found.path.name: found.fault for found in watched.folder.list_complete()}
    assert faults == {
        "link": "'link' is a link; links are not followed.",
        "dangling": "'dangling' is a link; links are not followed.",
        "pipe": "'pipe' is not a file but a pipe, a socket or a device.",
        "socket": "'socket' is not a file but a pipe, a socket or a device.",
    }
    (watched.path / "failed").mkdir()
    assert "failed" not in watched.list_complete()


def test_an_ignored_file_is_returned_again_once_it_changes(watched: Watched) -> None:
    path = watched.write("a.pdf", age=100)
    watched.folder.ignore(watched.found())
    assert watched.list_complete(100) == []
    watched.date(path, age=50)
    assert watched.list_complete() == []
    assert watched.list_complete(3) == ["a.pdf"]


def test_fingerprints(watched: Watched) -> None:
    path = watched.write("a.pdf", age=100)
    found = watched.found()
    assert fingerprint(found) == fingerprint(found)
    other = watched.write("b.pdf", age=100)
    prints = {fingerprint(each) for each in watched.folder.list_complete()}
    assert len(prints) == 2
    other.unlink()
    path.write_text("scam")
    with pytest.raises(FileChangedError):
        fingerprint(found)
    watched.date(path, age=50)
    watched.list_complete()
    watched.monotonic += 3
    assert fingerprint(watched.found()) not in prints


def test_removing_mailed_files(watched: Watched) -> None:
    path = watched.write("a.pdf", age=100)
    found = watched.found()
    remove_mailed(found, "move")
    path.write_text("a new scan under the old name")
    remove_mailed(found, "delete")
    assert path.exists()
    watched.date(path, age=100)
    watched.list_complete()
    watched.monotonic += 3
    remove_mailed(watched.found(), "move")
    assert sorted(each.name for each in (watched.path / "done").iterdir()) == ["a (2).pdf", "a.pdf"]
    remove_mailed(found, "delete")


def test_setting_aside(watched: Watched) -> None:
    for _ in range(2):
        watched.write("a.pdf", age=100)
        watched.list_complete()
        watched.monotonic += 3
        set_aside(watched.found(), "It is empty.")
    failed = {each.name: each.read_text() for each in (watched.path / "failed").iterdir()}
    assert failed == {
        "a.pdf": "scan",
        "a.pdf.txt": "It is empty.\n",
        "a (2).pdf": "scan",
        "a (2).pdf.txt": "It is empty.\n",
    }


def test_links_are_not_followed(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (watched.path / "failed").symlink_to(tmp_path / "elsewhere")
    path = watched.write("a.pdf", age=100)
    [found] = [each for each in watched.folder.list_complete() if each.path == path]
    with pytest.raises(NotADirectoryError, match="failed is a link"):
        set_aside(found, "It is empty.")
    assert path.exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_undecodable_names(watched: Watched) -> None:
    watched.write(os.fsdecode(b"\xff.pdf"), age=100)
    found = watched.found()
    fingerprint(found)
    set_aside(found, f"{found.path.name!r} is bad")
    assert len(list((watched.path / "failed").iterdir())) == 2


def test_a_missing_folder(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "in")
    watched.write("a.pdf", age=100)
    watched.path.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        watched.list_complete()
    (tmp_path / "away").rename(watched.path)
    assert watched.list_complete() == ["a.pdf"]
