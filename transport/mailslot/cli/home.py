"""The home, and values from the command line; only here is the environment read."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.fleet.opening import FleetPlaces
    from mailslot.home.home import Home
    from mailslot.slots.records import Records
    from mailslot.slots.slot import Slot, SlotDirectory


def find_home(given: str | None) -> Home:
    """Return the home: the one given, else ``MAILSLOT_HOME``, else the platform's data folder."""
    from mailslot.home.folder import FolderHome  # noqa: PLC0415 - the help of all commands does without it

    place = given or os.environ.get("MAILSLOT_HOME")
    if place and place.startswith(("postgresql://", "postgres://")):
        from mailslot.fleet.opening import open_device_home  # noqa: PLC0415 - devices do without it

        return open_device_home(place, fleet_places())
    if place and "://" in place:
        raise InputError(
            "A home is a folder, or a device in a fleet: postgresql://HOST/DATABASE?device=TENANT/DEVICE.",
            stage="resolve",
        )
    return FolderHome(Path(place).absolute() if place else _data_folder(), _credentials())


def fleet_places() -> FleetPlaces:
    """Return where this machine keeps what it needs for fleets.

    The master key is the file ``MAILSLOT_MASTER_KEY``, else the service manager's credential ``mailslot.master-key``,
    else a file in the platform's data folder.
    """
    from mailslot.fleet.opening import FleetPlaces  # noqa: PLC0415 - devices do without it

    folder = _data_folder() / "fleet"
    if entered := os.environ.get("MAILSLOT_MASTER_KEY"):
        return FleetPlaces(folder, Path(entered).absolute())
    credentials = _credentials()
    provided = None if credentials is None else credentials / "mailslot.master-key"
    if provided is not None and provided.exists():
        return FleetPlaces(folder, provided, is_provided=True)
    return FleetPlaces(folder, folder / "master.key")


def _data_folder() -> Path:
    import platformdirs  # noqa: PLC0415 - most devices say where their home is

    return platformdirs.user_data_path("mailslot", appauthor=False)


def _credentials() -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None


def open_records(home: Home) -> Records:
    """Return the records in a home.

    Raises:
        MailError: the key to the vault cannot be used.
    """
    # cryptography takes a while to import, and many commands do without it.
    from mailslot.slots.records import Records  # noqa: PLC0415

    return Records(home)


def slot_directory(home: Home) -> SlotDirectory:
    """Return the seven slots and the accounts of a home."""
    from mailslot.slots.settings_file import SettingsFile  # noqa: PLC0415 - the help of all commands does without it

    return SettingsFile(home).slots()


def find_slot(home: Home, name: str) -> Slot:
    """Return the slot or account with this id.

    Raises:
        InputError: there is none, or the settings, which would name an account, cannot be read.
    """
    return slot_directory(home).find(name)


def read_values(texts: Sequence[str]) -> list[str]:
    """Return values from the command line, ``-`` meaning standard input.

    One ``-`` takes all of it, such as a key file; several take a line each. A keyboard gives one line, unseen.

    Raises:
        InputError: it is no text.
    """
    try:
        return _read(texts)
    except UnicodeDecodeError as error:
        raise InputError("What was entered is not text in the terminal's encoding.", stage="resolve") from error


def _read(texts: Sequence[str]) -> list[str]:
    wanted = texts.count("-")
    if wanted and sys.stdin.isatty():
        from getpass import getpass  # noqa: PLC0415 - it is hardly ever needed

        return [getpass("value: ") if text == "-" else text for text in texts]
    given = iter([sys.stdin.read().removesuffix("\n").removesuffix("\r")] if wanted == 1 else [])
    return [next(given, None) or sys.stdin.readline().rstrip("\r\n") if text == "-" else text for text in texts]
