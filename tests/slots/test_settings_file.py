"""``mailslot.toml`` changed by a person and by us, while others read and write it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import InputError
from mailslot.slots import keys, settings_reader
from mailslot.slots.keys import Key
from mailslot.slots.section import DEVICE, Section
from mailslot.slots.settings_document import SettingsFileError
from mailslot.slots.settings_file import SettingsFile
from shortage import no_descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailslot.slots.settings_document import SettingsDocument


@pytest.fixture
def file(tmp_path: Path) -> SettingsFile:
    return SettingsFile(tmp_path)


def settle(file: SettingsFile, *, ago: float = 10.0) -> None:
    """Let the file's last change lie behind."""
    moment = time.time() - ago
    os.utime(file.path, (moment, moment))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "# mine\n[records.smtp]\nport = 25 # why\n\n# about fax\n[records.fax-pop]\nport = 995\n",
            (
                '# mine\n[records.smtp]\nport = 587 # why\nserver = "new.example"\n\n# about fax\n[records.fax-pop]\n'
                "port = 995\n"
            ),
        ),
        ("", '[records.smtp]\nport = 587\nserver = "new.example"\n'),
        ("# only this", '# only this\n\n[records.smtp]\nport = 587\nserver = "new.example"\n'),
        ("[device]\nname = 'x'", "[device]\nname = 'x'\n\n[records.smtp]\nport = 587\nserver = \"new.example\"\n"),
        ("[records.smtp]", '[records.smtp]\nport = 587\nserver = "new.example"\n'),
        (
            "[records.smtp]\nport = 1\n[device]\nname='x'\n[records.fax-pop]\nport=2\n",
            "[records.smtp]\nport = 587\nserver = \"new.example\"\n[device]\nname='x'\n[records.fax-pop]\nport=2\n",
        ),
        ("records.smtp.port = 1\n", 'records.smtp.port = 587\nrecords.smtp.server = "new.example"\n'),
        ("[records]\nsmtp.port = 1 # x\n", '[records]\nsmtp.port = 587 # x\nsmtp.server = "new.example"\n'),
        ("records = {smtp = {port = 1}}\n", 'records = {smtp = {port = 587,server = "new.example"}}\n'),
        ("[records.'smtp']\n'port' = 1\n", "[records.'smtp']\n'port' = 587\nserver = \"new.example\"\n"),
        (
            "[records.fax-pop]\nport = 1\n\n[records.smtp]\n\n# nothing yet\n",
            '[records.fax-pop]\nport = 1\n\n[records.smtp]\nport = 587\nserver = "new.example"\n\n# nothing yet\n',
        ),
    ],
)
def test_only_the_requested_settings_change(file: SettingsFile, before: str, after: str) -> None:
    file.path.write_text(before)
    file.change("smtp", {"port": "587", "server": "new.example"})
    if not after.endswith("\n"):
        after += "\n"
    assert file.path.read_text().rstrip("\n") == after.rstrip("\n")


def test_unsetting_removes_the_line(file: SettingsFile) -> None:
    file.path.write_text("[records.smtp]\n# why\nport = 25 # so\nserver = 'x'\n")
    file.change("smtp", {"port": None, "timeout": None})
    assert file.path.read_text() == "[records.smtp]\n# why\nserver = 'x'\n"


def test_reading_creates_nothing(file: SettingsFile, tmp_path: Path) -> None:
    assert file.change("smtp", {}).port is None
    with pytest.raises(InputError):
        SettingsFile(tmp_path / "new").change("smtp", {"port": 0})
    assert not file.path.exists()
    assert not (tmp_path / "new").exists()


def test_an_editor_error_leaves_the_file_unchanged(file: SettingsFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the editor makes a mistake, the file is kept."""
    file.path.write_text("[records.smtp]\nport = 25\n")
    monkeypatch.setattr("mailslot.slots.toml_edit.edit_toml", lambda text, _: text + "\n[records.fax-pop]\nport = 1\n")
    with pytest.raises(SettingsFileError, match="by hand"):
        file.change("smtp", {"port": 26})
    monkeypatch.setattr("mailslot.slots.toml_edit.edit_toml", lambda _text, _: "[[[")
    with pytest.raises(SettingsFileError, match="by hand"):
        file.change("smtp", {"port": 26})
    assert file.path.read_text() == "[records.smtp]\nport = 25\n"


def test_a_symbolic_link_is_kept(file: SettingsFile, tmp_path: Path) -> None:
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir()
    (elsewhere / "real.toml").write_text("[records.smtp]\nport = 25\n")
    file.path.symlink_to(elsewhere / "real.toml")
    file.change("smtp", {"port": 26})
    assert file.path.is_symlink()
    assert (elsewhere / "real.toml").read_text() == "[records.smtp]\nport = 26\n"


def test_before_write_can_refuse(file: SettingsFile) -> None:
    file.change("smtp", {"port": 25})
    before = file.path.read_bytes()

    def refuse() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        file.change("smtp", {"port": 26}, before_write=refuse)
    assert file.path.read_bytes() == before
    file.change("smtp", {"port": 27})


def test_a_file_edited_while_in_use(file: SettingsFile) -> None:
    file.path.write_text("[records.smtp]\nport = 25\n")
    assert file.current().records["smtp"].port == 25
    file.path.write_text("[records.smtp]\nport = 26\n")
    assert file.current().records["smtp"].port == 26


def test_a_broken_file_never_replaces_valid_settings(file: SettingsFile) -> None:
    file.path.write_text("[records.smtp]\nport = 25\n[device]\nname = 'a'\n")
    assert file.current().fault == ""
    file.path.write_text("[records.smtp]\nport = 0\n[device]\nname = 'b'\n")
    in_use = file.current()
    assert (in_use.records["smtp"].port, in_use.sections["device"]["name"]) == (25, "a")
    assert in_use.fault == f"{file.path}:2: [records.smtp] port is 0; it must be a number from 1 to 65535."
    with pytest.raises(SettingsFileError):
        file.load()
    with pytest.raises(SettingsFileError):
        file.section(DEVICE)
    file.path.write_text("[records.smtp]\nport = 26\n")
    assert (file.current().fault, file.current().records["smtp"].port) == ("", 26)


def test_a_file_broken_from_the_start(file: SettingsFile) -> None:
    file.path.write_text("[")
    with pytest.raises(SettingsFileError, match="not TOML"):
        file.current()


def test_that_a_file_cannot_be_read_is_not_remembered(file: SettingsFile) -> None:
    file.change("smtp", {"server": "new.example.com"})
    # It was written a while ago, so that what is read of it would be remembered.
    os.utime(file.path, (1e9, 1e9))
    with no_descriptors(), pytest.raises(SettingsFileError, match="Too many open files"):
        file.load()
    assert file.load()["smtp"].server == "new.example.com"


def test_an_unchanged_file_is_not_parsed_again(file: SettingsFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.path.write_text("[records.smtp]\nport = 25\n")
    settle(file)
    file.load()
    read: list[Path] = []
    content = file.path.read_bytes()

    def noted_read(path: Path, *_: object) -> bytes:
        read.append(path)
        return content

    monkeypatch.setattr("mailslot.vault.durable.read", noted_read)
    for _ in range(3):
        assert file.load()["smtp"].port == 25
    assert read == []
    settle(file, ago=5.0)
    file.load()
    assert read == [file.path]
    # Within one tick of a file system's clock another change could not be told from this one.
    settle(file, ago=0.0)
    file.load()
    file.load()
    assert read == [file.path] * 3


def test_sections_with_their_defaults(file: SettingsFile) -> None:
    assert file.section(DEVICE)["language"] == "en"
    assert file.section(DEVICE)["name"] is None
    changed = file.change_section(DEVICE, {"name": "Copier", "language": "DE"})
    assert (changed["name"], changed["language"]) == ("Copier", "de")
    assert file.section(DEVICE) == changed
    assert file.path.read_text() == '[device]\nname = "Copier"\nlanguage = "de"\n'
    with pytest.raises(InputError, match=r"no setting 'nane'\. Did you mean name\?"):
        file.change_section(DEVICE, {"nane": "x"})
    assert file.change_section(DEVICE, {"name": None, "language": None})["language"] == "en"


CHANGE = """
import sys
from pathlib import Path
from mailslot.slots.settings_file import SettingsFile
file = SettingsFile(Path(sys.argv[1]))
for number in range(25):
    file.change(sys.argv[2], {sys.argv[3]: str(number + 1)})
"""


def test_concurrent_processes_and_threads_lose_nothing(file: SettingsFile, tmp_path: Path) -> None:
    """Two processes and two threads change a key each; what one wrote is never undone by another."""
    file.path.write_text("# kept\n")
    wanted = [("smtp", "port"), ("smtp", "timeout"), ("fax-pop", "port"), ("fax-pop", "timeout")]
    processes = [subprocess.Popen([sys.executable, "-c", CHANGE, str(tmp_path), *each]) for each in wanted[:2]]

    def change(record: str, key: str) -> None:
        for number in range(25):
            file.change(record, {key: number + 1})

    threads = [threading.Thread(target=change, args=each) for each in wanted[2:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(300) for process in processes] == [0, 0]
    found = file.load()
    assert [getattr(found[record], key) for record, key in wanted] == [25] * 4
    assert file.path.read_text().startswith("# kept\n")
    assert list(tmp_path.glob("*.new")) == []


names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1).filter(
    lambda text: text.strip() == text and text.isprintable()
)


@given(names, names)
def test_every_string_survives_a_round_trip(tmp_path_factory: pytest.TempPathFactory, first: str, second: str) -> None:
    file = SettingsFile(tmp_path_factory.mktemp("home"))
    file.change("smtp", {"sender_name": first})
    file.change("smtp", {"sender_name": second, "account": first})
    assert (file.load()["smtp"].sender_name, file.load()["smtp"].account) == (second, first)


def test_write_errors_have_a_readable_reason(tmp_path: Path) -> None:
    (tmp_path / "locks").write_bytes(b"")
    settings = SettingsFile(tmp_path)
    with pytest.raises(SettingsFileError) as caught:
        settings.change("smtp", {"server": "smtp.example.com"})
    assert str(caught.value) == f"{settings.path} cannot be changed: File exists."
    assert "Errno" in caught.value.detail


class SlowParser:
    """Lets the first thread that has parsed the file wait before it goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_read, self.go_on = threading.Event(), threading.Event()
        self._parse = settings_reader.parse_settings_document
        monkeypatch.setattr(settings_reader, "parse_settings_document", self)

    def __call__(self, *arguments: Any) -> SettingsDocument:
        first = not self.has_read.is_set()
        try:
            return self._parse(*arguments)
        finally:
            if first:
                self.has_read.set()
                self.go_on.wait(60)

    @contextmanager
    def reading(self, file: SettingsFile) -> Iterator[None]:
        """Read a file in another thread, which goes on at the end of the block."""

        def load() -> None:
            with suppress(InputError):
                file.load()

        thread = threading.Thread(target=load)
        thread.start()
        try:
            assert self.has_read.wait(60)
            yield
        finally:
            self.go_on.set()
            thread.join()


def test_a_section_that_becomes_known_while_the_file_is_read(
    file: SettingsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = Section("telex", {"answerback": Key("a text", keys.text)})
    SettingsFile(tmp_path, [section]).change_section(section, {"answerback": "42"})
    settle(file)
    with SlowParser(monkeypatch).reading(file):
        assert file.section(section)["answerback"] == "42"
    assert file.section(section)["answerback"] == "42"


def test_a_slow_read_does_not_bring_back_former_settings(file: SettingsFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.change("smtp", {"server": "old.example"})
    settle(file, ago=20)
    with SlowParser(monkeypatch).reading(file):
        file.change("smtp", {"server": "new.example"})
        settle(file)
        assert file.current().records["smtp"].server == "new.example"
    file.path.write_text("this is no TOML")
    assert file.current().records["smtp"].server == "new.example"


def test_why_it_cannot_be_read_or_written_is_said_as_of_other_files(
    file: SettingsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.change("smtp", {"port": 25})

    def failing(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(SettingsFileError, match=rf"^{file.path} cannot be written: the disk is full\.$"):
            file.change("smtp", {"port": 26})
    file.path.unlink()
    # Reading it fails, as on a disk with a fault.
    file.path.symlink_to("/proc/self/mem")
    with pytest.raises(SettingsFileError, match=rf"^{file.path} cannot be read: the disk reports a fault\.$"):
        file.load()
