"""Plugins, found by the name of their entry point and loaded on first use.

A broken plugin is reported by name and does not affect the others. Loading imports modules and may block, so coroutines
call `PluginGroup.find` and `PluginGroup.load_all` in a thread.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar, cast

from mailslot.entry_points import (
    OWN_DISTRIBUTION,
    LoadFailure,
    describe_error,
    display_name,
    extra_for,
    installed_entry_points,
    load_entry_point,
    origin_of,
)
from mailslot.errors import InputError, Stage
from mailslot.exit_guard import ExitGuard

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class PluginError(InputError):
    """A plugin is installed and cannot be used.

    Attributes:
        extra: the extra to install for it, such as ``"mailslot[oauth]"``; empty if none would help.
    """

    def __init__(self, sentence: str, *, stage: Stage, detail: str = "", extra: str = "") -> None:
        super().__init__(sentence, stage=stage, cause="not_configured", detail=detail)
        self.extra = extra


class LoadedPlugins(NamedTuple, Generic[T]):
    """All plugins of a group, by name.

    Attributes:
        plugins: those that can be used.
        errors: why the others cannot; a name is in both if our own plugin takes precedence over another one.
    """

    plugins: dict[str, T]
    errors: dict[str, PluginError]


class PluginGroup(Generic[T]):
    """The plugins of one entry-point group. The constructor and `names` load nothing.

    Args:
        name: the group, such as ``"mailslot.printers"``.
        noun: what people call such a plugin, such as ``"printer"``.
        check: tells whether a loaded object is such a plugin, or raises to say why not; None to accept any.
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
        """Return the entry points, sorted by name; of several with one name, this distribution's own first."""
        return tuple(entry for entry in installed_entry_points() if entry.group == self.name)

    def names(self) -> tuple[str, ...]:
        """Return the names, sorted, without duplicates."""
        return tuple(dict.fromkeys(entry.name for entry in self.entries()))

    def find(self, name: str) -> T:
        """Return the plugin of this name.

        Raises:
            InputError: there is no such plugin; the most similar name is suggested.
            PluginError: it cannot be used, or several distributions have one of this name.
        """
        for entry in self.entries():
            if entry.name == name:
                return self.load(entry)
        known = [display_name(each) for each in self.names()]
        near = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
        hint = f". Did you mean {near[0]}?" if near else f"; there are {', '.join(known)}." if known else "."
        raise InputError(f"There is no {self.noun} {repr(name)[:80]}{hint}", stage=self._stage)

    def load(self, entry: EntryPoint) -> T:
        """Return the plugin of an entry point.

        Raises:
            PluginError: it cannot be used, or another distribution has one of this name.
        """
        self._check_name(entry)
        loaded = load_entry_point(entry)
        if isinstance(loaded, LoadFailure):
            raise self._load_error(entry, loaded) from loaded.shortage
        self._check_kind(entry, loaded)
        return cast("T", loaded)

    def load_all(self) -> LoadedPlugins[T]:
        """Return all plugins, in the order of their names."""
        loaded: LoadedPlugins[T] = LoadedPlugins({}, {})
        for entry in self.entries():
            try:
                loaded.plugins.setdefault(entry.name, self.load(entry))
            except PluginError as error:
                loaded.errors[entry.name] = error
        return loaded

    def _check_kind(self, entry: EntryPoint, loaded: object) -> None:
        why = ""
        try:
            with ExitGuard():
                fits = self._check is None or self._check(loaded)
        except Exception as error:  # noqa: BLE001 - the check may run code of the plugin
            fits, why = False, f": {describe_error(error)}"
        if not fits:
            kind = f"the class {loaded.__qualname__}" if isinstance(loaded, type) else f"a {type(loaded).__qualname__}"
            predicate = f"of {origin_of(entry)} cannot be used: what it names is not a {self.noun}."
            raise self._error(entry, predicate, detail=f"{entry.value} is {kind}{why}")

    def _check_name(self, entry: EntryPoint) -> None:
        """Raise if the name is ambiguous."""
        same = [each for each in self.entries() if each.name == entry.name]
        if len({each.value for each in same}) == 1 or origin_of(entry).name == OWN_DISTRIBUTION:
            return
        if origin_of(same[0]).name == OWN_DISTRIBUTION:
            predicate = f"of {origin_of(entry)} is passed over, since {OWN_DISTRIBUTION} has one of that name itself."
        else:
            packages = " and ".join(dict.fromkeys(str(origin_of(each)) for each in same))
            predicate = f"is brought by {packages}: uninstall all of them but one."
        raise self._error(entry, predicate, detail=", ".join(each.value for each in same))

    def _load_error(self, entry: EntryPoint, failure: LoadFailure) -> PluginError:
        extra = extra_for(entry, failure.missing) if failure.missing else ""
        if extra:
            predicate = f"needs {failure.missing.partition('.')[0]}: pip install '{extra}'."
        elif failure.missing:
            predicate = (
                f"of {origin_of(entry)} needs the module {display_name(failure.missing)}, which is not installed."
            )
        else:
            predicate = f"of {origin_of(entry)} cannot be loaded."
        return self._error(entry, predicate, detail=failure.detail, extra=extra)

    def _error(self, entry: EntryPoint, predicate: str, *, detail: str, extra: str = "") -> PluginError:
        # There is only one panel, named "panel".
        subject = self.noun if entry.name == self.noun else f"{self.noun} {display_name(entry.name)}"
        return PluginError(f"The {subject} {predicate}", stage=self._stage, detail=detail, extra=extra)
