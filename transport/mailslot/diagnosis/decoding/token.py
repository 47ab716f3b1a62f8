"""Describes a token: the claims of a JWT, or what the beginning of an opaque token shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mailslot.diagnosis.decoding.shapes import find_shape
from mailslot.oauth.claims import decode_claims, missing_scopes, parse_claims
from mailslot.oauth.presets import presets
from mailslot.oauth.resources import find_resource, name_resource
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from mailslot.diagnosis.decoding.findings import Piece
    from mailslot.oauth.claims import Claims
    from mailslot.oauth.providers import Provider

_ACCESS_TOKENS: Final = ("access_token", "access_or_refresh_token")
_PROTOCOLS: Final = ("smtp", "pop", "imap")
_ID_TOKEN_CLAIMS: Final = ("nonce", "at_hash", "c_hash")
_MICROSOFT: Final = re.compile(
    r"https://(?:sts\.windows\.net|login\.microsoftonline\.(?:com|us)|sts\.chinacloudapi\.cn)/"
)


def is_token(text: str) -> bool:
    """Return whether a text looks like a token of a known kind."""
    return find_shape(text) is not None or (text.startswith("eyJ") and text.count(".") in {1, 2, 4})


def describe_token(piece: Piece, token: str, now: float, *, user: str = "", used_as_access_token: bool = False) -> None:
    """Add the description of a token.

    Args:
        piece: gets the findings.
        token: the token.
        now: the time, in seconds since the epoch.
        user: the user that the client signs in, for comparison; empty if not known.
        used_as_access_token: whether a client sends it to a mail server.
    """
    piece.hide(token)
    claims = parse_claims(token)
    if claims is not None:
        _describe_claims(piece, claims, decode_claims(token) or {}, now, used_as_access_token=used_as_access_token)
        names = [name for name in claims.users if "@" in name]
        if "@" in user and names and user.casefold() not in map(str.casefold, names):
            piece.add("user_differs", user=user, token_user=names[0])
        return
    shape = find_shape(token)
    if shape is not None:
        piece.add(shape.kind, provider=shape.provider)
        if used_as_access_token and shape.kind not in _ACCESS_TOKENS:
            piece.add("not_an_access_token")
    elif token.startswith("eyJ") and token.count(".") == 4:
        piece.add("encrypted_token")
    elif token.startswith("eyJ"):
        piece.add("damaged_jwt")
    else:
        piece.add("opaque_token")


def _describe_claims(
    piece: Piece, claims: Claims, members: dict[str, Any], now: float, *, used_as_access_token: bool
) -> None:
    permitted = bool(claims.scopes or claims.roles)
    is_id_token = not permitted and (
        any(name in members for name in _ID_TOKEN_CLAIMS) or (claims.application or "-") in claims.audience
    )
    piece.add("id_token" if is_id_token else "jwt")
    if is_id_token and used_as_access_token:
        piece.add("not_an_access_token")
    _describe_parties(piece, claims, members)
    if claims.scopes:
        piece.add("scopes", scopes=list(claims.scopes))
    if claims.roles:
        piece.add("roles", roles=list(claims.roles))
    if not is_id_token:
        _describe_mail_permissions(piece, claims, permitted=permitted)
    _describe_times(piece, claims, now)


def _describe_parties(piece: Piece, claims: Claims, members: dict[str, Any]) -> None:
    """Add its issuer, its user and its audience."""
    if claims.issuer:
        piece.add("issuer", issuer=claims.issuer)
        if _MICROSOFT.match(claims.issuer) and members.get("ver") in {"1.0", "2.0"}:
            piece.add("microsoft_version", version=members["ver"])
    if claims.audience:
        piece.add("audience", audience=list(map(_named_audience, claims.audience)))
    if user := claims.user():
        piece.add("token_user", user=user)
    elif claims.roles or members.get("idtyp") == "app":
        piece.add("application_token")
    if claims.application:
        piece.add("application", application=claims.application)
    if claims.tenant:
        piece.add("tenant", tenant=claims.tenant)


def _describe_mail_permissions(piece: Piece, claims: Claims, *, permitted: bool) -> None:
    """Add the mail services that the token permits, if its audience is a known provider's mail service."""
    if not permitted:
        piece.add("no_permissions")
        return
    found = {resource.id for resource in map(find_resource, claims.audience) if resource is not None}
    provider = next((each for each in presets().values() if _resources(each) & found), None)
    if provider is None:
        return
    services = [name.upper() if name != "pop" else "POP3" for name in _PROTOCOLS if _permits(claims, provider, name)]
    if services:
        piece.add("mail_services", provider=provider.name, services=services)
    else:
        piece.add("no_mail_services", provider=provider.name)


def _named_audience(audience: str) -> str:
    name = name_resource(audience)
    return audience if name == audience else f"{name} ({audience})"


def _resources(provider: Provider) -> set[str]:
    services = (provider.smtp, provider.pop, provider.imap)
    return {each.resource for each in services if each is not None and each.resource is not None}


def _permits(claims: Claims, provider: Provider, protocol: Any) -> bool:  # noqa: ANN401 - one of the three names
    service = provider.service(protocol)
    if service is None:
        return False
    if claims.scopes:
        return bool(service.scopes) and not missing_scopes(service.scopes, claims.scopes)
    return bool(set(service.app_roles) & set(claims.roles))


def _describe_times(piece: Piece, claims: Claims, now: float) -> None:
    if claims.issued_at is not None:
        piece.add("issued", at=iso(claims.issued_at))
    if claims.not_before is not None and claims.not_before > now:
        piece.add("not_yet_valid", at=iso(claims.not_before), now=iso(now))
    if claims.expires_at is None:
        piece.add("no_expiry")
    elif claims.expires_at <= now:
        piece.add("expired", at=iso(claims.expires_at), now=iso(now))
    else:
        piece.add("expires", at=iso(claims.expires_at), minutes=str(int(claims.expires_at - now) // 60))
