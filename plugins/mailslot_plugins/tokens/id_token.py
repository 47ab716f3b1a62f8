"""ID token checks: whether it belongs to one authentication request (OpenID Connect Core section 3.1.3.7).

It comes directly from the token endpoint over TLS, so its signature need not be checked (no. 6). Its times are not
checked either, since it is not stored, and this device's clock may be wrong.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final, cast

from joserfc.errors import JoseError

from mailslot.oauth.claims import decode_claims

with warnings.catch_warnings():  # importing authlib.deprecate changes the process's filters
    from authlib.oidc.core import claims

if TYPE_CHECKING:
    from mailslot.plugin import Secret

_CodeIDToken: Final[Any] = claims.CodeIDToken  # its types are only partly known


def is_for_request(id_token: Secret, *, client_id: str, nonce: Secret) -> bool:
    """Whether an ID token answers a request of this client with this nonce (no. 3 to 5, and 11)."""
    members = decode_claims(id_token) or {}
    audience = members.get("aud")
    found = _CodeIDToken(members, {}, params={"client_id": client_id, "nonce": nonce.reveal()})
    try:
        found.validate_nonce()
        found.validate_azp()
    except JoseError:
        return False
    return client_id in (cast("list[object]", audience) if isinstance(audience, list) else [audience])
