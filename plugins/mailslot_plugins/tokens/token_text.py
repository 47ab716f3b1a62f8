"""Parses the output of other programs that provide a token: the token alone, or a JSON object."""

from __future__ import annotations

import json
from typing import Final, cast

from mailslot.oauth.token_response import parse_number
from mailslot.plugin import AccessToken, InputError, TokenError

MAX_TEXT: Final = 64 * 1024
"""The most octets of such a text."""


def parse_token(text: bytes, origin: str, *, written_at: float, now: float) -> AccessToken:
    """Return the token in a text.

    Args:
        text: a token, or a JSON object with ``access_token`` and optionally ``expires_at`` (seconds since the epoch)
            or ``expires_in`` (seconds after `written_at`).
        origin: the origin of the text for sentences, such as ``"The file /run/token"``.
        written_at: when the text was written, in seconds since the epoch.
        now: the time, likewise.

    Raises:
        TokenError: it contains no token, or an expired one.
    """
    if len(text) > MAX_TEXT:
        raise _token_error(f"{origin} holds more than 64 KiB, which is not a token.")
    stripped = text.decode("utf-8", "replace").strip()
    members: dict[str, object] = {"access_token": stripped}
    if stripped.startswith("{"):
        try:
            members = cast("dict[str, object]", json.loads(stripped))
        except (ValueError, RecursionError):
            raise _token_error(f"{origin} gives JSON that is damaged or cut off.") from None
    token, expires_at = members.get("access_token"), parse_number(members.get("expires_at"))
    if expires_at is None and (lifetime := parse_number(members.get("expires_in"))) is not None:
        expires_at = written_at + lifetime
    if not isinstance(token, str):
        raise _token_error(f'{origin} gives JSON without "access_token".')
    if not token:
        raise _token_error(f"{origin} gives no token.")
    if expires_at is not None and expires_at <= now:
        raise TokenError(
            f"{origin} gives a token that has expired; the program that renews it has not done so.",
            cause="token_source_failed",
        )
    try:
        return AccessToken(token, expires_at)
    except InputError:
        raise _token_error(f"{origin} gives something other than a token.") from None


def _token_error(sentence: str) -> TokenError:
    return TokenError(sentence, cause="token_source_failed")
