"""Secrets that all devices of a tenant share, such as its application's. A device's work may only read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mailslot.fleet.postgres.errors import DatabaseError
from mailslot.vault.errors import unreadable_error
from mailslot.vault.record import dump, parse, seal, unseal

if TYPE_CHECKING:
    from mailslot.fleet.postgres.documents import PostgresDocuments
    from mailslot.fleet.postgres.keys import TenantKeys
    from mailslot.wire.secret import Secret

_FIELD: Final = "shared"


class SealedSecret(NamedTuple):
    """A shared secret as it is stored.

    Attributes:
        key: the id of the data key that it is encrypted with.
        octets: the secret, encrypted.
    """

    key: str
    octets: bytes


class TenantSecrets:
    """The shared secrets of the tenant of a device; see `mailslot.vault.vault.SharedSecrets`.

    Args:
        documents: the documents of the device, in whose transactions these are read.
        keys: the keys of the tenant.
        tenant: the name of the tenant, which is bound to each value.
    """

    def __init__(self, documents: PostgresDocuments, keys: TenantKeys, tenant: str) -> None:
        self._documents = documents
        self._keys = keys
        self._scope = (tenant,)

    def read(self, name: str) -> Secret | None:
        """Return a secret; None if there is none.

        Raises:
            VaultError: it cannot be read.
        """
        query = "SELECT octets FROM shared_secrets WHERE tenant = %(tenant)s AND name = %(name)s"
        try:
            octets: bytes | None = self._documents.ask(lambda rows: rows.value(query, name=name))
        except DatabaseError as error:
            raise unreadable_error(
                f"The application of {self._scope[0]} cannot be read: {error.strerror}.", str(error.filename)
            ) from error
        if octets is None:
            return None
        try:
            sealed = parse(octets)[_FIELD]
            key = self._keys.find(sealed.key)
            if key is None:
                raise ValueError(f"there is no key {sealed.key}")
            return unseal(sealed, key, name, _FIELD, self._scope)
        except (KeyError, ValueError) as error:
            sentence = f"The application of {self._scope[0]} cannot be read: set it again."
            raise unreadable_error(sentence, str(error)) from None

    def sealed(self, name: str, value: Secret) -> SealedSecret:
        """Return a secret in the form that `mailslot.fleet.postgres.consents.Consents.share` stores.

        Raises:
            VaultError: the tenant's key cannot be used.
        """
        key = self._keys.newest()
        return SealedSecret(key.id, dump({_FIELD: seal(value, key, name, _FIELD, self._scope)}))
