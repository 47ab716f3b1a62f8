"""A grant that could not be saved, kept in memory until it can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailslot.errors import MailError
    from mailslot.oauth.grant import Grant


@dataclass(frozen=True, slots=True)
class UnsavedGrant:
    """A grant that could not be saved.

    Attributes:
        stored: the grant that is stored instead.
        grant: the grant that should be stored.
        error: why it could not be saved.
    """

    stored: Grant | None
    grant: Grant
    error: MailError

    def is_newer_than(self, stored: Grant | None) -> bool:
        """Whether the stored grant is still the one that this one replaces, apart from its `failure`.

        Otherwise another process has refreshed, obtained or deleted the token in the meantime.
        """
        if stored is None or self.stored is None:
            return False
        return (stored.access_token, stored.refresh_token) == (self.stored.access_token, self.stored.refresh_token)
