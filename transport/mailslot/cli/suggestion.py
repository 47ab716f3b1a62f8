"""Commands that sentences suggest to a person."""

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
"""Words that need no quoting in a shell; `…` stands for a value that the person has to fill in."""


def suggested_command(home: Home, *words: str) -> str:
    """Return a command of mailslot as typed in a shell, with the home folder if it is not the default one.

    Args:
        home: the home folder that the command is for.
        words: the command, and its arguments.
    """
    above = () if home.name == find_home(None).name else ("--home", home.name)
    return " ".join(_quoted(word) for word in ("mailslot", *above, *words))


def repairing_command(home: Home, slot: Slot, explanation: Explanation) -> str:
    """Return the command with which the person at the device can repair a fault of a slot; empty if there is none."""
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
    """Add the command that sets a missing setting to the error of a sign-in.

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
    """Return the settings that a sign-in with OAuth 2.0 also needs, as arguments of ``mailslot set``.

    With a known provider, the next step explains how to get a client id.
    """
    own = settings.provider == "custom" or settings.issuer or settings.token_endpoint
    needed = ("account", "client_id", "scopes") if own else ("provider", "account")
    found = [f"{key}=…" for key in needed if not getattr(settings, key)]
    # A provider implies it if no authentication is set.
    implied = settings.authentication == "oauth2" or (settings.authentication == "none" and "provider=…" in found)
    return found if implied else [*found, "authentication=oauth2"]


def _quoted(word: str) -> str:
    return word if _PLAIN.fullmatch(word) else shlex.quote(word)
