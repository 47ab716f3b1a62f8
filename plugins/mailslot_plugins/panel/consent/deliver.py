"""The end of a sign-in by a link: exchanging the authorization response for a grant, and storing it.

The grant is stored in the transaction in which the link is used. So a link gives each of its records one grant, even
if several browsers come back at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot.errors import TokenError
from mailslot.fleet.postgres.sign_in_links import GrantedAccess, complete
from mailslot.oauth.claims import parse_claims
from mailslot.oauth.grant_source import GrantSource
from mailslot.oauth.refresh_token_flow import RefreshTokenFlow
from mailslot.oauth.token_response import new_grant
from mailslot.slots.grant_store import GRANT_FIELD, RecordGrantStore
from mailslot_plugins.panel.consent.begin import FLOW, record_client, token_http
from mailslot_plugins.tokens.authorization import AuthorizationAttempt, sign_in_incomplete_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.fleet.postgres.database import DeviceId
    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.fleet.postgres.rows import DeviceRows
    from mailslot.fleet.postgres.sign_in_links import BegunSignIn, SignInLink
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp
    from mailslot.oauth.token_response import TokenResponse
    from mailslot.vault.vault import Vault
    from mailslot_plugins.panel.consent.begin import PendingSignIn
    from mailslot_plugins.panel.consent.fleet import ConsentFleet


class OtherUserError(TokenError):
    """Somebody other than the owner of the mailbox has signed in.

    Attributes:
        signed_in: the user; empty if the provider does not name one.
    """

    def __init__(self, expected: str, signed_in: str) -> None:
        sentence = (
            f"{signed_in} has signed in, and the mailbox belongs to {expected}, so the token was not stored."
            if signed_in
            else f"The provider does not say who has signed in, so it is not known whether it was {expected}, and the "
            "token was not stored: add openid and email to the scopes."
        )
        super().__init__(sentence, cause="account_mismatch")
        self.signed_in = signed_in


@dataclass(frozen=True)
class LinkFlow(RefreshTokenFlow):
    """Exchanges the authorization response for a grant, if the right user has signed in.

    Attributes:
        attempt: the authorization request.
        answer: the parameters with which the browser came back.
        expected: the user who has to sign in.
        name: the flow that refreshes the grant.
    """

    attempt: AuthorizationAttempt
    answer: Mapping[str, str]
    expected: str
    name: str = FLOW

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: object) -> Grant:  # noqa: ARG002 - they were there before
        """Exchange the code.

        Raises:
            OtherUserError: somebody else has signed in.
            TokenError: there is no token.
        """
        response = await self.attempt.redeem(self.attempt.code(self.answer), http)
        _check_user(response, self.expected)
        return new_grant(self.name, client, http, response)


class LinkGrantStore(RecordGrantStore):
    """Stores the grant of a record, and marks the record as done in the link, in one transaction."""

    def __init__(self, vault: Vault, record: str, home: PostgresHome, begun: BegunSignIn, user: str) -> None:
        super().__init__(vault, record, home)
        self._documents = home.documents
        self._vault_of_device = vault
        self._begun = begun
        self._user = user

    async def save(self, grant: Grant) -> None:
        """Store the grant.

        Raises:
            TokenError: the link can no longer be used, so nothing was stored.
            VaultError: it could not be written.
        """
        await run_sync(self._save, grant)

    def _save(self, grant: Grant) -> None:
        begun = self._begun

        def note(rows: DeviceRows) -> None:
            complete(rows, begun.link, begun.record, GrantedAccess(grant.account or self._user, grant.scopes))

        with self._documents.exclusive():
            self._vault_of_device.write(begun.record, {GRANT_FIELD: grant.to_secret()})
            self._documents.ask(note)


async def deliver(fleet: ConsentFleet, begun: BegunSignIn, pending: PendingSignIn, answer: Mapping[str, str]) -> None:
    """Exchange the authorization response, and store the grant.

    Args:
        fleet: the fleet.
        begun: the sign-in, which was taken from the database exclusively.
        pending: the state that was stored at its begin.
        answer: the parameters of the authorization response.

    Raises:
        MailError: there is no grant, or it must not be stored.
    """
    _, link = await run_sync(_link, fleet, pending)
    record = begun.record
    found = await record_client(fleet, begun.device, record)
    if found.digest != pending.settings:
        raise sign_in_incomplete_error(
            "The settings of the device were changed during the sign-in, so its answer is not used: sign in again."
        )
    async with token_http(found.settings) as http:
        found = await record_client(fleet, begun.device, record, http)
        attempt = AuthorizationAttempt(found.client, pending.redirect_uri, pending.values)
        if not attempt.matches(answer):
            raise sign_in_incomplete_error("The answer belongs to another sign-in, so it is not used.")
        store = LinkGrantStore(found.records.vault, record, found.home, begun, link.account)
        flow = LinkFlow(attempt, answer, link.account)
        source = GrantSource[object](record, store, flow, found.client, http, locate=store.locate)
        await source.obtain(None)


def _link(fleet: ConsentFleet, pending: PendingSignIn) -> tuple[DeviceId, SignInLink]:
    found = fleet.links.find(pending.link)
    if found is None:
        raise sign_in_incomplete_error("This link is not known any more.")
    return found


def _check_user(response: TokenResponse, expected: str) -> None:
    claims = [parse_claims(token) for token in (response.id_token, response.access_token)]
    names = [name for each in claims if each is not None for name in each.users]
    if expected.casefold() in map(str.casefold, names):
        return
    raise OtherUserError(expected, next((name for name in names if "@" in name), next(iter(names), "")))
