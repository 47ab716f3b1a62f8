"""Key rotation: wrapping all data keys with another master key, and giving a tenant another data key.

Each step is a transaction, after which every secret can be read. A process that is killed between two steps leaves
nothing to repair: the same command continues where it was stopped. Workers may run meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import InputError, MailError
from mailslot.fleet.postgres.consents import Consents
from mailslot.fleet.postgres.documents import PostgresDocuments
from mailslot.fleet.postgres.key_registry import KeyRegistry
from mailslot.fleet.postgres.keys import key_context, new_data_key
from mailslot.fleet.postgres.leases import HeldLeases
from mailslot.fleet.postgres.shared_secrets import TenantSecrets
from mailslot.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.fleet.master_key import MasterKey
    from mailslot.fleet.postgres.database import DeviceId, FleetDatabase
    from mailslot.fleet.postgres.key_registry import DataKey


def rewrap_keys(database: FleetDatabase, master: MasterKey, on_step: Callable[[str], None] = lambda _: None) -> int:
    """Wrap all data keys with the newest master key; return the number of those that were wrapped by another one.

    Args:
        database: the database, whose user owns its tables.
        master: the newest master key and the old ones.
        on_step: called after each step with what was done.

    Raises:
        MailError: a key cannot be unwrapped, while all others were wrapped; or the master key cannot be used.
    """
    registry, newest = KeyRegistry(database), master.newest()
    failures: list[MailError] = []
    count = 0
    for key in registry.all():
        if key.wrapped.master == newest:
            continue
        try:
            count += _rewrap(registry, key, master)
        except MailError as error:
            if error.retryable:
                raise
            failures.append(error)
        else:
            on_step(f"{key.tenant} {key.id}")
    if failures:
        raise failures[0]
    return count


def _rewrap(registry: KeyRegistry, key: DataKey, master: MasterKey) -> bool:
    context = key_context(key.tenant)
    octets = master.unwrap(key.wrapped, context)
    fresh = master.wrap(octets, context)
    if master.unwrap(fresh, context) != octets:
        raise InputError(
            f"The new master key does not return the key of {key.tenant} that it has wrapped: nothing was changed.",
            stage="token",
            cause="token_store_unreadable",
        )
    return registry.replace(key, fresh)


def rotate_tenant_key(
    database: FleetDatabase, tenant: str, master: MasterKey, on_step: Callable[[str], None] = lambda _: None
) -> int:
    """Re-encrypt all secrets of a tenant with a new data key, and delete the old one.

    If a tenant has two keys, an earlier rotation is continued with the newest. Secrets that cannot be read are left
    unchanged; then no key is deleted.

    Args:
        database: the database, whose user owns its tables.
        tenant: the name of the tenant.
        master: the master key.
        on_step: called after each step with what was done.

    Returns:
        the number of secrets that were re-encrypted.

    Raises:
        MailError: there is no such tenant, or a secret or key cannot be used.
    """
    registry = KeyRegistry(database)
    keys = registry.all(tenant)
    if not keys:
        raise InputError(f"There is no tenant {tenant} in the fleet.", stage="resolve")
    if len(keys) == 1 and registry.add(tenant, *new_data_key(master, tenant)):
        on_step("a key was added")
    # Another command may add a newer key meanwhile, and then needs this one until it has finished.
    newest = registry.all(tenant)[0]
    count = _reencrypt(database, tenant, master, on_step)
    if not registry.drop_older(tenant, newest.id):
        raise InputError(
            f"Some secrets of {tenant} need the old key yet: run mailslot fleet rotate-key {tenant} again.",
            stage="token",
        )
    on_step("the old key was dropped")
    return count


def _reencrypt(database: FleetDatabase, tenant: str, master: MasterKey, on_step: Callable[[str], None]) -> int:
    """Re-encrypt the secrets of all devices of a tenant with its newest key; return the number that had another one.

    A device that is added meanwhile has the newest key.

    Raises:
        MailError: the first error; secrets of other devices are re-encrypted nevertheless, unless the key or the
            database cannot be used at the moment.
    """
    registry = KeyRegistry(database)
    failures: list[MailError] = []
    count = 0
    for number, device in enumerate(registry.devices(tenant)):
        documents = _documents(database, device, master)
        try:
            count += Vault(documents, documents.keys).rotate()
            if number == 0:
                shared = TenantSecrets(documents, documents.keys, tenant)
                count += Consents(database).reseal(device, shared)
        except MailError as error:
            if device not in registry.devices(tenant):
                continue  # It was removed meanwhile.
            if error.retryable:
                raise
            failures.append(error)
        else:
            on_step(str(device))
    if failures:
        raise failures[0]
    return count


def _documents(database: FleetDatabase, device: DeviceId, master: MasterKey) -> PostgresDocuments:
    return PostgresDocuments(database, device, HeldLeases(database, device), master)
