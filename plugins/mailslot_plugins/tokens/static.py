"""A token that is always the same, for tests and one-off scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.sasl.credentials import StaticToken
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping


def source(settings: Mapping[str, object]) -> StaticToken:
    """Return the source for its settings.

    Args:
        settings: ``token``, text or a `Secret`.

    Raises:
        InputError: it is missing, or no token.
    """
    token = settings.get("token")
    if not isinstance(token, str | Secret):
        raise InputError("The token source static needs token, the token itself.", stage="token")
    return StaticToken(token)
