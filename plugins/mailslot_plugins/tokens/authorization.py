"""One attempt at the authorization code grant: its request, and the checks of its response.

RFC 6749 section 4.1, with PKCE (RFC 7636), the issuer identification (RFC 9207) and, for OpenID Connect, a nonce.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from mailslot.oauth.authlib_protocol import authorization_url
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.token_errors import classify_error, shorten
from mailslot.plugin import InputError, Secret, TokenError, request_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.plugin import OAuthClient, TokenHttp, TokenResponse


SIGN_IN_TIMEOUT: Final = 600.0
"""Seconds that a sign-in may take; its state is good for no longer."""

_RANDOM_OCTETS: Final = 32  # in state, verifier and nonce, as RFC 7636 section 4.1 recommends


@dataclass(frozen=True, slots=True)
class AttemptSecrets:
    """The values that bind the response to its request; nobody else may know them.

    Attributes:
        state: the state that the response repeats.
        verifier: the PKCE verifier.
        nonce: the nonce that an ID token repeats.
    """

    state: Secret
    verifier: Secret
    nonce: Secret

    @classmethod
    def random(cls) -> AttemptSecrets:
        """Return new values."""
        return cls(*(Secret(secrets.token_urlsafe(_RANDOM_OCTETS)) for _ in range(3)))


class AuthorizationAttempt:
    """An authorization request and its response. Its state, verifier and nonce are used only here.

    Args:
        client: the client, with its provider's endpoints.
        redirect_uri: the address to which the browser is redirected with the response.
        values: its state, verifier and nonce; None for new ones.
        another_user: whether the provider must not reuse the session of the user who is signed in there.

    Attributes:
        redirect_uri: the redirect URI.
        values: its state, verifier and nonce.

    Raises:
        InputError: the provider has no authorization endpoint.
    """

    def __init__(
        self,
        client: OAuthClient,
        redirect_uri: str,
        values: AttemptSecrets | None = None,
        *,
        another_user: bool = False,
    ) -> None:
        if client.provider.endpoints.authorization is None:
            raise InputError(
                f"{client.provider.name} has no authorization endpoint, so nobody can sign in there with a browser.",
                stage="token",
                cause="not_configured",
            )
        self.redirect_uri = redirect_uri
        self._client = client
        self._endpoint = client.provider.endpoints.authorization
        self._another_user = another_user
        self.values = values or AttemptSecrets.random()
        self._state, self._verifier = self.values.state, self.values.verifier
        self._nonce = self.values.nonce if "openid" in client.scopes else None

    @property
    def url(self) -> str:
        """The URL to open in a browser (RFC 6749 section 4.1.1)."""
        parameters = {"login_hint": self._client.account} if self._client.account else {}
        if self._nonce is not None:
            parameters["nonce"] = self._nonce.reveal()
        if "offline_access" in self._client.scopes and self._client.provider.id == "custom":
            parameters["prompt"] = (
                "consent"  # OpenID Connect Core section 11; presets contain what their providers need
            )
        parameters |= self._client.provider.quirks.authorization_parameters
        if self._another_user:
            # OpenID Connect Core section 3.1.2.1; Google and Microsoft show a choice of accounts.
            wanted = "login" if self._client.provider.id == "custom" else "select_account"
            parameters["prompt"] = " ".join(dict.fromkeys([wanted, *parameters.get("prompt", "").split()]))
        return authorization_url(
            self._endpoint,
            self._client.client_id,
            self.redirect_uri,
            self._client.scopes,
            self._state.reveal(),
            self._verifier.reveal(),
            parameters,
        )

    def matches(self, parameters: Mapping[str, str]) -> bool:
        """Whether redirect parameters belong to this attempt, by their state, compared in constant time."""
        return self._state == parameters.get("state", "")

    def code(self, parameters: Mapping[str, str]) -> Secret:
        """Return the authorization code in redirect parameters (RFC 6749 section 4.1.2).

        Raises:
            TokenError: the sign-in was refused, or the response is not from the provider, or contains no code.
        """
        self._check_issuer(parameters.get("iss"))
        if parameters.get("error"):
            host = urlsplit(self._endpoint).netloc
            raise classify_error(TokenServiceResponse(400, dict(parameters), host=host), "authorization_code")
        if not parameters.get("code"):
            raise sign_in_incomplete_error("The answer to the sign-in holds no code.")
        return Secret(parameters["code"])

    async def redeem(self, code: Secret, http: TokenHttp) -> TokenResponse:
        """Exchange the code for tokens (RFC 6749 section 4.1.3).

        Raises:
            TokenError: the token service refused, or its ID token belongs to another request.
        """
        form: dict[str, str | Secret] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self._verifier,
        }
        response = await request_token(self._client, http, form)
        if self._nonce is not None and response.id_token is not None:
            # Imported here, since it takes 50 ms, and most providers are not asked for an ID token.
            from mailslot_plugins.tokens.id_token import is_for_request  # noqa: PLC0415 - see above

            if not is_for_request(response.id_token, client_id=self._client.client_id, nonce=self._nonce):
                raise sign_in_incomplete_error("The tokens that came belong to another sign-in, so they are not used.")
        return response

    def _check_issuer(self, issuer: str | None) -> None:
        """Refuse the response of another provider (RFC 9207 section 2.4)."""
        endpoints = self._client.provider.endpoints
        missing = issuer is None and endpoints.names_issuer
        other = issuer is not None and endpoints.issuer is not None and issuer != endpoints.issuer
        if missing or other:
            raise sign_in_incomplete_error(
                "The answer to the sign-in is not from the provider that was asked, so it is not used.",
                f"iss is {shorten(issuer) or 'missing'}, expected {endpoints.issuer}",
            )


def parse_parameters(query: str) -> dict[str, str] | None:
    """Return the parameters of a query; None if one occurs twice (forbidden by RFC 6749 section 3.1)."""
    pairs = parse_qsl(query, keep_blank_values=True)
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


def sign_in_timeout_error(seconds: float) -> TokenError:
    """Return the error for a sign-in that nobody finished within so many seconds."""
    return sign_in_incomplete_error(f"Nobody finished the sign-in within {seconds / 60:.0f} minutes.")


def sign_in_incomplete_error(sentence: str, detail: str = "") -> TokenError:
    """Return the error for a sign-in that was not completed and can be repeated."""
    return TokenError(sentence, cause="token_not_retrieved", detail=detail)
