"""Sessions of staff at the fleet's panel, in the database: any process of it knows them, and a restart ends none.

The id of a session is in the browser's cookie only; the database has its digest. What is known of the person, and their
ID token, is encrypted with a key that only the id gives, so that nothing of it can be read from a copy of the database.
The limits go by the database's clock, which is one for all processes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mailslot.fleet.postgres.errors import as_input_error
from mailslot.fleet.postgres.key_registry import owner_transaction
from mailslot.fleet.postgres.schema import SCHEMA

if TYPE_CHECKING:
    from mailslot.fleet.postgres.database import FleetDatabase

MOST_OF_ONE: Final = 20
"""Sessions of one person at the same time; a new one ends the one that was unused for longest."""

_VERSION: Final = b"1\0"
"""To be changed with what the document of a session contains: sessions from before an update then end."""

_NONCE_OCTETS: Final = 12
_NOTED_PARTS: Final = 10
"""That a session is used is noted when this part of its idle time has passed, and not for each request."""

_FIND: Final = f"""SELECT sealed, used_at <= now() - make_interval(secs => %(idle)s / {_NOTED_PARTS}) AS is_old
    FROM {SCHEMA}.staff_sessions WHERE digest = %(digest)s AND used_at > now() - make_interval(secs => %(idle)s)
    AND began_at > now() - make_interval(secs => %(longest)s)"""

_REMOVE: Final = """DELETE FROM staff_sessions WHERE used_at <= now() - make_interval(secs => %(idle)s)
    OR began_at <= now() - make_interval(secs => %(longest)s) OR digest IN (SELECT digest FROM staff_sessions
    WHERE subject = %(subject)s ORDER BY used_at DESC, began_at DESC, digest OFFSET %(most)s)"""

_BEGIN: Final = """INSERT INTO staff_sessions (digest, subject, name, sealed)
    VALUES (%(digest)s, %(subject)s, %(name)s, %(sealed)s)"""


class StaffSessions:
    """The sessions. Every method blocks, and may raise `InputError` if the database cannot be used.

    Args:
        database: the database, whose user owns its tables.
        realm: what the rights of staff follow from, such as the settings of the panel; a session that began with
            another one is not valid.
        idle: seconds without use after which a session ends.
        longest: seconds after which it ends in any case.
    """

    def __init__(self, database: FleetDatabase, realm: bytes, *, idle: float, longest: float) -> None:
        self._database = database
        self._realm = hashlib.sha256(_VERSION + realm).digest()
        self._limits = {"idle": idle, "longest": longest}

    def begin(self, id_: str, subject: str, name: str, document: str) -> None:
        """Begin a session, and forget those that have ended.

        Args:
            id_: its id, which is random and secret.
            subject: whose it is: the provider's id of the person.
            name: their name.
            document: what `find` is to return.
        """
        nonce = os.urandom(_NONCE_OCTETS)
        values = {
            **self._limits,
            "digest": _digest(id_),
            "subject": subject,
            "name": name,
            "sealed": nonce + AESGCM(_key(id_)).encrypt(nonce, document.encode(), self._realm),
            "most": MOST_OF_ONE - 1,
        }
        with owner_transaction(self._database) as connection:
            connection.execute(_REMOVE, values)
            connection.execute(_BEGIN, values)

    def find(self, id_: str, *, used: bool) -> str | None:
        """Return the document of a session; None if there is none with this id, or if it has ended.

        Args:
            id_: its id.
            used: whether a person uses it now.
        """
        values = {**self._limits, "digest": _digest(id_)}
        with as_input_error(), self._database.connection() as connection:
            row = connection.execute(_FIND.encode(), values).fetchone()
            if row is None:
                return None
            if used and row["is_old"]:
                connection.execute(
                    f"UPDATE {SCHEMA}.staff_sessions SET used_at = now() WHERE digest = %(digest)s".encode(), values
                )
        nonce, sealed = row["sealed"][:_NONCE_OCTETS], row["sealed"][_NONCE_OCTETS:]
        try:
            return AESGCM(_key(id_)).decrypt(nonce, sealed, self._realm).decode()
        except InvalidTag:
            return None

    def end(self, id_: str) -> None:
        """End a session, if there is one with this id."""
        with as_input_error(), self._database.connection() as connection:
            connection.execute(f"DELETE FROM {SCHEMA}.staff_sessions WHERE digest = %s".encode(), (_digest(id_),))


def end_sessions(database: FleetDatabase, person: str | None = None) -> int:
    """End the sessions of a person, by their name or the provider's id, or of everybody; return how many there were.

    Raises:
        InputError: the database cannot be used.
    """
    with owner_transaction(database) as connection:
        ended = connection.execute(
            "DELETE FROM staff_sessions WHERE %(person)s::text IS NULL OR %(person)s IN (subject, name)",
            {"person": person},
        )
        return ended.rowcount


def _digest(id_: str) -> bytes:
    """Return the digest of a random id; it needs no salt."""
    return hashlib.sha256(id_.encode()).digest()


def _key(id_: str) -> bytes:
    """Return the key of what is stored for a session; its digest does not give it."""
    return hmac.digest(id_.encode(), b"mailslot staff session", hashlib.sha256)
