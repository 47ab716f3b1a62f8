"""The grant store of a record: a field of the vault, with its own lock."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from mailslot.oauth.grant import Grant
from mailslot.vault.errors import LostHomeError, VaultError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mailslot.home.home import Home
    from mailslot.oauth.location import Location
    from mailslot.vault.vault import Vault
    from mailslot.wire.secret import Secret

GRANT_FIELD: Final = "grant"
"""The field of the vault that holds the grant."""

_SAVE_FOR: Final = 1800.0
_SAVE_PAUSE: Final = 1.0
"""Seconds for which it is tried to save a grant while the database is gone, and between two tries. A provider that
rotates refresh tokens has used the stored one up. Nobody else uses it meanwhile: the lock is held."""

LOCK_TIMEOUT: Final = 180.0
"""Seconds to wait for a refresh by another process; longer than any refresh takes."""


class RecordGrantStore:
    """The `mailslot.oauth.grant.GrantStore` of a record.

    Args:
        vault: the secrets of the device.
        record: the record.
        home: where they are; it has a lock for refreshing the grant, across processes.
    """

    def __init__(self, vault: Vault, record: str, home: Home) -> None:
        self._vault = vault
        self._record = record
        self._home = home
        self._task_lock = anyio.Lock()

    async def load(self) -> Grant | None:
        """Return the grant that is on disk now; None if there is none.

        Raises:
            VaultError: cause `token_store_unreadable`; nothing is changed.
        """
        return await run_sync(self.load_blocking)

    def load_blocking(self) -> Grant | None:
        """Do what `load` does, in the calling thread."""
        secret = self._vault.read(self._record, GRANT_FIELD)
        if secret is None:
            return None
        return parse_grant(secret, self._record)

    async def save(self, grant: Grant) -> None:
        """Store the grant; it is on disk once this returns. If it is kept in a database that is gone, wait for that.

        Raises:
            VaultError: it could not be written; the previous grant is unharmed.
        """
        end = anyio.current_time() + _SAVE_FOR
        while True:
            try:
                await run_sync(self._vault.write, self._record, {GRANT_FIELD: grant.to_secret()})
            except LostHomeError:
                raise
            except VaultError:
                if self._home.is_local or anyio.current_time() > end:
                    raise
                await anyio.sleep(_SAVE_PAUSE)
            else:
                return

    async def delete(self) -> None:
        """Delete the grant; if the record is damaged, delete the whole record.

        Raises:
            VaultError: it could not be deleted.
        """
        try:
            await run_sync(self._vault.write, self._record, {GRANT_FIELD: None})
        except VaultError as error:
            if error.cause != "token_store_unreadable":
                raise
            await run_sync(self._vault.delete, self._record)

    def locate(self) -> Location:
        """Return the location of this home. It blocks: call it in a thread."""
        return self._home.locate(self._record)

    def confirm_lock(self) -> None:
        """Check that nobody can have taken the lock that this process holds (`Home.confirm_lock`)."""
        self._home.confirm_lock(self._record)

    async def move_here(self) -> bool:
        """Bind the grant to this location, because a person says that the device was moved here.

        Returns:
            whether there is a grant.

        Raises:
            VaultError: it could not be read or written.
        """
        async with self.lock():
            grant = await self.load()
            if grant is None:
                return False
            await self.save(replace(grant, location=await run_sync(self.locate)))
        return True

    @asynccontextmanager
    async def lock(self) -> AsyncGenerator[None]:
        """Hold the lock for refreshing, across tasks and processes; it is released if its process dies.

        Raises:
            VaultError: `token_store_busy`, `token_store_unwritable`.
        """
        # The file lock would be enough, but with a lock in memory, tasks of this process need not poll it.
        async with self._task_lock, self._home.lock(self._record, timeout=LOCK_TIMEOUT):
            yield


def parse_grant(secret: Secret, record: str) -> Grant:
    """Return the grant that a record's secret holds.

    Raises:
        VaultError: cause `token_store_unreadable`.
    """
    try:
        return Grant.from_secret(secret)
    except ValueError:  # its text is not used, since it may quote the secret
        raise VaultError(
            f"The token of {record} was kept by another version of mailslot: delete it and obtain it again.",
            cause="token_store_unreadable",
            detail="the field opens, but holds no grant",
        ) from None
