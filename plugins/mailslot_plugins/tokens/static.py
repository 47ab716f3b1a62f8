"""A constant token, for tests and one-off scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from anyio.to_thread import run_sync

from mailslot.plugin import AccessToken, InputError, Secret, StaticToken, TokenError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.plugin import TokenSource


class StoredToken:
    """Returns the token that is stored as a slot's ``client_secret``.

    Args:
        read: returns the stored token, or None if none is set; it blocks.
    """

    def __init__(self, read: Callable[[], Secret | None]) -> None:
        self._read = read

    async def token(self, *, force: bool = False) -> AccessToken:  # noqa: ARG002 - there is only one token
        """Return the stored token.

        Raises:
            TokenError: none is set.
            MailError: it cannot be read, or is not a token.
        """
        stored = await run_sync(self._read)
        if stored is None:
            raise TokenError(
                "The token source static needs the token itself: set client_secret=-, and paste it.",
                cause="token_source_failed",
            )
        return AccessToken(stored.reveal().strip())

    async def forget(self) -> None:
        """Do nothing: the token stays stored until another one is set."""


def source(settings: Mapping[str, object]) -> TokenSource:
    """Return the source for its settings.

    Args:
        settings: ``token``, a text or `Secret`; or ``secret``, a function that returns the slot's
            ``client_secret``, as given for ``token_source = "static"``.

    Raises:
        InputError: the token is missing, is not a token, or is in the settings file, where others can read it.
    """
    token, read = settings.get("token"), settings.get("secret")
    if settings.get("static"):
        raise InputError(
            "A token does not belong in the settings: set token_source=static and client_secret=- to paste it.",
            stage="token",
        )
    if isinstance(token, str | Secret):
        return StaticToken(token)
    if not callable(read):
        raise InputError("The token source static needs token, the token itself.", stage="token")
    return StoredToken(cast("Callable[[], Secret | None]", read))
