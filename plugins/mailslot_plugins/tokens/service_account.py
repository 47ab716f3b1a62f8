"""A Google service account that acts as a mailbox's user, by domain-wide delegation (RFC 7523 section 2.1).

Google, "Using OAuth 2.0 for Server to Server Applications", section "HTTP/REST", specifies the assertion.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from mailslot.oauth.assertion import sign_assertion
from mailslot.oauth.token_errors import JWT_BEARER_GRANT, NOTABLE_SKEW, TokenServiceError
from mailslot.plugin import InputError, Secret, new_grant, refreshed_grant, request_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.plugin import Grant, OAuthClient, TokenHttp, TokenResponse


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The key file of a service account.

    Attributes:
        email: the service account's own address.
        key: its private key, PEM.
        key_id: the key's id at Google.
    """

    email: str
    key: Secret
    key_id: str

    @classmethod
    def parse(cls, secret: Secret | None) -> ServiceAccount:
        """Parse a key file, the JSON from Google Cloud.

        Raises:
            InputError: it is not a key file.
        """
        try:
            found: object = json.loads(secret.reveal() if secret else "")
        except (ValueError, RecursionError):
            found = None
        members = cast("dict[str, object]", found) if isinstance(found, dict) else {}
        email, key, key_id = map(members.get, ("client_email", "private_key", "private_key_id"))
        if members.get("type") != "service_account" or not isinstance(email, str) or not isinstance(key, str):
            raise InputError(
                "The client secret must be the key file of a service account: the whole JSON that Google Cloud gave.",
                stage="token",
                cause="app_secret_invalid",
            )
        return cls(email, Secret(key), key_id if isinstance(key_id, str) else "")


@dataclass(frozen=True)
class ServiceAccountFlow:
    """The flow ``service_account``. The client's secret is the service account's key file.

    Attributes:
        clock: returns the time, in seconds since the epoch.
    """

    clock: Callable[[], float] = time.time
    name: str = "service_account"

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: object) -> Grant:  # noqa: ARG002 - no person is needed
        """Request a token.

        Raises:
            InputError: the provider does not allow this flow, or the secret is not a key file.
            TokenServiceError: the token service refused, or was not reached.
        """
        client.provider.check_flow(self.name)
        return new_grant(self.name, client, http, await self._request_token(client, http))

    async def refresh(self, client: OAuthClient, http: TokenHttp, grant: Grant) -> Grant:
        """Request another token; there is no refresh token.

        Raises:
            InputError: the secret is not a key file.
            TokenServiceError: the token service refused, or was not reached.
        """
        return refreshed_grant(grant, client, http, await self._request_token(client, http))

    async def _request_token(self, client: OAuthClient, http: TokenHttp) -> TokenResponse:
        account = ServiceAccount.parse(client.client_secret)
        assumed = http.skew
        try:
            return await self._send(account, client, http)
        except TokenServiceError as error:
            refused = error.error == "invalid_grant" or error.cause == "clock_wrong"
            if not refused or abs(http.skew - assumed) <= NOTABLE_SKEW:
                raise
        # By the Date of the refusal, the assertion's times were wrong: our clock is, or was set since the last request.
        return await self._send(account, client, http)

    async def _send(self, account: ServiceAccount, client: OAuthClient, http: TokenHttp) -> TokenResponse:
        assertion = sign_assertion(
            account.key,
            issuer=account.email,
            subject=client.account,
            audience=client.provider.endpoints.token,
            now=self.clock() + http.skew,
            header={"typ": "JWT", "kid": account.key_id},
            claims={"scope": " ".join(client.scopes)},
        )
        # Only the assertion is sent, never the key file.
        anonymous_client = replace(client, client_id="", client_secret=None, certificate=None)
        return await request_token(anonymous_client, http, {"grant_type": JWT_BEARER_GRANT, "assertion": assertion})


flow = ServiceAccountFlow()
