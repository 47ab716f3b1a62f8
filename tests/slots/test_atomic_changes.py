"""Settings and secrets change together or not at all: killed at each step, and with a disk that fails at each."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.fixtures import need
from mailslot.errors import MailError
from mailslot.slots.records import Records
from mailslot.slots.settings_file import SettingsFile
from mailslot.vault import journal
from mailslot.wire.secret import Secret
from vault.test_disk import fill

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD = {"server": "old.example", "security": "tls", "authentication": "password", "account": "a"}
NEW = {"server": "new.example"}
CHANGES = ["another password", "no password", "a password that is dropped"]
STEPS = ("open", "write", "fsync", "rename", "replace", "unlink", "mkdir")


def begin(home: Path) -> None:
    Records(home).change("smtp", OLD, {"password": Secret("old")})


def change(home: Path, how: str) -> None:
    secrets = {"another password": {"password": Secret("new")}, "no password": {"password": None}}.get(how, {})
    Records(home).change("smtp", NEW, secrets, role="administrator")


def state(home: Path) -> tuple[str | None, str | None]:
    """Return the server and its password as the next process reads them."""
    records = Records(home)
    password = records.vault.read("smtp", "password")
    return records.settings.load()["smtp"].server, None if password is None else password.reveal()


BEFORE = ("old.example", "old")
AFTER = {name: ("new.example", "new" if name == CHANGES[0] else None) for name in CHANGES}


def left_over(home: Path) -> list[str]:
    return [
        path.name for path in home.rglob("*") if path.suffix in {".new", ".next"} or path.name == journal.JOURNAL_NAME
    ]


def die_at(step: int) -> None:
    """Be killed at system call number `step`; half of a write is done."""
    remaining = step

    def dying(name: str, call: object) -> object:
        def called(*arguments: object, **options: object) -> object:
            nonlocal remaining
            remaining -= 1
            if remaining == 0:
                if name == "write":
                    call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])  # type: ignore[operator, call-overload, arg-type]  # it is os.write
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)  # type: ignore[operator]  # it is one of os

        return called

    for name in STEPS:
        setattr(os, name, dying(name, getattr(os, name)))


@pytest.mark.parametrize("how", CHANGES)
def test_killed_at_every_step(tmp_path: Path, how: str) -> None:
    """By a process of its own, since it forks and patches the system calls."""
    code = "import sys; from slots.test_atomic_changes import killed_at_every_step as k; k(*sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", code, str(tmp_path), how]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def killed_at_every_step(folder: str, how: str) -> None:
    seen: list[tuple[str | None, str | None]] = []
    for step in count(1):
        home = Path(folder) / f"home-{step}"
        begin(home)
        child = os.fork()
        if not child:
            die_at(step)
            change(home, how)
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended in (0, -signal.SIGKILL), ended
        # Whichever of the two files is looked at first.
        if step % 2:
            assert SettingsFile(home).load()["smtp"].server in {"old.example", "new.example"}
        found = state(home)
        assert found in (BEFORE, AFTER[how]), (step, found)
        seen.append(found)
        # What another change makes of it holds, and nothing comes back.
        Records(home).change("smtp", {"account": "b"}, {"password": Secret("third")})
        assert state(home) == (found[0], "third")
        assert left_over(home) == []
        if ended == 0:
            break
    assert step > 15
    assert seen == sorted(seen, key=lambda each: each != BEFORE), "once made, a change is made"
    assert {BEFORE, AFTER[how]} == set(seen)


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename", "replace"])
def test_a_call_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, call: str) -> None:
    """All of it happens, now or when the disk has recovered, or nothing; what was said to have failed has failed."""
    for number in count(1):
        home = tmp_path / str(number)
        begin(home)
        remaining, original = number, getattr(os, call)

        def failing(*arguments: object, original: object = original, **options: object) -> object:
            nonlocal remaining
            remaining -= 1
            if remaining == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*arguments, **options)  # type: ignore[operator]  # it is one of os

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            with suppress(MailError):
                change(home, how)
        assert state(home) in (BEFORE, AFTER[how])
        assert state(home) == AFTER[how] or remaining <= 0
        if remaining > 0:
            break


@pytest.fixture
def small_home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(home)]
    mounted = os.geteuid() == 0 and not subprocess.run(mount, check=False, capture_output=True).returncode
    need("a small disk", mounted, "needs root on Debian")
    yield home
    subprocess.run(["umount", str(home)], check=True)


@pytest.mark.parametrize("how", CHANGES)
def test_a_full_disk(small_home: Path, how: str) -> None:
    """With ever more room it fails with the old settings and the old password, until it succeeds."""
    begin(small_home)
    failed = 0
    for room in range(0, 256_000, 4096):
        fill(small_home / "filler")
        size = (small_home / "filler").stat().st_size
        os.truncate(small_home / "filler", max(size - room, 0))
        with suppress(MailError):
            change(small_home, how)
            break
        failed += 1
        assert state(small_home) == BEFORE
        (small_home / "filler").unlink()
    assert failed
    assert state(small_home) == AFTER[how]
    assert left_over(small_home) == []


def test_a_home_moved_between_journal_and_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, moved = tmp_path / "home", tmp_path / "moved"
    begin(home)
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "recover", lambda _self: None)
        change(home, CHANGES[0])
    assert (home / journal.JOURNAL_NAME).exists()
    home.rename(moved)
    assert state(moved) == AFTER[CHANGES[0]]


@pytest.mark.parametrize("garbage", [b"", b"[", b"7", b"[[1, 2]]", b'{"a": 1}', b"null", b"\xff"])
def test_an_invalid_journal(tmp_path: Path, garbage: bytes) -> None:
    begin(tmp_path)
    (tmp_path / journal.JOURNAL_NAME).write_bytes(garbage)
    assert state(tmp_path) == BEFORE
    assert left_over(tmp_path) == []


def test_a_symbolic_link_to_the_settings(tmp_path: Path) -> None:
    begin(tmp_path / "home")
    target, link = tmp_path / "etc.toml", tmp_path / "home" / "mailslot.toml"
    link.replace(target)
    link.symlink_to(target)
    change(tmp_path / "home", CHANGES[0])
    assert link.is_symlink()
    assert state(tmp_path / "home") == AFTER[CHANGES[0]]
