"""The begin of a sign-in by a link, and its state while the owner of the mailbox is at the provider."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.settings_digest import settings_digest
from mailslot.slots.oauth_client import client_for_flow
from mailslot.slots.records import Records
from mailslot.vault.record import dump, parse, seal, unseal
from mailslot.wire.secret import Secret
from mailslot_plugins.tokens.authorization import SIGN_IN_TIMEOUT, AttemptSecrets, AuthorizationAttempt

if TYPE_CHECKING:
    from mailslot.fleet.postgres.database import DeviceId
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.fleet.postgres.sign_in_links import SignInLink
    from mailslot.oauth.client import OAuthClient
    from mailslot.slots.settings import Settings
    from mailslot_plugins.panel.consent.fleet import ConsentFleet

FLOW: Final = "browser"
"""The flow of the grants, authorization code with PKCE, which also refreshes them."""

_FIELD: Final = "sign-in"


@dataclass(frozen=True, slots=True)
class PendingSignIn:
    """The state of a sign-in, which is needed when the browser comes back.

    Attributes:
        state: the state of the authorization request.
        verifier: its PKCE verifier.
        nonce: its nonce.
        redirect_uri: its redirect URI.
        settings: the digest of the settings at its begin.
        link: the secret in the link, to return to its page.
    """

    state: str
    verifier: str
    nonce: str
    redirect_uri: str
    settings: str
    link: str

    @property
    def values(self) -> AttemptSecrets:
        """The values that bind the authorization response to the request."""
        return AttemptSecrets(Secret(self.state), Secret(self.verifier), Secret(self.nonce))


@dataclass(frozen=True, slots=True)
class RecordClient:
    """A record's settings, and its application.

    Attributes:
        home: the device.
        records: its records.
        settings: the settings of the record.
        client: the application, with the provider's endpoints.
        digest: the digest of the settings that a grant depends on.
    """

    home: PostgresHome
    records: Records
    settings: Settings
    client: OAuthClient
    digest: str


def token_http(settings: Settings) -> TokenHttp:
    """Return the HTTP client for a record's token service."""
    return TokenHttp(ca_file=settings.ca_file, timeout=float(settings.timeout))


async def record_client(
    fleet: ConsentFleet, device: DeviceId, record: str, http: TokenHttp | None = None
) -> RecordClient:
    """Return the application with which somebody signs in for a record.

    Args:
        fleet: the fleet.
        device: the device.
        record: the record.
        http: an HTTP client to discover the provider's endpoints; None to skip the discovery.

    Raises:
        MailError: the settings are incomplete or cannot be read, or the provider does not answer.
    """
    found = await run_sync(_load, fleet, device, record)
    if http is None:
        return found
    provider = await fleet.providers.complete(found.client.provider, found.settings.ca_file, http)
    provider.check_flow(FLOW)
    return replace(found, client=replace(found.client, provider=provider))


def _load(fleet: ConsentFleet, device: DeviceId, record: str) -> RecordClient:
    home = fleet.homes.open(device)
    records = Records(home)
    settings = records.settings.load().get(record)
    if settings is None:
        raise InputError(f"{device} has no {record} any more.", stage="token")
    client = client_for_flow(records.vault, record, settings, FLOW)
    return RecordClient(home, records, settings, client, settings_digest(client, FLOW))


async def begin(
    fleet: ConsentFleet, device: DeviceId, link: SignInLink, record: str, *, token: str, browser: str, redirect_uri: str
) -> str:
    """Begin a sign-in; return the address at the provider.

    Args:
        fleet: the fleet.
        device: the device.
        link: the link.
        record: the record that gets the token.
        token: the secret in the link.
        browser: the secret in the browser's cookie.
        redirect_uri: where the provider sends the browser.

    Raises:
        MailError: signing in is not possible now.
    """
    found = await run_sync(_load, fleet, device, record)
    async with token_http(found.settings) as http:
        found = await record_client(fleet, device, record, http)
    # After a sign-in by somebody else, the provider must not use the same session again.
    attempt = AuthorizationAttempt(
        replace(found.client, account=link.account), redirect_uri, another_user=link.signed_in is not None
    )
    values = attempt.values
    pending = PendingSignIn(
        values.state.reveal(), values.verifier.reveal(), values.nonce.reveal(), redirect_uri, found.digest, token
    )

    def store() -> None:
        keys = found.home.keys
        sealed = dump({_FIELD: seal(Secret(json.dumps(asdict(pending))), keys.newest(), record, _FIELD, keys.scope)})
        fleet.links.begin(
            device, link.id, record, state=pending.state, browser=browser, sealed=sealed, seconds=SIGN_IN_TIMEOUT
        )

    await run_sync(store)
    return attempt.url


def open_pending(home: PostgresHome, record: str, sealed: bytes) -> PendingSignIn:
    """Return the state that `begin` has stored. It blocks.

    Raises:
        InputError: it cannot be opened.
        VaultError: the tenant's key cannot be used.
    """
    try:
        value = parse(sealed)[_FIELD]
        key = home.keys.find(value.key)
        if key is None:
            raise ValueError("its key is gone")
        return PendingSignIn(**json.loads(unseal(value, key, record, _FIELD, home.keys.scope).reveal()))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "This sign-in cannot be completed: open the link again.", stage="token", detail=type(error).__name__
        ) from None
