"""The home, and values from the command line; the only module that reads the environment."""

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


def check_user(home: Home) -> None:
    """Refuse to run as root in a home folder where mailslot runs as another user, such as the service's.

    Raises:
        InputError: that user could not read what root writes there.
    """
    if not home.is_local or os.geteuid() != 0:
        return
    from mailslot.home.folder import user_of  # noqa: PLC0415 - as above

    if not (user := user_of(Path(home.name))):
        return
    import pwd  # noqa: PLC0415 - rarely needed, as is shlex
    import shlex  # noqa: PLC0415

    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = f"#{user}"
    command = shlex.join(["sudo", "-u", name, "mailslot", "--home", home.name])
    raise InputError(
        f"In {home.name} mailslot runs as {name}, who could not read what root writes there. Run the command as that "
        f"user: {command} …",
        stage="resolve",
    )


def fleet_places() -> FleetPlaces:
    """Return this machine's files for fleets.

    The master key is the file or address ``MAILSLOT_MASTER_KEY``, else the service manager's credential
    ``mailslot.master-key``, else a file in the platform's data folder. The one before is ``MAILSLOT_OLD_MASTER_KEY``.
    The token for a key service is the file ``MAILSLOT_MASTER_KEY_TOKEN_FILE``, else the credential
    ``mailslot.master-key-token``; ``MAILSLOT_MASTER_KEY_CA_FILE`` is a file of authorities.
    """
    from mailslot.fleet.opening import FleetPlaces  # noqa: PLC0415 - devices do without it

    folder = _data_folder() / "fleet"
    entered, provided = os.environ.get("MAILSLOT_MASTER_KEY"), _credential("mailslot.master-key")
    old = os.environ.get("MAILSLOT_OLD_MASTER_KEY")
    return FleetPlaces(
        folder,
        _file_or_address(entered) if entered else provided or folder / "master.key",
        is_provided=not entered and provided is not None,
        old_master_key=_file_or_address(old) if old else None,
        token_file=_entered_file("MAILSLOT_MASTER_KEY_TOKEN_FILE") or _credential("mailslot.master-key-token"),
        ca_file=_entered_file("MAILSLOT_MASTER_KEY_CA_FILE"),
    )


def _file_or_address(entered: str) -> Path | str:
    return entered if "://" in entered else Path(entered).absolute()


def _entered_file(name: str) -> Path | None:
    entered = os.environ.get(name)
    return Path(entered).absolute() if entered else None


def _credential(name: str) -> Path | None:
    """Return a credential of the service manager; None if it provides none of this name."""
    folder = _credentials()
    return folder / name if folder is not None and (folder / name).exists() else None


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

    One ``-`` takes all of it, such as a key file; several take a line each. On a terminal, a line is read without echo.

    Raises:
        InputError: it is not a text.
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
