"""Tokens from MSAL, Microsoft's library: for a certificate, a managed identity, or a workload identity.

``token_source`` is one of

- ``msal certificate``: with the key and certificate in ``client_secret``;
- ``msal managed_identity``, or ``msal managed_identity CLIENT_ID`` for one of several: the machine's managed identity;
- ``msal workload_identity FILE``: workload identity federation with the token in the file.

MSAL blocks, so it runs in a thread. Its tokens are only in memory. For the permissions that Exchange requires, also
for a managed identity, see Microsoft, "Authenticate an IMAP, POP or SMTP connection using OAuth".
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import anyio
import anyio.lowlevel
from anyio.to_thread import run_sync

from mailslot.oauth.certificate import certificate_expiry
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.token_errors import shorten
from mailslot.plugin import AccessToken, InputError, MailError, TokenError, parse_token_response
from mailslot_plugins.tokens.msal_credentials import ApplicationCredential, ManagedIdentityCredential
from mailslot_plugins.tokens.msal_http import EntraHttp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.plugin import OAuthClient
    from mailslot_plugins.tokens.msal_credentials import MsalCredential
    from mailslot_plugins.tokens.msal_http import MsalHttp

_MARGIN: Final = 60.0  # seconds that a token must still be valid to be used while the service is unreachable

# At level debug it logs responses with their tokens; failures are reported by our own errors.
logging.getLogger("msal").setLevel(logging.CRITICAL + 1)


class RecordClient(Protocol):
    """Returns a record's OAuth client (`mailslot.slots.oauth_client.client_for_record`)."""

    def __call__(self, *, app: bool = False, registered: bool = True) -> OAuthClient:
        """Return the client."""
        ...


class MsalToken:
    """A token source on MSAL.

    Args:
        make_credential: returns a credential with an empty cache; blocks.
    """

    def __init__(self, make_credential: Callable[[], MsalCredential]) -> None:
        self._make = make_credential
        self._credential: MsalCredential | None = None
        self._last: AccessToken | None = None
        self._lock = anyio.Lock()

    async def token(self, *, force: bool = False) -> AccessToken:
        """Return MSAL's token; if it cannot be refreshed, it is used until it expires.

        Args:
            force: the last token was refused, so MSAL's cache is dropped, unless another task has done so since.
                A managed identity may still return the same token until shortly before its expiry.

        Raises:
            InputError: a setting is missing, or cannot be used.
            TokenError: there is no token; with its cause.
        """
        last = self._last
        async with self._lock:
            if force and last is self._last:
                await self.forget()
            try:
                self._last = await run_sync(self._acquire)
            except Exception as error:
                # After cancellation, the request in the thread fails with an unrelated error.
                await anyio.lowlevel.checkpoint_if_cancelled()
                is_temporary = isinstance(error, MailError) and error.retryable
                if not is_temporary:
                    self._credential = None  # MSAL would repeat the refusal for a minute, even if its reason was fixed
                if not is_temporary or self._last is None or (self._last.expires_at or 0.0) - _MARGIN <= time.time():
                    raise
            return self._last

    async def forget(self) -> None:
        """Drop MSAL's cache, which contains only access tokens, so nothing has to be revoked."""
        self._credential = self._last = None

    def _acquire(self) -> AccessToken:
        if self._credential is None:
            self._credential = self._make()
        http, requested_at = self._credential.http, time.time()
        try:
            response = _token_response(http, self._credential.acquire())
        except (MailError, CancelledError):
            raise
        except OSError as error:  # the secret file of Azure Arc
            raise TokenError(
                f"What this machine keeps for its managed identity cannot be read: {error.strerror}.",
                cause="token_source_failed",
                detail=shorten(str(error)),
            ) from None
        except Exception as error:  # noqa: BLE001 - MSAL passes on errors of many kinds
            if http.last_response is None or http.last_response.ok:
                raise TokenError(
                    f"MSAL, Microsoft's library, could not get a token: {type(error).__name__}.",
                    cause="token_source_failed",
                    detail=http.redact(shorten(str(error))),
                ) from None
            response = http.last_response
        parsed = parse_token_response(response, (), "client_credentials")
        return AccessToken(parsed.access_token, None if parsed.lifetime is None else requested_at + parsed.lifetime)


def source(settings: Mapping[str, object]) -> MsalToken:
    """Return the source for its settings.

    Args:
        settings: ``msal``, the text behind ``msal`` above; ``client``, ``ca_file`` and ``timeout`` of the record.

    Raises:
        InputError: it is not one of these.
    """
    kind, _, argument = str(settings.get("msal", "")).partition(" ")
    argument = argument.strip()
    client = cast("RecordClient", settings["client"])
    ca_file, timeout = cast("Path | None", settings.get("ca_file")), cast("float", settings.get("timeout", 30.0))
    match kind:
        case "certificate" if not argument:
            return MsalToken(lambda: _certificate_credential(client(app=True), EntraHttp(ca_file, timeout)))
        case "managed_identity":
            return MsalToken(lambda: ManagedIdentityCredential(client(app=True, registered=False), argument))
        case "workload_identity" if Path(argument).is_absolute():
            credential = {"client_assertion": partial(_read_assertion, Path(argument))}
            return MsalToken(lambda: ApplicationCredential(client(app=True), EntraHttp(ca_file, timeout), credential))
        case _:
            pass
    raise InputError(
        "The token source msal is one of: msal certificate, msal managed_identity, msal managed_identity CLIENT_ID, "
        "msal workload_identity FILE with the whole path.",
        stage="token",
    )


def _certificate_credential(client: OAuthClient, http: MsalHttp) -> ApplicationCredential:
    certificate = client.certificate
    if certificate is None:
        raise InputError(
            "The token source msal certificate needs a private key and its certificate, both in PEM form, as "
            "client_secret.",
            stage="token",
            cause="not_configured",
        )
    certificate_expiry(certificate)  # raises our own error if the certificate is invalid
    key = {"private_key": certificate.key.reveal(), "public_certificate": certificate.certificate}
    return ApplicationCredential(client, http, key)


def _read_assertion(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise TokenError(
            f"The file {file} with the workload's token cannot be read.",
            cause="token_source_failed",
            detail=type(error).__name__,
        ) from None


def _token_response(http: MsalHttp, members: Mapping[str, Any]) -> TokenServiceResponse:
    """Return MSAL's result as a response of the token service."""
    last = http.last_response or TokenServiceResponse(200, None)
    if "access_token" in members:
        return replace(last, status=200, json=members)
    masked = {name: http.redact(value) if isinstance(value, str) else value for name, value in members.items()}
    return replace(last, json=masked)
