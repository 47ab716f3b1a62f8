"""Changes of listeners and devices by the pages and the API, with a check of the permission.

Everything here blocks: call it in a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.slots.gateway.entries import (
    add_device,
    add_listener,
    find_table,
    remove_device,
    remove_listener,
    set_device_password,
)
from mailslot.slots.gateway.table_groups import DEVICES, LISTENERS
from mailslot.slots.permission import NotPermittedError, check_permission

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mailslot.slots.gateway.table_groups import TableGroup
    from mailslot.slots.keys import SetterRole
    from mailslot.slots.records import Records
    from mailslot.wire.secret import Secret

_PASSWORD: Final = "password"  # noqa: S105 - the name of a field


def new_device(
    records: Records,
    name: str,
    values: Mapping[str, object | None],
    *,
    password: Secret | None = None,
    recoverable: bool = False,
    by: SetterRole,
) -> Secret | None:
    """Add a device; see `mailslot.slots.gateway.entries.add_device`.

    Raises:
        NotPermittedError: `by` may not.
        InputError: as for that.
    """
    _check(DEVICES, name, values, {}, by, how="with mailslot device add")
    return add_device(records, name, values, password=password, recoverable=recoverable)


def change_device(records: Records, name: str, values: Mapping[str, object | None], *, by: SetterRole) -> None:
    """Change settings of a device; None unsets a setting.

    Raises:
        NotPermittedError: `by` may not.
        InputError: there is no such device, or a value is not allowed.
    """

    def check() -> None:
        _check(DEVICES, name, values, find_table(records, DEVICES, name), by, how="in mailslot.toml")

    check()
    # Somebody may have changed or removed it meanwhile.
    records.settings.edit({(DEVICES.name, name): values}, before_write=check)


def new_password(records: Records, name: str, *, password: Secret | None = None, by: SetterRole) -> Secret | None:
    """Give a device a new password; see `mailslot.slots.gateway.entries.set_device_password`.

    Raises:
        NotPermittedError: `by` may not.
        InputError: as for that.
    """
    if by == "api_key":
        raise NotPermittedError(
            f"device {name}", _PASSWORD, "administrator", how=f"with mailslot device password {name}"
        )
    return set_device_password(records, name, password=password)


def delete_device(records: Records, name: str, *, by: SetterRole) -> None:
    """Remove a device.

    Raises:
        NotPermittedError: `by` may not.
        InputError: there is none of this name.
    """
    before = find_table(records, DEVICES, name)
    _check(DEVICES, name, dict.fromkeys(before), before, by, how="with mailslot device remove")
    remove_device(records, name)


def new_listener(records: Records, name: str, values: Mapping[str, object | None], *, by: SetterRole) -> None:
    """Add a listener.

    Raises:
        NotPermittedError: `by` may not.
        InputError: as for `mailslot.slots.gateway.entries.add_listener`.
    """
    _check(LISTENERS, name, values, {}, by, how="with mailslot listener add")
    add_listener(records, name, values)


def delete_listener(records: Records, name: str, *, by: SetterRole) -> None:
    """Remove a listener.

    Raises:
        NotPermittedError: `by` may not.
        InputError: there is none of this name, or a device is bound to it.
    """
    before = find_table(records, LISTENERS, name)
    _check(LISTENERS, name, dict.fromkeys(before), before, by, how="with mailslot listener remove")
    remove_listener(records, name)


def _check(
    group: TableGroup,
    name: str,
    values: Mapping[str, object | None],
    before: Mapping[str, Any],
    by: SetterRole,
    *,
    how: str,
) -> None:
    check_permission(group.keys, values, before, by, f"{group.noun} {name[:40]}", how=how)
