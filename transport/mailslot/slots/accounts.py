"""Accounts: further records besides those of the seven slots, which people add and remove (design, section 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.slots.grant_store import GRANT_FIELD
from mailslot.slots.settings import Settings, protocol_text
from mailslot.slots.slot import ACCOUNT_PREFIX, account_slot, check_name
from mailslot.vault.errors import VaultError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mailslot.slots.records import Records
    from mailslot.slots.settings_document import CurrentSettings
    from mailslot.slots.slot import Protocol, Slot


_CHECK_INTERVAL: Final = 5
"""Minutes between two checks for mail, at first."""


def account_record(name: str) -> str:
    """Return the name of an account's record; its slot has the same id.

    Args:
        name: the account's name, with or without the prefix ``account.``.

    Raises:
        InputError: the name is not allowed.
    """
    name = name.removeprefix(ACCOUNT_PREFIX)
    check_name(name, "An account's name")
    return f"{ACCOUNT_PREFIX}{name}"


def add_account(records: Records, name: str, protocol: Protocol) -> Slot:
    """Add an account and return its slot. It has no settings yet, but one that fetches is checked for mail. It blocks.

    Raises:
        InputError: the name is not allowed or already in use, or the settings cannot be written.
    """
    record = account_record(name)
    file = records.settings

    def check_absence() -> None:
        if record in file.load_for_change():
            raise InputError(f"There is an account {record} already.", stage="resolve")

    check_absence()
    values: dict[str, object | None] = {"protocol": protocol_text(protocol)}
    if protocol == "POP":
        # Nobody sits at the gateway to check by hand.
        values["check_interval"] = _CHECK_INTERVAL
    file.edit({("records", record): values}, before_write=check_absence)
    return account_slot(record, protocol)


def find_account(records: Records, name: str) -> Slot:
    """Return the slot of an account. It blocks.

    Raises:
        InputError: there is no such account, or the settings cannot be read.
    """
    record, directory = account_record(name), records.settings.slots()
    if directory.fault is not None:
        raise directory.fault
    if record not in directory.accounts:
        hint = f" The accounts are: {', '.join(directory.accounts)}." if directory.accounts else ""
        raise InputError(f"There is no account {record}.{hint}", stage="resolve")
    return account_slot(record, directory.accounts[record])


def check_unused(settings: CurrentSettings, slot: Slot) -> None:
    """Raise if something still refers to an account, so that it cannot be removed.

    Raises:
        InputError: a device uses the account, or a slot uses it for POP before SMTP.
    """
    devices = [name for name, values in settings.groups["devices"].items() if values.get("via") == slot.id]
    if devices:
        raise InputError(
            f"{slot.id} is used by {join_names(devices, 'device', 'devices')}: remove "
            f"{'it' if len(devices) == 1 else 'them'} first, or set via to another account.",
            stage="resolve",
        )
    slots = [each.id for each in settings.slots.slots if settings.records[each.record].pop_slot == slot.id]
    if slots:
        raise InputError(
            f"{slot.id} is used for POP before SMTP by {' and '.join(slots)}: set pop_slot to another one first.",
            stage="resolve",
        )


async def remove_account(records: Records, slot: Slot) -> str:
    """Remove an account with its settings, secrets and token; the token is also revoked at the provider if possible.

    Returns:
        a sentence about the revocation of the token; empty if there was no token.

    Raises:
        InputError: something still refers to the account, so nothing was changed; or the settings cannot be written.
        MailError: the token or the secrets cannot be deleted.
    """
    current = await run_sync(records.settings.current)
    check_unused(current, slot)
    kept = await run_sync(_secret_names, records, slot.record)
    revocation = await records.tokens.delete(slot.record, current.records.get(slot.record, Settings()))
    await run_sync(_remove, records, slot.record)
    return revocation.sentence if GRANT_FIELD in kept else ""


def _secret_names(records: Records, record: str) -> frozenset[str]:
    """Return the names of a record's secrets; a damaged record is deleted and has none."""
    try:
        return records.vault.fields(record)
    except VaultError as error:
        if error.cause != "token_store_unreadable":
            raise
        records.vault.delete(record)
        return frozenset()


def _remove(records: Records, record: str) -> None:
    def secrets() -> AbstractContextManager[dict[str, bytes | None]]:
        return records.vault.prepare_change(record, dict.fromkeys(_secret_names(records, record)))

    records.settings.edit({("records", record): None}, other_documents=secrets)


def join_names(names: list[str], one: str, several: str) -> str:
    """Return names for a sentence, such as ``the device a`` or ``the devices a and b``."""
    return f"the {one} {names[0]}" if len(names) == 1 else f"the {several} {', '.join(names[:-1])} and {names[-1]}"
