"""The stored consents: the tenants' applications, administrators' answers, and the address of the pages."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.fleet.postgres.key_registry import fleet_transaction, lock_tenant, owner_transaction
from mailslot.fleet.postgres.keys import NEWEST_FIRST

if TYPE_CHECKING:
    from mailslot.fleet.postgres.database import DeviceId, FleetDatabase, Rows
    from mailslot.fleet.postgres.shared_secrets import SealedSecret, TenantSecrets
    from mailslot.oauth.admin_consent import AdminConsentAnswer

# The applications may be able to get tokens for themselves now.
_PLAN_ALL = "SELECT hasten(tenant, id, '', 'plan', now()) FROM devices WHERE tenant = %s"
_RENEW_ALL = (
    "UPDATE tasks SET due_at = least(due_at, now()), wake_at = least(wake_at, now()) "
    "WHERE tenant = %s AND kind = 'renew' AND failures > 0"
)


@dataclass(frozen=True, slots=True)
class StoredConsent:
    """The state of a consent of a tenant's administrator at a provider.

    Attributes:
        tenant: the name of the tenant.
        provider: the id of the provider.
        asked_at: when the latest address was created, in seconds since 1970.
        answered_at: when its answer came; None without one.
        granted: whether there is consent; None without an answer.
        directory: the provider's id of the organisation; None if unknown.
        cause: the cause if consent was refused; otherwise None.
        sentence: the sentence of the cause.
    """

    tenant: str
    provider: str
    asked_at: float
    answered_at: float | None
    granted: bool | None
    directory: str | None
    cause: str | None
    sentence: str


class Consents:
    """The stored consents. Every method blocks, and may raise `InputError`.

    All but `address`, `devices` and `note_answer` need the user who owns the tables.

    Args:
        database: the database.
    """

    def __init__(self, database: FleetDatabase) -> None:
        self._database = database

    def address(self) -> str | None:
        """Return the https address of the pages for owners and administrators; None if it is not set."""
        with fleet_transaction(self._database) as connection:
            row = connection.execute("SELECT consent_address FROM schema_version").fetchone()
        return None if row is None else row["consent_address"]

    def set_address(self, address: str) -> None:
        """Set the address of the pages."""
        with owner_transaction(self._database) as connection:
            connection.execute("UPDATE schema_version SET consent_address = %s", (address,))

    def devices(self, tenant: str) -> list[str]:
        """Return the names of the devices of a tenant."""
        query = (
            "SELECT devices.name FROM devices JOIN tenants ON tenants.id = devices.tenant WHERE tenants.name = %s "
            "ORDER BY devices.name"
        )
        with fleet_transaction(self._database) as connection:
            return [row["name"] for row in connection.execute(query, (tenant,))]

    def share(self, tenant: str, name: str, sealed: SealedSecret | None) -> bool:
        """Store a secret that a tenant's devices share (`mailslot.fleet.postgres.shared_secrets`); None removes it.

        Returns:
            False if it was not stored, since the tenant has a newer data key than the one that encrypted it.
        """
        with owner_transaction(self._database) as connection:
            # The lock prevents keys from being added or deleted until it is stored.
            number = lock_tenant(connection, tenant)
            if sealed is not None:
                query = f"SELECT id FROM data_keys WHERE tenant = %s {NEWEST_FIRST} LIMIT 1"
                newest = connection.execute(query.encode(), (number,)).fetchone()
                if newest is None or newest["id"] != sealed.key:
                    return False
            connection.execute("DELETE FROM shared_secrets WHERE tenant = %s AND name = %s", (number, name))
            if sealed is not None:
                connection.execute(
                    "INSERT INTO shared_secrets (tenant, name, key, octets) VALUES (%s, %s, %s, %s)",
                    (number, name, *sealed),
                )
            connection.execute(_PLAN_ALL, (number,))
            return True

    def reseal(self, device: DeviceId, secrets: TenantSecrets) -> int:
        """Re-encrypt the secrets that a tenant's devices share with its newest key; return how many had another one.

        Args:
            device: one of these devices.
            secrets: the secrets that it shares with the others.

        Raises:
            MailError: one cannot be read or written; the others so far are re-encrypted.
        """
        count = 0
        for name in self.shared(device.tenant_name):
            value = secrets.read(name)
            if value is None:
                continue
            sealed = secrets.sealed(name, value)
            with owner_transaction(self._database) as connection:
                # If it is set meanwhile, it is encrypted with the newest key (`share`).
                changed = connection.execute(
                    "UPDATE shared_secrets SET key = %(key)s, octets = %(octets)s WHERE tenant = %(tenant)s "
                    "AND name = %(name)s AND key <> %(key)s",
                    {"tenant": device.tenant, "name": name, "key": sealed.key, "octets": sealed.octets},
                )
                count += changed.rowcount
        return count

    def shared(self, tenant: str) -> list[str]:
        """Return the names of the secrets that the devices of a tenant share."""
        with owner_transaction(self._database) as connection:
            number = _number(connection, tenant)
            query = "SELECT name FROM shared_secrets WHERE tenant = %s ORDER BY name"
            return [row["name"] for row in connection.execute(query, (number,))]

    def ask(self, tenant: str, provider: str, state: str) -> None:
        """Record a request for consent; it invalidates the previous address."""
        with owner_transaction(self._database) as connection:
            connection.execute(
                "INSERT INTO admin_consents (tenant, provider, state) VALUES (%(tenant)s, %(provider)s, %(state)s) "
                "ON CONFLICT (tenant, provider) DO UPDATE SET state = excluded.state, asked_at = now(), "
                "answered_at = NULL, granted = NULL, directory = NULL, cause = NULL, sentence = ''",
                {"tenant": _number(connection, tenant), "provider": provider, "state": _digest(state)},
            )

    def note_answer(self, answer: AdminConsentAnswer) -> StoredConsent | None:
        """Store an administrator's answer; return the consent's state, or None if no request has this state value."""
        error = answer.error
        with fleet_transaction(self._database) as connection:
            row = connection.execute(
                "UPDATE admin_consents SET answered_at = now(), granted = %s, directory = %s, cause = %s, "
                "sentence = %s WHERE state = %s RETURNING tenant, provider",
                (
                    error is None,
                    answer.tenant,
                    None if error is None else error.cause,
                    "" if error is None else str(error),
                    _digest(answer.state),
                ),
            ).fetchone()
            if row is None:
                return None
            if error is None:
                connection.execute(_RENEW_ALL, (row["tenant"],))
            return _find(connection, row["tenant"], row["provider"])

    def find(self, tenant: str, provider: str) -> StoredConsent | None:
        """Return the state of a consent; None if it was never requested."""
        with owner_transaction(self._database) as connection:
            return _find(connection, _number(connection, tenant), provider)


def _find(connection: Rows, tenant: int, provider: str) -> StoredConsent | None:
    query = (
        "SELECT tenants.name AS tenant, provider, extract(epoch FROM asked_at)::double precision AS asked_at, "
        "extract(epoch FROM answered_at)::double precision AS answered_at, granted, directory, cause, sentence "
        "FROM admin_consents JOIN tenants ON tenants.id = tenant WHERE tenant = %s AND provider = %s"
    )
    row = connection.execute(query, (tenant, provider)).fetchone()
    return None if row is None else StoredConsent(**row)


def _number(connection: Rows, tenant: str) -> int:
    row = connection.execute("SELECT id FROM tenants WHERE name = %s", (tenant,)).fetchone()
    if row is None:
        raise InputError(
            f"There is no tenant {tenant}: add its first device by mailslot fleet add {tenant}/DEVICE.",
            stage="resolve",
        )
    return int(row["id"])


def _digest(state: str) -> bytes:
    """Return the digest of a random state; it needs no salt."""
    return hashlib.sha256(state.encode("utf-8", "replace")).digest()
