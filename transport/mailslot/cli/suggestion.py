"""Commands that a person is told to type."""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mailslot.cli.home import find_home
from mailslot.errors import InputError
from mailslot.slots.connection_profile import NotConfiguredError
from mailslot.slots.settings_file import SettingsFile

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mailslot.diagnosis.catalogue import Explanation
    from mailslot.home.home import Home
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Slot

_PLAIN: Final = re.compile(r"[\w@%+=:,./…-]+")
"""What a shell takes as it is; `…` stands for what the person has to fill in."""


def suggested_command(home: Home, *words: str) -> str:
    """Return a command of mailslot as a person types it in a shell, with the home folder if it is not the usual one.

    Args:
        home: the home folder that the command is for.
        words: the command, and its arguments.
    """
    above = () if home.name == find_home(None).name else ("--home", home.name)
    return " ".join(_quoted(word) for word in ("mailslot", *above, *words))


def repairing_command(home: Home, slot: Slot, explanation: Explanation) -> str:
    """Return the command by which the person at the device mends a fault of a slot; empty where none does."""
    if explanation.settings:
        settings = explanation.settings
        if explanation.cause == "not_configured" and settings == ("server=…",) and not _has_provider(home, slot):
            # Most people have a provider, which implies the server.
            settings = ("provider=…", "account=…")
        return suggested_command(home, "set", slot.id, *settings)
    if explanation.token_helps:
        flow = ("--flow", "browser") if explanation.cause == "device_code_blocked" else ()
        return suggested_command(home, "token", "get", slot.id, *flow)
    return ""


@contextmanager
def suggesting_settings(home: Home, slot: Slot, settings: Callable[[], Settings]) -> Generator[None]:
    """Name the command that sets what is missing for a sign-in, where an error says that something is.

    Args:
        home: the home folder.
        slot: the slot.
        settings: returns the settings of its record.

    Raises:
        InputError: instead of a `NotConfiguredError`, with the command.
    """
    try:
        yield
    except NotConfiguredError as error:
        assignments = dict.fromkeys([f"{error.missing}=…", *_unset_for_oauth(settings())])
        command = suggested_command(home, "set", slot.id, *assignments)
        raise InputError(f"{error} Set it: {command}", stage=error.stage, cause=error.cause) from error


def _has_provider(home: Home, slot: Slot) -> bool:
    try:
        settings = SettingsFile(home).current().records[slot.record]
    except (InputError, KeyError):
        return False
    return settings.provider is not None or settings.issuer is not None


def _unset_for_oauth(settings: Settings) -> list[str]:
    """Return the settings that a sign-in with OAuth 2.0 needs as well, as they are to be set.

    How to come by a client id is said next where the provider is known.
    """
    own = settings.provider == "custom" or settings.issuer or settings.token_endpoint
    needed = ("account", "client_id", "scopes") if own else ("provider", "account")
    found = [f"{key}=…" for key in needed if not getattr(settings, key)]
    # A provider implies it where no sign-in is set.
    implied = settings.authentication == "oauth2" or (settings.authentication == "none" and "provider=…" in found)
    return found if implied else [*found, "authentication=oauth2"]


def _quoted(word: str) -> str:
    return word if _PLAIN.fullmatch(word) else shlex.quote(word)
