"""A grant that the disk did not take, kept in memory until it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailslot.errors import MailError
    from mailslot.oauth.grant import Grant


@dataclass(frozen=True, slots=True)
class UnsavedGrant:
    """What the disk did not take.

    Attributes:
        over: what it holds instead.
        grant: what it should hold.
        error: why it does not.
    """

    stored: Grant | None
    grant: Grant
    error: MailError

    def is_newer_than(self, stored: Grant | None) -> bool:
        """Whether the disk still holds what this came of, though another may have noted a failure there.

        Otherwise another has renewed, obtained or deleted the token since.
        """
        if stored is None or self.stored is None:
            return False
        return (stored.access_token, stored.refresh_token) == (self.stored.access_token, self.stored.refresh_token)
