"""The two kinds of MSAL credentials in use: of an application, and of a managed identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import msal

from mailslot.plugin import InputError
from mailslot_plugins.tokens.msal_http import ManagedIdentityHttp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.plugin import OAuthClient
    from mailslot_plugins.tokens.msal_http import MsalHttp

LOCAL_TIMEOUT: Final = 10.0
"""Seconds for a request to the machine itself."""

_ENDPOINT: Final = "/oauth2/v2.0/token"  # follows the authority, MSAL's name for a tenant's address


class MsalCredential(Protocol):
    """An MSAL client and its HTTP client. All methods block."""

    @property
    def http(self) -> MsalHttp:
        """The HTTP client that MSAL uses."""
        ...

    def acquire(self) -> Mapping[str, Any]:
        """Return MSAL's result: a token, possibly from its cache, or an error."""
        ...


class ApplicationCredential:
    """The credential of an application that is registered with Entra.

    Args:
        client: the application.
        http: the HTTP client.
        credential: MSAL's ``client_credential``.
    """

    def __init__(self, client: OAuthClient, http: MsalHttp, credential: Mapping[str, object]) -> None:
        self.http = http
        self._scopes = list(client.scopes)
        make: Any = msal.ConfidentialClientApplication
        # Not a partial, whose repr would show the credential.
        self._make: Callable[[], Any] = lambda: make(
            client.client_id,
            client_credential=credential,
            authority=_authority(client),
            # The administrator has chosen the authority; otherwise MSAL would ask Microsoft's public cloud about it.
            instance_discovery=False,
            http_client=http,
        )
        self._client: Any = None

    def acquire(self) -> Mapping[str, Any]:
        """Return MSAL's result."""
        if self._client is None:
            self._client = self._make()  # this fetches the tenant's endpoints
        return cast("Mapping[str, Any]", self._client.acquire_token_for_client(scopes=self._scopes))


class ManagedIdentityCredential:
    """The managed identity of a machine in Azure or Azure Arc.

    Args:
        client: the client, for its scopes.
        identity: the client id of one of several identities; empty for the system-assigned one.
    """

    def __init__(self, client: OAuthClient, identity: str) -> None:
        self.http = ManagedIdentityHttp(LOCAL_TIMEOUT)
        # This protocol has no scopes, only the resource of the token.
        self._resource = client.scopes[0].removesuffix("/.default")
        chosen: Any = (
            msal.UserAssignedManagedIdentity(client_id=identity) if identity else msal.SystemAssignedManagedIdentity()
        )
        self._client: Any = msal.ManagedIdentityClient(chosen, http_client=self.http)

    def acquire(self) -> Mapping[str, Any]:
        """Return MSAL's result."""
        return cast("Mapping[str, Any]", self._client.acquire_token_for_client(resource=self._resource))


def _authority(client: OAuthClient) -> str:
    client.provider.check_flow("app")
    endpoint = client.provider.endpoints.token
    if not endpoint.endswith(_ENDPOINT):
        raise InputError(
            f"The token source msal knows Microsoft's token service alone, and {client.provider.name} is none: set "
            "provider to microsoft365, or token_endpoint to a tenant's.",
            stage="token",
            cause="not_configured",
        )
    return endpoint.removesuffix(_ENDPOINT)
