"""The claims of a token that is a JWT, which are read but not trusted.

Nothing is verified here, since the mail server does that. The claims only show which of several possible causes a
refusal had, and who signed in.
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from mailslot.oauth import response_body
from mailslot.oauth.resources import name_resource, resources
from mailslot.oauth.token_errors import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.oauth.providers import Service
    from mailslot.wire.secret import Secret

MAX_TOKEN: Final = 64 * 1024
"""The maximum characters of a token that is decoded."""

OPENID_SCOPES: Final = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
"""Scopes that do not belong to a mail service (OpenID Connect Core sections 5.4 and 11)."""

# The claims that name the user, the most specific first; `sub`, the only one in RFC 9068, is not a readable name.
_USER_CLAIMS: Final = ("upn", "preferred_username", "email", "unique_name", "username")


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token; missing ones are empty or None.

    Attributes:
        issuer: ``iss``.
        audience: ``aud`` (RFC 7519 section 4.1.3).
        scopes: ``scope`` (RFC 9068 section 2.2.3) or Entra's ``scp``.
        roles: Entra's ``roles``: the permissions of an application that signs in as itself.
        users: names of the user who signed in, the most specific first.
        tenant: Entra's ``tid``.
        application: ``client_id`` (RFC 9068 section 2.2), ``azp`` or Entra's ``appid``.
        expires_at: ``exp``, in seconds since the epoch.
        not_before: ``nbf``, in seconds since the epoch.
        issued_at: ``iat``, in seconds since the epoch.
    """

    issuer: str | None = None
    audience: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    tenant: str | None = None
    application: str | None = None
    expires_at: float | None = None
    not_before: float | None = None
    issued_at: float | None = None

    def user(self, account: str = "") -> str | None:
        """Return who signed in: `account` if it is one of the names, else an address, else any name."""
        by_rank = sorted(self.users, key=lambda name: (name.casefold() != account.casefold(), "@" not in name))
        return by_rank[0] if by_rank else None


class TokenMismatch(NamedTuple):
    """A mismatch between a token and its use.

    Attributes:
        cause: the id of its cause.
        sentence: for the person.
    """

    cause: str
    sentence: str


def decode_claims(token: Secret | str | None) -> dict[str, object] | None:
    """Return all claims of a token; None if it is not a readable JWT."""
    text = token if isinstance(token, str) else "" if token is None else token.reveal()
    parts = text.split(".") if len(text) <= MAX_TOKEN else []
    if len(parts) != 3:
        return None
    try:
        octets = base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return response_body.parse_json_object(octets)


def parse_claims(token: Secret | str | None) -> Claims | None:
    """Return the claims of a token that are used here; None if it is not a readable JWT."""
    members = decode_claims(token)
    if members is None:
        return None
    return Claims(
        issuer=_text(members.get("iss")),
        audience=_texts(members.get("aud")),
        scopes=tuple(scope for text in _texts(members.get("scp", members.get("scope"))) for scope in text.split()),
        roles=_texts(members.get("roles")),
        users=tuple(dict.fromkeys(name for key in _USER_CLAIMS if (name := _text(members.get(key))))),
        tenant=_text(members.get("tid")),
        application=next(filter(None, map(_text, map(members.get, ("client_id", "azp", "appid")))), None),
        expires_at=_time(members.get("exp")),
        not_before=_time(members.get("nbf")),
        issued_at=_time(members.get("iat")),
    )


def missing_scopes(needed: Iterable[str], granted: Iterable[str]) -> tuple[str, ...]:
    """Return the scopes of `needed` that are not in `granted`.

    Scopes also match by their last segment, since Entra names a permission with or without its resource. The scopes of
    OpenID, and ``.default``, never count as missing.
    """
    have = {part.casefold() for scope in granted for part in (scope, _last_segment(scope))}
    return tuple(
        scope
        for scope in needed
        if scope not in OPENID_SCOPES
        and _last_segment(scope) != ".default"
        and not have & {scope.casefold(), _last_segment(scope).casefold()}
    )


def find_mismatch(
    token: Secret | str, *, account: str, service: Service, scopes: Iterable[str]
) -> TokenMismatch | None:
    """Return why a mail server may have refused a token, as far as the claims show it.

    Call it only after a refusal: for an alias or a shared mailbox, a token is accepted though the account is not the
    user.

    Args:
        token: the access token.
        account: the mailbox that it was used for.
        service: the mail service that it was used at.
        scopes: the scopes that are needed there.

    Returns:
        the mismatch; None if there is none, or the token does not show one.
    """
    claims = parse_claims(token)
    if claims is None:
        return None
    other = other_resource(claims, service)
    if other is not None:
        return TokenMismatch("token_for_other_service", f"The token is for {other}, not for this mail service.")
    if not claims.scopes and (claims.roles or not claims.users):
        return _app_mismatch(claims, service)
    missing = missing_scopes(scopes, claims.scopes) if claims.scopes else ()
    if missing:
        return TokenMismatch("token_for_other_service", f"The token does not bear the permission {missing[0]}.")
    names = [name for name in claims.users if "@" in name]
    if "@" in account and names and account.casefold() not in map(str.casefold, names):
        return TokenMismatch("account_mismatch", f"The token belongs to {shorten(names[0], 80)}, not to {account}.")
    return None


def other_resource(claims: Claims, service: Service) -> str | None:
    """Return the name of the other service that a token is for; None if it is for this one, or unknown."""
    if service.resource is None or not claims.audience:
        return None
    own = resources()[service.resource]
    if any(map(own.is_named_by, claims.audience)):
        return None
    return shorten(name_resource(claims.audience[0]), 80)


def _app_mismatch(claims: Claims, service: Service) -> TokenMismatch | None:
    """Check the token of an application that signed in as itself: its permissions are roles, not scopes."""
    if not service.app_roles or set(service.app_roles) & set(claims.roles):
        return None
    return TokenMismatch(
        "consent_missing", f"The application has not been given the permission {service.app_roles[0]}."
    )


def _last_segment(scope: str) -> str:
    return scope.rstrip("/").rpartition("/")[2] if scope.startswith("https://") else scope


def _text(value: object) -> str | None:
    return shorten(value, 255) or None


def _texts(value: object) -> tuple[str, ...]:
    """Return the strings of a string or a list of strings (RFC 7519 section 4.1.3 allows both)."""
    found = cast("list[object]", value)[:64] if isinstance(value, list) else [value]
    return tuple(text for text in (shorten(one, 4096) for one in found) if text)


def _time(value: object) -> float | None:
    """Return a NumericDate (RFC 7519 section 2) if it is in a plausible range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value) if 0 <= value < 1e11 else None
