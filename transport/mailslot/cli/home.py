"""The home folder, and values from the command line; only here is the environment read."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.slots.records import Records
    from mailslot.slots.slot import Slot, SlotDirectory


def home_folder(given: Path | None) -> Path:
    """Return the home folder: the one given, else ``MAILSLOT_HOME``, else the platform's data folder."""
    if given is not None:
        return given.absolute()
    if environment := os.environ.get("MAILSLOT_HOME"):
        return Path(environment).absolute()
    import platformdirs  # noqa: PLC0415 - most devices say where their home is

    return platformdirs.user_data_path("mailslot", appauthor=False)


def open_records(home: Path) -> Records:
    """Return the records in a home folder.

    Raises:
        MailError: the key to the vault cannot be used.
    """
    # cryptography takes a while to import, and many commands do without it.
    from mailslot.slots.records import Records  # noqa: PLC0415

    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    return Records(home, Path(credentials) if credentials else None)


def slot_directory(home: Path) -> SlotDirectory:
    """Return the seven slots and the accounts of a home folder."""
    from mailslot.slots.settings_file import SettingsFile  # noqa: PLC0415 - the help of all commands does without it

    return SettingsFile(home).slots()


def find_slot(home: Path, name: str) -> Slot:
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
