"""``mailslot.toml`` while other programs empty it, remove it, or write it in pieces."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from mailslot.home.folder import FolderHome
from mailslot.slots.section import DEVICE
from mailslot.slots.settings_document import SettingsFileError
from mailslot.slots.settings_file import SettingsFile
from mailslot.slots.settings_reader import SettingsReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEFORE = '[records.smtp]\nserver = "mail.example"\nport = 25\n\n[device]\nname = "Copier"\n'
AFTER = '[records.smtp]\nserver = "other.example"\nport = 587\n\n[device]\nname = "Copier"\nlocation = "Hall"\n'


class Writer:
    """A program that writes the file while somebody waits for it: a piece of it in each pause.

    Attributes:
        pauses: how often somebody has waited.
    """

    def __init__(self, path: Path, *steps: Callable[[Path], object]) -> None:
        self.pauses = 0
        self._path, self._steps = path, list(steps)

    def __call__(self, seconds: float) -> None:
        self.pauses += 1
        if self._steps:
            self._steps.pop(0)(self._path)


def write(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


def let_lie(path: Path) -> None:
    """Let the file's last change be long ago."""
    os.utime(path, (time.time() - 60,) * 2)


def reader_of(home: Path, *steps: Callable[[Path], object]) -> tuple[SettingsReader, Writer]:
    writer = Writer(home / "mailslot.toml", *steps)
    return SettingsReader(FolderHome(home), sleep=writer), writer


@pytest.mark.parametrize(("taken", "what"), [(write(""), "is empty"), (remove, "is gone")])
def test_an_empty_file_is_no_settings_where_there_were_some(
    tmp_path: Path, taken: Callable[[Path], object], what: str
) -> None:
    file = SettingsFile(tmp_path)
    file.path.write_text(BEFORE)
    file.load()
    taken(file.path)
    in_use = file.current()
    assert (in_use.records["smtp"].port, in_use.sections["device"]["name"]) == (25, "Copier")
    assert in_use.fault.startswith(f"{file.path} {what} now; the settings that it had stay in use.")
    for use in (file.load, lambda: file.section(DEVICE), lambda: file.change("smtp", {"port": 26})):
        with pytest.raises(SettingsFileError, match=what):
            use()
    # What is broken afterwards changes nothing.
    file.path.write_text("[")
    assert file.current().records["smtp"].port == 25
    file.path.write_text(AFTER)
    assert (file.current().fault, file.load()["smtp"].port) == ("", 587)


def test_a_file_that_was_never_there(tmp_path: Path) -> None:
    reader, writer = reader_of(tmp_path)
    assert reader.document().records["smtp"].server is None
    assert writer.pauses == 0


def test_the_last_setting_can_be_unset(tmp_path: Path) -> None:
    """Also while another process uses it: what mailslot writes is never empty."""
    serving, command = SettingsFile(tmp_path), SettingsFile(tmp_path)
    serving.path.write_text('[records."account.office"]\nprotocol = "smtp"\n')
    assert "account.office" in serving.load()
    command.edit({("records", "account.office"): None})
    assert serving.path.stat().st_size > 0
    assert "account.office" not in serving.load()
    assert serving.current().fault == ""


@pytest.mark.parametrize("end", range(1, len(AFTER), 7))
def test_a_file_that_is_written_in_pieces(tmp_path: Path, end: int) -> None:
    """It is empty, then has a beginning, wherever that ends, and then the whole; no setting is missing meanwhile."""
    reader, _ = reader_of(tmp_path, write(AFTER))
    reader.path.write_text(BEFORE)
    reader.document()
    reader.path.write_text(AFTER[:end])
    try:
        found = reader.document()
    except SettingsFileError:
        assert reader.last_good is not None
        found = reader.last_good
    assert found.sections["device"]["name"] == "Copier"
    assert found.records["smtp"].server in {"mail.example", "other.example"}


def test_a_file_that_grows_is_taken_when_it_has_not_changed(tmp_path: Path) -> None:
    reader, writer = reader_of(tmp_path, write(AFTER[:50]), write(AFTER[:50] + "# more\n"))
    reader.path.write_text(BEFORE)
    reader.document()
    reader.path.write_text("# new\n")
    assert reader.document().sections == {}
    assert writer.pauses == 3


def test_settings_that_were_taken_out(tmp_path: Path) -> None:
    """A person may do that with an editor; it takes a moment longer than other changes."""
    reader, writer = reader_of(tmp_path)
    reader.path.write_text(BEFORE)
    reader.document()
    reader.path.write_text(BEFORE.replace("25", "26"))
    assert (reader.document().records["smtp"].port, writer.pauses) == (26, 0)
    reader.path.write_text('[device]\nname = "Copier"\n')
    assert (reader.document().records["smtp"].port, writer.pauses) == (None, 1)
    assert (reader.document().records["smtp"].port, writer.pauses) == (None, 1)


def test_what_this_process_takes_out_needs_no_second_look(tmp_path: Path) -> None:
    file = SettingsFile(tmp_path)
    file.path.write_text(BEFORE)
    file.load()
    file._reader._sleep = writer = Writer(file.path)
    file.change("smtp", {"port": None})
    assert (file.load()["smtp"].port, writer.pauses) == (None, 0)


def test_a_command_waits_for_a_file_that_was_emptied_just_now(tmp_path: Path) -> None:
    reader, writer = reader_of(tmp_path, write(""), write(BEFORE))
    reader.path.write_text("")
    assert reader.document().records["smtp"].port == 25
    assert writer.pauses == 2


def test_a_command_does_not_wait_for_a_file_that_was_emptied_long_ago(tmp_path: Path) -> None:
    reader, writer = reader_of(tmp_path, let_lie)
    reader.path.write_text("")
    let_lie(reader.path)
    assert reader.document().records["smtp"].port is None
    assert writer.pauses == 0
    reader.path.write_text("")
    assert reader.document().records["smtp"].port is None
    assert writer.pauses == 1


def test_a_change_waits_for_a_file_that_was_emptied_just_now(tmp_path: Path) -> None:
    """Otherwise it would replace the file, and what the other program writes then would be lost."""
    file = SettingsFile(tmp_path)
    file.path.write_text("")
    file._reader._sleep = Writer(file.path, write(BEFORE))
    assert file.change("smtp", {"port": 26}).server == "mail.example"
    assert file.path.read_text() == BEFORE.replace("25", "26")


def test_a_change_does_not_undo_one_of_another_program(tmp_path: Path) -> None:
    file = SettingsFile(tmp_path)
    file.path.write_text(BEFORE)
    with pytest.raises(SettingsFileError, match="was changed by another program just now"):
        file.change("smtp", {"port": 26}, before_write=lambda: file.path.write_text(AFTER))
    assert file.path.read_text() == AFTER
    assert file.change("smtp", {"port": 26}).server == "other.example"
