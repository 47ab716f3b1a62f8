"""The entry points that plugins declare: where each is from, and what came of loading it, whatever state it is in."""

from __future__ import annotations

import logging
import re
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, distribution, distributions
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Generator
    from importlib.metadata import Distribution, EntryPoint
    from types import FrameType
    from typing import TextIO

OWN: Final = "mailslot"
"""The distribution whose plugins nobody else's take the place of."""

PREFIX: Final = "mailslot."
"""How the name of every group begins."""

_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA: Final = re.compile(r"""\bextra\s*==\s*["']([^"']+)["']""")
_PACKAGES: Final = {"argon2": "argon2-cffi", "pil": "pillow"}
"""What brings a module of another name, among the packages that plugins of ours need."""

_PLAIN: Final = re.compile(r"[\w.+-]{1,80}")

logger = logging.getLogger(__name__)


class Origin(NamedTuple):
    """The distribution that brings a plugin; empty where its metadata do not tell.

    Attributes:
        name: its name, as ``pip install`` takes it.
        version: its version.
    """

    name: str
    version: str

    def __str__(self) -> str:
        return " ".join(map(plain_name, filter(None, self))) or "an unknown package"


class Failure(NamedTuple):
    """Why an entry point could not be loaded.

    Attributes:
        missing: the module that is not installed; empty where that is not why.
        detail: what was raised, and where, for an engineer.
    """

    missing: str
    detail: str


def installed() -> tuple[EntryPoint, ...]:
    """Return the entry points of all groups of ours, by group and name; of those with the same one, our own first."""
    return _installed(tuple(sys.path))


def packages() -> set[str]:
    """Return the names of the top-level packages whose code is ours or a plugin's, by which they log."""
    return {OWN, *(entry.module.partition(".")[0] for entry in installed())}


@lru_cache(maxsize=16)
def _installed(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:  # noqa: ARG001 - what is found depends on it
    found: dict[str, list[EntryPoint]] = {}
    for each in distributions():
        try:
            entries = [entry for entry in each.entry_points if entry.group.startswith(PREFIX)]
        except Exception as error:  # noqa: BLE001 - a damaged file of anybody's must not hide what others bring
            logger.info("The entry points of %s cannot be read: %s", _origin(each), described(error))
            continue
        if entries:
            # Python imports what comes first on its path, and an older version behind it is not there.
            found.setdefault(_normal(_origin(each).name) or str(id(each)), entries)
    return tuple(
        sorted(
            (entry for entries in found.values() for entry in entries),
            key=lambda entry: (entry.group, entry.name, origin(entry).name != OWN, origin(entry), entry.value),
        )
    )


def load(entry: EntryPoint) -> object:
    """Return what an entry point names, or a `Failure`; either stays so until the process ends.

    Its module is imported, which takes as long as it takes: a coroutine has this done in a thread.
    """
    return _load(entry, tuple(sys.path))


@cache
def _load(entry: EntryPoint, path: tuple[str, ...]) -> object:  # noqa: ARG001 - what is found depends on it
    interrupted: list[int] = []
    try:
        with _nothing_on_stdout(), _interrupts_noted(interrupted):
            return cast("object", entry.load())
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and interrupted:
            raise
        missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        return Failure(missing, described(error))


def origin(entry: EntryPoint) -> Origin:
    """Return which distribution brings an entry point."""
    return Origin("", "") if entry.dist is None else _origin(entry.dist)


def plain_name(name: str) -> str:
    """Return a name as it is shown to people; what may be more than a name is quoted, on one line."""
    return name if _PLAIN.fullmatch(name) else ascii(name)[:80]


def extra_for(entry: EntryPoint, module: str) -> str:
    """Return what brings a module that a plugin misses, such as ``mailslot[scan]``; empty where no extra is known to.

    The entry point may name its extras itself. Else it is one that requires a package of the module's name, or one
    that is called like the plugin and is not complete: what is in a package is not known before it is there.
    """
    likely = {*entry.extras, *re.split(r"[.:]", entry.value), entry.name}
    return "" if entry.dist is None else _extra_of(entry.dist, module, entry.extras, likely)


def own_extra_for(module: str) -> str:
    """Return the extra of this distribution that brings a module; empty where none is known to."""
    try:
        return _extra_of(distribution(OWN), module, [], set())
    except PackageNotFoundError:
        return ""


def _extra_of(found: Distribution, module: str, named: list[str], likely: set[str]) -> str:
    extras: dict[str, set[str]] = {}
    for line in found.requires or ():
        if package := _REQUIREMENT.match(line):
            for extra in _EXTRA.findall(line):
                extras.setdefault(extra, set()).add(_normal(package[0]))
    wanted = _normal(module.partition(".")[0])
    wanted = _PACKAGES.get(wanted, wanted)

    def rank(extra: str) -> tuple[bool, bool, int, str]:
        return extra not in named, extra not in likely, len(extras[extra]), extra

    for extra in sorted(extras, key=rank):
        if wanted in extras[extra] or (extra in likely and not all(map(_is_installed, extras[extra]))):
            return f"{_origin(found).name}[{extra}]"
    return ""


def described(error: BaseException) -> str:
    """Return an error for an engineer: what it says, and where it was raised, on one line."""
    said = " ".join("".join(traceback.format_exception_only(error)).split())
    return _on_one_line(said[:500] + _where(error))


def kind_and_place(error: BaseException) -> str:
    """Return an error for an engineer without what it says, which may quote a secret, on one line."""
    return _on_one_line(type(error).__name__ + _where(error))


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _on_one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _origin(found: Distribution) -> Origin:
    try:
        values = found.metadata
        return Origin(str(values["Name"] or ""), str(values["Version"] or ""))
    except Exception:  # noqa: BLE001 - the file may be missing, or hold anything
        return Origin("", "")


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def _normal(name: str) -> str:
    """Return a package's name as the packaging specifications compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


_loading = 0
_stdout: TextIO | None = None
_swap = threading.Lock()


@contextmanager
def _interrupts_noted(interrupted: list[int]) -> Generator[None]:
    """Note a person's Ctrl-C, since a module may raise a `KeyboardInterrupt` by itself."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _nothing_on_stdout() -> Generator[None]:
    """Let what a module prints while it is imported go to standard error: standard output may be a JSON document.

    The lock is not held meanwhile, since modules that wait for each other are Python's own matter.
    """
    global _loading, _stdout  # noqa: PLW0603 - standard output is one for the process, too
    with _swap:
        if not _loading:
            _stdout, sys.stdout = sys.stdout, sys.stderr
        _loading += 1
    try:
        yield
    finally:
        with _swap:
            _loading -= 1
            if not _loading and _stdout is not None:
                sys.stdout, _stdout = _stdout, None
