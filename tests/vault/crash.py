"""Processes that are killed while they change a vault, and what must hold afterwards.

Run by `test_crash` as a process of its own, since it forks: ``python crash.py PROOF FOLDER``.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from child_process import fork_child, wait_for_exit
from mailslot import Secret
from mailslot.vault.documents import FolderDocuments
from mailslot.vault.keys import KeyRing
from mailslot.vault.lock import blocking_lock
from mailslot.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

CONSTANT = Secret("1//a-grant-that-nobody-changes")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def value(number: int) -> Secret:
    return Secret(f"{number} secretsecret {LETTERS * (number % 50)}")


def check(home: Path, *numbers: int) -> int:
    """See that everything reads, as it was or as it was to be; return which of `numbers` it was."""
    vault = Vault(FolderDocuments(home), KeyRing.load(home, None))
    grant, password = (vault.read("smtp", field) for field in ("grant", "password"))
    assert grant == password, "a mix"
    assert grant in [value(number) for number in numbers], "neither the old nor the new value"
    assert vault.read("fax-pop", "grant") == CONSTANT
    names = {path.name for path in home.rglob("*") if path.is_file()}
    expected = {"key", "key.lock", "smtp.json", "fax-pop.json"}
    assert names >= expected
    assert names <= expected | {"key.new", "smtp.json.new", "fax-pop.json.new"}, names
    assert not any(b"secretsecret" in path.read_bytes() for path in home.rglob("*") if path.is_file())
    return next(number for number in numbers if grant == value(number))


def write(home: Path, number: int) -> None:
    vault = Vault(FolderDocuments(home), KeyRing.load(home, None))
    vault.write("smtp", {"grant": value(number), "password": value(number)})


def begin(home: Path) -> None:
    write(home, 0)
    Vault(FolderDocuments(home), KeyRing.load(home, None)).write("fax-pop", {"grant": CONSTANT})


def killed_at_random_times(folder: Path, rounds: int = 120) -> None:
    """One process writes, another rotates the key; both are killed. Acknowledged values are never lost."""
    home = folder / "home"
    begin(home)
    number, turned = 0, 0
    for _ in range(rounds):
        written, acknowledge = os.pipe()

        def write_repeatedly(number: int = number, acknowledge: int = acknowledge) -> None:
            while True:
                number += 1
                write(home, number)
                os.write(acknowledge, b"%d\n" % number)

        def rotate_repeatedly() -> None:
            keys = KeyRing.load(home, None)
            while True:
                keys.add_new_key()
                Vault(FolderDocuments(home), keys).rotate()

        before = (home / "key").read_bytes()
        children = [fork_child(write_repeatedly), fork_child(rotate_repeatedly)]
        os.close(acknowledge)
        for child in children:
            time.sleep(random.uniform(0, 0.04))
            os.kill(child, signal.SIGKILL)
        assert [wait_for_exit(child) for child in children] == [-signal.SIGKILL] * 2
        with os.fdopen(written, "rb") as pipe:
            acknowledged = pipe.read().split()
        last = int(acknowledged[-1]) if acknowledged else number
        number = check(home, last, last + 1)
        turned += (home / "key").read_bytes() != before
    print(f"{rounds} rounds, {number} writes, the key was turned in {turned} of them")
    assert number > 10
    assert turned > 10
    Vault(FolderDocuments(home), KeyRing.load(home, None)).rotate()
    assert len((home / "key").read_bytes().splitlines()) == 1
    check(home, number)


SYSTEM_CALLS = ("open", "write", "fsync", "close", "replace", "unlink", "mkdir")


def kill_at(step: int) -> None:
    """Make this process kill itself at system call number `step`; of a write, half is done."""
    remaining = step

    def dying(call: Callable[..., object], *, half: bool) -> Callable[..., object]:
        def called(*arguments: object, **options: object) -> object:
            nonlocal remaining
            remaining -= 1
            if remaining == 0:
                if half:
                    call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os._exit(9)
            return call(*arguments, **options)

        return called

    for name in SYSTEM_CALLS:
        setattr(os, name, dying(getattr(os, name), half=name == "write"))


def killed_at_every_step(folder: Path) -> None:
    """A change is broken off at each of its system calls in turn, and then made again."""

    def turn(home: Path) -> None:
        KeyRing.load(home, None).add_new_key()
        Vault(FolderDocuments(home), KeyRing.load(home, None)).rotate()

    def delete(home: Path) -> None:
        Vault(FolderDocuments(home), KeyRing.load(home, None)).write("spare", {"grant": None})

    start = folder / "start"
    begin(start)
    for name, change, after in (("write", lambda home: write(home, 1), 1), ("turn", turn, 0), ("delete", delete, 0)):
        for step in range(1, 1000):
            home = folder / f"{name}-{step}"
            shutil.copytree(start, home)
            if change is delete:
                Vault(FolderDocuments(home), KeyRing.load(home, None)).write("spare", {"grant": value(1)})
            ended = wait_for_exit(fork_child(lambda home=home, step=step, change=change: (kill_at(step), change(home))))
            assert ended in (0, 9), ended
            spare = Vault(FolderDocuments(home), KeyRing.load(home, None)).read("spare", "grant")
            assert spare is None or (change is delete and ended and spare == value(1))
            change(home)
            Vault(FolderDocuments(home), KeyRing.load(home, None)).delete("spare")
            check(home, after)
            shutil.rmtree(home)
            if ended == 0:
                break
        print(f"{name}: {step - 1} steps")
        assert step > 8


def killed_at_every_step_of_the_first_write(folder: Path) -> None:
    """Nothing is there, not even the home folder."""
    for step in range(1, 1000):
        home = folder / f"home-{step}"
        ended = wait_for_exit(fork_child(lambda home=home, step=step: (kill_at(step), write(home, 1))))
        assert ended in (0, 9), ended
        vault = Vault(FolderDocuments(home), KeyRing.load(home, None))
        assert vault.read("smtp", "grant") in ((value(1),) if ended == 0 else (None, value(1)))
        begin(home)
        check(home, 0)
        if ended == 0:
            break
    print(f"{step - 1} steps")
    assert step > 15


def concurrent_key_creation(folder: Path, processes: int = 8) -> None:
    """Processes that find no key agree on one, and none overwrites what another one wrote."""
    for attempt in range(10):
        home = folder / f"home-{attempt}"
        gate, opened = os.pipe()

        def work(name: str, home: Path = home, gate: int = gate, opened: int = opened) -> None:
            os.close(opened)
            os.read(gate, 1)
            vault = Vault(FolderDocuments(home), KeyRing.load(home, None))
            for number in range(5):
                vault.write("smtp", {name: value(number)})

        children = [fork_child(lambda name=name: work(name)) for name in LETTERS[:processes]]
        os.close(gate)
        os.close(opened)
        assert [wait_for_exit(child) for child in children] == [0] * processes
        vault = Vault(FolderDocuments(home), KeyRing.load(home, None))
        assert {name: vault.read("smtp", name) for name in LETTERS[:processes]} == dict.fromkeys(
            LETTERS[:processes], value(4)
        )
        assert len((home / "key").read_bytes().splitlines()) == 1


def concurrent_rotations(folder: Path, processes: int = 4, times: int = 25) -> None:
    """No process loses a key that another process has added."""
    home = folder / "home"
    begin(home)

    def turn() -> None:
        for _ in range(times):
            KeyRing.load(home, None).add_new_key()

    assert [wait_for_exit(child) for child in [fork_child(turn) for _ in range(processes)]] == [0] * processes
    assert len((home / "key").read_bytes().splitlines()) == 1 + processes * times


def read_during_rotation(folder: Path) -> None:
    """A reader takes no lock, and never notices."""
    home = folder / "home"
    begin(home)

    def rotate_repeatedly() -> None:
        keys = KeyRing.load(home, None)
        while True:
            keys.add_new_key()
            Vault(FolderDocuments(home), keys).rotate()

    child = fork_child(rotate_repeatedly)
    vault = Vault(FolderDocuments(home), KeyRing.load(home, None))
    keys, reads = set(), 0
    end = time.monotonic() + 120
    try:
        while len(keys) <= 20 and time.monotonic() < end:
            assert vault.read("smtp", "grant") == value(0)
            keys.add((home / "key").read_bytes())
            reads += 1
    finally:
        os.kill(child, signal.SIGKILL)
        assert wait_for_exit(child) == -signal.SIGKILL
    print(f"{reads} reads over {len(keys)} states of the key file")
    assert len(keys) > 20


def forked_while_held(folder: Path) -> None:
    """A child that was forked while the lock was held does not keep it."""
    with blocking_lock(folder / "lock", timeout=0):
        child = fork_child(lambda: time.sleep(60))
    try:
        with blocking_lock(folder / "lock", timeout=0):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


PROOFS = (
    killed_at_random_times,
    killed_at_every_step,
    killed_at_every_step_of_the_first_write,
    concurrent_key_creation,
    concurrent_rotations,
    read_during_rotation,
    forked_while_held,
)


def main(name: str, folder: str) -> NoReturn:
    proof = next(proof for proof in PROOFS if proof.__name__ == name)
    seed = time.time_ns()
    print(f"seed {seed}", flush=True)
    random.seed(seed)
    proof(Path(folder))
    sys.exit()


if __name__ == "__main__":
    main(*sys.argv[1:])
