"""Grants: the tokens that a provider has issued, with their user, scopes and expiry, and the last failed refresh."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

from mailslot.errors import TokenError
from mailslot.oauth.location import Location
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


@dataclass(frozen=True, slots=True)
class RefreshFailure:
    """Why the last refresh failed. It is stored so that the provider is not asked again and again.

    Attributes:
        cause: the id of its cause.
        sentence: for the person.
        detail: for the engineer.
        at: when it failed, in seconds since the epoch.
        retry_at: when another attempt makes sense, in seconds since the epoch; None if only a new grant or a change of
            settings is known to help.
        refusals: how many refreshes in a row were refused permanently.
        unconfirmed: whether this is the first refusal, after which the provider is asked once more to confirm it.
    """

    cause: str
    sentence: str
    detail: str
    at: float
    retry_at: float | None
    refusals: int = 0
    unconfirmed: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant as it is stored in the vault. Times are seconds since the epoch, by the device's clock.

    Attributes:
        flow: the name of the flow that obtained it, which also refreshes it.
        access_token: the newest access token; None before the first one.
        expires_at: when the access token expires; None if the provider did not say.
        refresh_token: the newest refresh token; None if the provider gave none.
        previous_refresh_token: the previous refresh token, kept until the newest one has worked once.
        scopes: the granted scopes; the requested ones if the provider did not say.
        account: the user who signed in; None if the response did not say.
        tenant: the user's tenant; the one in the request if the response did not say; None if neither is known.
        client_id: the application that it was issued to; None if it has no id.
        obtained_at: when the person or the application signed in.
        renewed_at: when the access token was issued.
        skew: seconds that the provider's clock is ahead of ours, by its ``Date``.
        settings: a digest of the settings that a refresh depends on; `failure` applies only to these settings.
        failure: why the last refresh failed; None if it worked.
        forced: how many refreshes in a row were forced because a mail server had refused the access token.
        token_origin: scheme, host and port of the token endpoint that issued it; None before
            `mailslot.oauth.origin.bind_origin`, so never in a stored grant.
        revocation_origin: the same for the revocation endpoint that was known at that time; None if none was.
        location: where it was last obtained or refreshed; None before it is stored.
    """

    flow: str
    access_token: Secret | None
    expires_at: float | None
    refresh_token: Secret | None
    scopes: tuple[str, ...]
    obtained_at: float
    renewed_at: float
    previous_refresh_token: Secret | None = None
    account: str | None = None
    tenant: str | None = None
    client_id: str | None = None
    skew: float = 0.0
    settings: str = ""
    failure: RefreshFailure | None = None
    forced: int = 0
    token_origin: str | None = None
    revocation_origin: str | None = None
    location: Location | None = None

    def to_secret(self) -> Secret:
        """Return the grant as JSON, to be stored in the vault only."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = value.reveal() if isinstance(value, Secret) else value
        values["failure"] = None if self.failure is None else asdict(self.failure)
        values["location"] = None if self.location is None else asdict(self.location)
        return Secret(json.dumps(values))

    @classmethod
    def from_secret(cls, secret: Secret) -> Grant:
        """Return the grant that `to_secret` serialized.

        Raises:
            ValueError: it is not a grant.
        """
        try:
            values = json.loads(secret.reveal())
            for name in ("access_token", "refresh_token", "previous_refresh_token"):
                values[name] = None if values[name] is None else Secret(values[name])
            values["scopes"] = tuple(values["scopes"])
            values["failure"] = None if values["failure"] is None else RefreshFailure(**values["failure"])
            location = values["location"]
            values["location"] = None if location is None else Location.from_json(location)
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a grant") from error

    def with_refresh_token(self, refresh_token: Secret | None) -> Grant:
        """Return the grant with a new refresh token, if there is one; the old one becomes the previous one."""
        if refresh_token in {None, self.refresh_token}:
            return self
        return replace(self, refresh_token=refresh_token, previous_refresh_token=self.refresh_token)

    def refreshed(
        self,
        response: Grant,
        *,
        issued_at: float,
        expires_at: float | None,
        settings: str,
        location: Location | None,
    ) -> Grant:
        """Return the grant that replaces this one after a refresh.

        Args:
            response: the grant that the provider's response contains.
            issued_at: when the new access token was issued, in seconds since the epoch.
            expires_at: when it expires; None if the provider did not say.
            settings: the digest of the current settings.
            location: where it was refreshed.
        """
        rotated = replace(self, previous_refresh_token=None).with_refresh_token(response.refresh_token)
        return replace(
            response,
            # The flow and time of the sign-in stay the same, since a provider's rules depend on them.
            flow=self.flow,
            obtained_at=self.obtained_at,
            expires_at=expires_at,
            renewed_at=issued_at,
            refresh_token=rotated.refresh_token,
            previous_refresh_token=rotated.previous_refresh_token,
            settings=settings,
            failure=None,
            location=location,
            forced=self.forced,
            # Keep the old one: a revocation endpoint in the current settings may not be the one of that time.
            revocation_origin=self.revocation_origin,
        )

    def with_failure(self, failure: RefreshFailure) -> Grant:
        """Return the grant with a failed refresh; its tokens are kept."""
        return replace(self, failure=failure)


class GrantStore(Protocol):
    """The store of one record's grant."""

    async def load(self) -> Grant | None:
        """Return the stored grant; None if there is none.

        Raises:
            MailError: cause `token_store_unreadable`; nothing is changed.
        """
        ...

    async def save(self, grant: Grant) -> None:
        """Store the grant; it is on disk once this returns.

        Raises:
            MailError: it could not be written; the previous grant is unharmed.
        """
        ...

    async def delete(self) -> None:
        """Delete the grant."""
        ...

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Return the lock for refreshing, across tasks and processes; use it with ``async with``."""
        ...


def copied_home_error(grant: Grant, here: Location | None) -> TokenError | None:
    """Return the error if the home folder is a copy, where the grant must not be refreshed; None if it may be.

    A grant without a refresh token may always be refreshed: that uses the application's credentials, which any number
    of devices may share. A grant without a location gets this one at its next refresh.
    """
    if here is None or grant.location is None or grant.refresh_token is None or not here.is_copy_of(grant.location):
        return None
    return TokenError(
        "The token belongs to the device that this home folder was copied from, so it is not renewed here: obtain a "
        "token here, or say that the device has moved (mailslot token moved).",
        cause="home_copied",
        detail=f"it was last renewed at {grant.location.path}, and this is {here.path}",
    )
