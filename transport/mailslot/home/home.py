"""The interface of a home: a folder, or a device in another database. The layers above use only this protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from pathlib import Path

    from mailslot.oauth.location import Location
    from mailslot.vault.documents import Documents
    from mailslot.vault.keys import Keys
    from mailslot.vault.vault import SharedSecrets


class Home(Protocol):
    """The place of one device's settings, secrets, queue and locks."""

    @property
    def name(self) -> str:
        """Its name, as people enter it for ``--home``."""
        ...

    @property
    def folder(self) -> Path:
        """The folder for files of this machine: certificates, thumbnails, extracted documents."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether versions of documents can be read without waiting for another machine."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether any machine may do its next piece of work, so that a file on one is not there for the others."""
        ...

    @property
    def documents(self) -> Documents:
        """The settings, the secrets and other small documents."""
        ...

    @property
    def keys(self) -> Keys:
        """The keys that secrets are encrypted with."""
        ...

    @property
    def shared_secrets(self) -> SharedSecrets | None:
        """The secrets that it shares with other devices; None if it shares none."""
        ...

    def has_spool(self) -> bool:
        """Whether there is a queue already. Blocks for a moment."""
        ...

    def lock(self, name: str, *, timeout: float) -> AbstractAsyncContextManager[None]:
        """Hold a lock across tasks and processes while the block runs; it is released if its process dies.

        Args:
            name: the name of the lock.
            timeout: seconds to wait for another holder; 0 to try once.

        Raises:
            VaultError: `token_store_busy`, the timeout expired; `token_store_unwritable`, it cannot be taken.
        """
        ...

    def blocking_lock(self, name: str, *, timeout: float) -> AbstractContextManager[None]:
        """Hold such a lock for a short change, blocking the calling thread."""
        ...

    def confirm_lock(self, name: str) -> None:
        """Check that nobody can have taken a lock of `lock` that this process holds. It does not block.

        Raises:
            LostHomeError: somebody can, since this process was suspended for a while.
        """
        ...

    def is_locked(self, name: str) -> bool:
        """Whether anybody holds a lock of `lock`; also True if that is unknown. Blocks for a moment."""
        ...

    def has_workers(self) -> bool:
        """Whether workers of a fleet send and poll for it; also True if that is unknown. Blocks for a moment."""
        ...

    def locate(self, name: str) -> Location:
        """Return the location of this home, by the lock with this name (`mailslot.oauth.location`). Blocks."""
        ...
