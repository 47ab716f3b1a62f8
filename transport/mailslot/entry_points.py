"""The entry points that plugins declare: which distribution each belongs to, and how it is loaded."""

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

from mailslot.shortage import ShortageError, is_shortage

if TYPE_CHECKING:
    from collections.abc import Generator
    from importlib.metadata import Distribution, EntryPoint
    from types import FrameType
    from typing import TextIO

OWN_DISTRIBUTION: Final = "mailslot"
"""This distribution; its plugins take precedence over others of the same name."""

GROUP_PREFIX: Final = "mailslot."
"""The prefix of the names of all groups."""

_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA: Final = re.compile(r"""\bextra\s*==\s*["']([^"']+)["']""")
_PACKAGE_OF_MODULE: Final = {"argon2": "argon2-cffi", "pil": "pillow"}
"""The package that has a module of another name, among those that our plugins need."""

_TOP_LEVEL_PACKAGE: Final = re.compile(r"[^\s.:\[]+")
_DISPLAYABLE: Final = re.compile(r"[\w.+-]{1,80}")

logger = logging.getLogger(__name__)


class Origin(NamedTuple):
    """The distribution that a plugin belongs to; both are empty if its metadata cannot be read.

    Attributes:
        name: its name, as for ``pip install``.
        version: its version.
    """

    name: str
    version: str

    def __str__(self) -> str:
        return " ".join(map(display_name, filter(None, self))) or "an unknown package"


class LoadFailure(NamedTuple):
    """Why an entry point could not be loaded.

    Attributes:
        missing: the module that is not installed; empty if that is not the reason.
        detail: the exception and its location, for engineers.
        shortage: the same, if the machine was only short of something.
    """

    missing: str
    detail: str
    shortage: ShortageError | None = None


def installed_entry_points() -> tuple[EntryPoint, ...]:
    """Return the entry points of all our groups, sorted by group and name; of several with one name, our own first."""
    return _installed(tuple(sys.path))


def plugin_packages() -> set[str]:
    """Return the names of our top-level package and of all plugins', which are also the names of their loggers."""
    # A value need not name a module: it is whatever the distribution's author has written.
    packages = (_TOP_LEVEL_PACKAGE.match(entry.value) for entry in installed_entry_points())
    return {OWN_DISTRIBUTION, *(package[0] for package in packages if package is not None)}


@lru_cache(maxsize=16)
def _installed(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:  # noqa: ARG001 - what is found depends on it
    found: dict[str, list[EntryPoint]] = {}
    for each in distributions():
        try:
            entries = [entry for entry in each.entry_points if entry.group.startswith(GROUP_PREFIX)]
        except Exception as error:  # noqa: BLE001 - a damaged distribution must not hide the others
            logger.info(
                "The entry points of %s cannot be read: %s", _origin_of_distribution(each), describe_error(error)
            )
            continue
        if entries:
            # Python imports the first one on its path, so another version behind it does not count.
            found.setdefault(_normalized_name(_origin_of_distribution(each).name) or str(id(each)), entries)
    return tuple(
        sorted(
            (entry for entries in found.values() for entry in entries),
            key=lambda entry: (
                entry.group,
                entry.name,
                origin_of(entry).name != OWN_DISTRIBUTION,
                origin_of(entry),
                entry.value,
            ),
        )
    )


def load_entry_point(entry: EntryPoint) -> object:
    """Return the object that an entry point names, or a `LoadFailure`.

    The result is cached, except a failure for lack of file descriptors or memory.

    This imports a module and may block: coroutines call it in a thread.
    """
    try:
        return _load(entry, tuple(sys.path))
    except ShortageError as shortage:
        return LoadFailure("", str(shortage), shortage)


@cache
def _load(entry: EntryPoint, path: tuple[str, ...]) -> object:  # noqa: ARG001 - what is found depends on it
    interrupted: list[int] = []
    try:
        with _stdout_to_stderr(), _recording_interrupts(interrupted):
            return cast("object", entry.load())
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and interrupted:
            raise
        missing = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
        if is_shortage(error):
            # Not returned, so that it is not cached.
            raise ShortageError(describe_error(error)) from error
        return LoadFailure(missing, describe_error(error))


def origin_of(entry: EntryPoint) -> Origin:
    """Return the distribution that an entry point belongs to."""
    return Origin("", "") if entry.dist is None else _origin_of_distribution(entry.dist)


def display_name(name: str) -> str:
    """Return a name for display; one with unusual characters is quoted, on one line."""
    return name if _DISPLAYABLE.fullmatch(name) else ascii(name)[:80]


def extra_for(entry: EntryPoint, module: str) -> str:
    """Return the extra that installs a module that a plugin lacks, such as ``mailslot[scan]``; empty if unknown.

    Preferred are extras that the entry point names itself. Otherwise it is one that requires a package of the module's
    name, or one that is named like the plugin and is not completely installed: which modules a package has is unknown
    before it is installed.
    """
    likely = {*entry.extras, *re.split(r"[.:]", entry.value), entry.name}
    return "" if entry.dist is None else _extra_of(entry.dist, module, entry.extras, likely)


def own_extra_for(module: str) -> str:
    """Return the extra of this distribution that installs a module; empty if unknown."""
    try:
        return _extra_of(distribution(OWN_DISTRIBUTION), module, [], set())
    except PackageNotFoundError:
        return ""


def _extra_of(found: Distribution, module: str, preferred: list[str], likely: set[str]) -> str:
    extras: dict[str, set[str]] = {}
    for line in found.requires or ():
        if package := _REQUIREMENT.match(line):
            for extra in _EXTRA.findall(line):
                extras.setdefault(extra, set()).add(_normalized_name(package[0]))
    wanted = _normalized_name(module.partition(".")[0])
    wanted = _PACKAGE_OF_MODULE.get(wanted, wanted)

    def rank(extra: str) -> tuple[bool, bool, int, str]:
        return extra not in preferred, extra not in likely, len(extras[extra]), extra

    for extra in sorted(extras, key=rank):
        if wanted in extras[extra] or (extra in likely and not all(map(_is_installed, extras[extra]))):
            return f"{_origin_of_distribution(found).name}[{extra}]"
    return ""


def describe_error(error: BaseException) -> str:
    """Return an error's type, message and location, on one line, for engineers."""
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    return _on_one_line(text[:500] + _location(error))


def describe_error_location(error: BaseException) -> str:
    """Return an error's type and location, on one line, without its message, which may quote a secret."""
    return _on_one_line(type(error).__name__ + _location(error))


def _location(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _on_one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _origin_of_distribution(found: Distribution) -> Origin:
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


def _normalized_name(name: str) -> str:
    """Return a package's name as the packaging specifications compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


_imports_running = 0
_stdout: TextIO | None = None
_stdout_lock = threading.Lock()


@contextmanager
def _recording_interrupts(interrupted: list[int]) -> Generator[None]:
    """Record a Ctrl-C, to tell it from a `KeyboardInterrupt` that the imported module raises."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def record_interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, record_interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is record_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _stdout_to_stderr() -> Generator[None]:
    """Send what a module prints during its import to standard error, since standard output may be a JSON document.

    The lock is not held during the import: Python has its own locks for that.
    """
    global _imports_running, _stdout  # noqa: PLW0603 - standard output is one for the process, too
    with _stdout_lock:
        if not _imports_running:
            _stdout, sys.stdout = sys.stdout, sys.stderr
        _imports_running += 1
    try:
        yield
    finally:
        with _stdout_lock:
            _imports_running -= 1
            if not _imports_running and _stdout is not None:
                sys.stdout, _stdout = _stdout, None
