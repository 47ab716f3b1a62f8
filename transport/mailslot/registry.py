"""What plugins bring, found by the name of an entry point and loaded once it is asked for.

A plugin is somebody else's, and may be in any state: what is wrong with one is said of that one, by name, and the
others go on. Loading imports modules, so a coroutine has `Group.find` and `Group.load_all` called in a thread.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar, cast

from mailslot.containment import Contained
from mailslot.entry_points import OWN, Failure, described, extra_for, installed, load, origin, plain_name
from mailslot.errors import InputError, Stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class PluginError(InputError):
    """A plugin is installed and cannot be used.

    Attributes:
        extra: what to install for it, such as ``"mailslot[oauth]"``; empty where that is not what it lacks.
    """

    def __init__(self, sentence: str, *, stage: Stage, detail: str = "", extra: str = "") -> None:
        super().__init__(sentence, stage=stage, cause="not_configured", detail=detail)
        self.extra = extra


class Loaded(NamedTuple, Generic[T]):
    """What became of all plugins of a group, by name.

    Attributes:
        found: those that can be used.
        failed: why others cannot; a name is in both where somebody else's plugin is passed over for our own.
    """

    found: dict[str, T]
    failed: dict[str, PluginError]


class Group(Generic[T]):
    """The entry points of one group. Making one, and asking for names, loads nothing.

    Args:
        name: the group, such as ``"mailslot.printers"``.
        noun: what people call one of them, such as ``"printer"``.
        check: tells whether what an entry point names is such a thing, or raises to say why not; without it, anything
            is.
        stage: the stage of its errors.
    """

    def __init__(
        self, name: str, *, noun: str, check: Callable[[object], bool] | None = None, stage: Stage = "resolve"
    ) -> None:
        self.name: Final = name
        self.noun: Final = noun
        self._check = check
        self._stage: Stage = stage

    def entries(self) -> tuple[EntryPoint, ...]:
        """Return its entry points, by name; of those with the same one, this distribution's own first."""
        return tuple(entry for entry in installed() if entry.group == self.name)

    def names(self) -> tuple[str, ...]:
        """Return the names that there are, in order, each once."""
        return tuple(dict.fromkeys(entry.name for entry in self.entries()))

    def find(self, name: str) -> T:
        """Return what a plugin brings under this name.

        Raises:
            InputError: there is no such plugin; the nearest is suggested.
            PluginError: it cannot be used, or several distributions bring one.
        """
        for entry in self.entries():
            if entry.name == name:
                return self.load(entry)
        known = [plain_name(each) for each in self.names()]
        near = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
        hint = f". Did you mean {near[0]}?" if near else f"; there are {', '.join(known)}." if known else "."
        raise InputError(f"There is no {self.noun} {repr(name)[:80]}{hint}", stage=self._stage)

    def load(self, entry: EntryPoint) -> T:
        """Return what one of its entry points names.

        Raises:
            PluginError: it cannot be used, or another distribution brings one of the same name.
        """
        self._check_name(entry)
        loaded = load(entry)
        if isinstance(loaded, Failure):
            raise self._failed(entry, loaded)
        self._check_kind(entry, loaded)
        return cast("T", loaded)

    def load_all(self) -> Loaded[T]:
        """Return what all of its plugins bring, in the order of their names."""
        loaded: Loaded[T] = Loaded({}, {})
        for entry in self.entries():
            try:
                loaded.found.setdefault(entry.name, self.load(entry))
            except PluginError as error:
                loaded.failed[entry.name] = error
        return loaded

    def _check_kind(self, entry: EntryPoint, loaded: object) -> None:
        why = ""
        try:
            with Contained():
                fits = self._check is None or self._check(loaded)
        except Exception as error:  # noqa: BLE001 - to look at what is somebody else's may run its code
            fits, why = False, f": {described(error)}"
        if not fits:
            kind = f"the class {loaded.__qualname__}" if isinstance(loaded, type) else f"a {type(loaded).__qualname__}"
            said = f"of {origin(entry)} cannot be used: what it names is not a {self.noun}."
            raise self._error(entry, said, detail=f"{entry.value} is {kind}{why}")

    def _check_name(self, entry: EntryPoint) -> None:
        """Raise where it is not certain that this one is meant by its name."""
        same = [each for each in self.entries() if each.name == entry.name]
        if len({each.value for each in same}) == 1 or origin(entry).name == OWN:
            return
        if origin(same[0]).name == OWN:
            said = f"of {origin(entry)} is passed over, since {OWN} has one of that name itself."
        else:
            packages = " and ".join(dict.fromkeys(str(origin(each)) for each in same))
            said = f"is brought by {packages}: uninstall all of them but one."
        raise self._error(entry, said, detail=", ".join(each.value for each in same))

    def _failed(self, entry: EntryPoint, failure: Failure) -> PluginError:
        extra = extra_for(entry, failure.missing) if failure.missing else ""
        if extra:
            said = f"needs {failure.missing.partition('.')[0]}: pip install '{extra}'."
        elif failure.missing:
            said = f"of {origin(entry)} needs the module {plain_name(failure.missing)}, which is not installed."
        else:
            said = f"of {origin(entry)} cannot be loaded."
        return self._error(entry, said, detail=failure.detail, extra=extra)

    def _error(self, entry: EntryPoint, said: str, *, detail: str, extra: str = "") -> PluginError:
        # Of panels there is one, which is called just that.
        what = self.noun if entry.name == self.noun else f"{self.noun} {plain_name(entry.name)}"
        return PluginError(f"The {what} {said}", stage=self._stage, detail=detail, extra=extra)
