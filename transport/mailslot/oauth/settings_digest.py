"""The settings digest, which shows whether a stored failure or origin belongs to the current settings."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailslot.oauth.client import OAuthClient


def settings_digest(client: OAuthClient, flow: str) -> str:
    """Return a digest of the settings that a refresh depends on, including secrets; store it only in the vault.

    A stored failure counts until the digest changes.
    """
    secrets = [client.client_secret, client.certificate.key if client.certificate is not None else None]
    endpoints = client.provider.endpoints
    facts = [
        flow,
        client.provider.id,
        endpoints.issuer,
        endpoints.token,
        client.tenant,
        client.client_id,
        client.account,
        *client.scopes,
        client.certificate.certificate if client.certificate is not None else None,
        *(None if secret is None else secret.reveal() for secret in secrets),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
