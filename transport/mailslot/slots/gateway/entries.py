"""Adding and removing listeners and devices. Everything here blocks: call it in a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailslot.errors import InputError
from mailslot.slots.accounts import join_names
from mailslot.slots.gateway.passwords import RECORD_PREFIX, new_password
from mailslot.slots.gateway.stored_password import FIELD, StoredPassword
from mailslot.slots.gateway.table_groups import DEVICES, LISTENERS
from mailslot.slots.slot import check_name
from mailslot.vault.errors import VaultError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from mailslot.slots.gateway.table_groups import TableGroup
    from mailslot.slots.records import Records
    from mailslot.slots.settings_file import OtherDocuments
    from mailslot.wire.secret import Secret


def find_table(records: Records, group: TableGroup, name: str) -> Mapping[str, Any]:
    """Return the values that are set for a listener or device, without defaults.

    Raises:
        InputError: there is no listener or device of this name, or the settings cannot be read.
    """
    tables = records.settings.current().groups[group.name]
    if name not in tables:
        hint = f" The {group.noun}s are: {', '.join(tables)}." if tables else ""
        raise InputError(f"There is no {group.noun} {name[:80]!r}.{hint}", stage="resolve")
    return tables[name]


def add_listener(records: Records, name: str, values: Mapping[str, object | None]) -> None:
    """Add a listener.

    Args:
        records: the home folder.
        name: its name.
        values: the values of its table, as they were entered.

    Raises:
        InputError: the name is not allowed or already in use, or a value is not allowed.
    """
    _add(records, LISTENERS, name, values)


def remove_listener(records: Records, name: str) -> None:
    """Remove a listener.

    Raises:
        InputError: there is no listener of this name, or a device is bound to it.
    """
    find_table(records, LISTENERS, name)
    devices = records.settings.current().groups[DEVICES.name]
    if bound := [device for device, values in devices.items() if values.get("listener") == name]:
        raise InputError(
            f"The listener {name} is used by {join_names(bound, 'device', 'devices')}: remove "
            f"{'it' if len(bound) == 1 else 'them'} first, or set another listener.",
            stage="resolve",
        )
    records.settings.edit({(LISTENERS.name, name): None})


def add_device(
    records: Records,
    name: str,
    values: Mapping[str, object | None],
    *,
    password: Secret | None = None,
    recoverable: bool = False,
) -> Secret | None:
    """Add a device.

    Args:
        records: the home folder.
        name: its name.
        values: the values of its table, as they were entered.
        password: the password of its user, chosen by a person; None to generate one.
        recoverable: whether the password is stored so that it can be read again, which APOP needs.

    Returns:
        the generated password, which is shown only once; None if none was generated.

    Raises:
        InputError: the name is not allowed or already in use, a value is not allowed, nothing identifies the device, or
            there is a password without a user.
        MailError: the password cannot be stored.
    """
    if values.get("user") is None:
        if password is not None or recoverable:
            raise InputError("A password belongs to a user: give the user, too.", stage="resolve", key="user")
        _add(records, DEVICES, name, values)
        return None
    _check_new(records, DEVICES, name)
    records.settings.preview({(DEVICES.name, name): values})
    shown, kept = new_password(password, recoverable=recoverable)

    def changed_files() -> AbstractContextManager[dict[str, bytes | None]]:
        return records.vault.prepare_change(f"{RECORD_PREFIX}{name}", {FIELD: kept.to_secret()})

    _add(records, DEVICES, name, values, other_documents=changed_files)
    return shown if password is None else None


def set_device_password(
    records: Records, name: str, *, password: Secret | None = None, recoverable: bool | None = None
) -> Secret | None:
    """Give a device a new password.

    Args:
        records: the home folder.
        name: the device.
        password: the password that a person chose; None to generate one.
        recoverable: as for `add_device`; None to leave it as it was.

    Returns:
        the generated password, which is shown only once; None if a person chose it.

    Raises:
        InputError: there is no such device, it has no user, or the password is not allowed.
        MailError: the password cannot be stored.
    """
    if find_table(records, DEVICES, name).get("user") is None:
        raise InputError(
            f"The device {name} does not sign in, so it has no password: give it a user first.", stage="resolve"
        )
    if recoverable is None:
        recoverable = password_kind(records, name) == "recoverable"
    shown, kept = new_password(password, recoverable=recoverable)
    try:
        records.vault.write(f"{RECORD_PREFIX}{name}", {FIELD: kept.to_secret()})
    except VaultError as error:
        if error.cause != "token_store_unreadable":
            raise
        # The old password cannot be read any more, and is not needed either.
        records.vault.delete(f"{RECORD_PREFIX}{name}")
        records.vault.write(f"{RECORD_PREFIX}{name}", {FIELD: kept.to_secret()})
    return shown if password is None else None


def remove_device(records: Records, name: str) -> None:
    """Remove a device and its password.

    Raises:
        InputError: there is no device of this name, or the settings cannot be written.
        MailError: the password cannot be removed.
    """

    def check() -> None:
        find_table(records, DEVICES, name)

    def secrets() -> AbstractContextManager[dict[str, bytes | None]]:
        return records.vault.prepare_deletion(f"{RECORD_PREFIX}{name}")

    check()
    # Together, since a new device of this name may be added with its password as soon as this one is gone.
    records.settings.edit({(DEVICES.name, name): None}, before_write=check, other_documents=secrets)


def password_kind(records: Records, name: str) -> str | None:
    """Return how a device's password is stored; None if there is none, ``"unreadable"`` if it cannot be read."""
    try:
        secret = records.vault.read(f"{RECORD_PREFIX}{name}", FIELD)
        return None if secret is None else StoredPassword.from_secret(secret).kind
    except (VaultError, ValueError):
        return "unreadable"


def _add(
    records: Records,
    group: TableGroup,
    name: str,
    values: Mapping[str, object | None],
    *,
    other_documents: OtherDocuments | None = None,
) -> None:
    _check_new(records, group, name)
    records.settings.edit(
        {(group.name, name): values},
        before_write=lambda: _check_new(records, group, name),
        other_documents=other_documents,
    )


def _check_new(records: Records, group: TableGroup, name: str) -> None:
    check_name(name, f"A {group.noun}'s name")
    if name in records.settings.current().groups[group.name]:
        raise InputError(f"There is a {group.noun} {name} already.", stage="resolve")
