"""The health of a grant: whether it works, until when, and who must act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.causes.cause import causes
from mailslot.oauth.claims import missing_scopes
from mailslot.oauth.grant import RefreshFailure, copied_home_error
from mailslot.oauth.origin import origin_mismatch
from mailslot.oauth.token_errors import DEVICE_CODE_BLOCKED, MAX_SKEW, flows_blocked_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot.errors import MailError
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.location import Location
    from mailslot.oauth.providers import Provider

State = Literal["ok", "expiring", "needs_token", "needs_administrator", "unreadable"]

Topic = Literal[
    "another_user", "fewer_permissions", "no_renewal", "unused", "testing", "secret_ends", "clock", "blockable_flow"
]
"""The topics of notes."""

DAY: Final = 86400.0

NOTICE_DAYS: Final = 14.0
"""Days before an expiry from which on a note mentions it."""


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """The settings that a token's health depends on.

    Attributes:
        account: the mailbox that it is for; None if it is not set.
        scopes: the scopes to request.
        digest: `mailslot.oauth.settings_digest.settings_digest`; a failure with other settings does not count. None if
            unknown.
        app_only: whether the application signs in as itself, so that no refresh token is needed.
        secret_expires_at: when the application's secret or certificate expires, in seconds since the epoch; None if
            unknown.
        location: the location of this home folder; None if it does not matter.
    """

    account: str | None = None
    scopes: tuple[str, ...] = ()
    digest: str | None = None
    app_only: bool = False
    secret_expires_at: float | None = None
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """The health of a grant. Times are seconds since the epoch.

    Attributes:
        state: ``ok``; ``expiring``: it expires or has expired, unless somebody acts or a temporary failure ends;
            ``needs_token``: it must be obtained again; ``needs_administrator``: an administrator must act;
            ``unreadable``: the store cannot be read.
        cause: the id of the cause; None if nothing is wrong.
        sentence: what is wrong, for the person; empty if nothing is.
        account: the user who signed in; None if the provider did not say.
        scopes: the granted scopes.
        obtained_at: when the person or the application signed in; None without a grant.
        expires_at: when the access token expires; None if unknown.
        renewed_at: when the access token was issued; None without a grant.
        failure: why the last refresh failed; None if it worked.
        renewal_days_left: days until the refresh token expires if it is not used; None if it does not, or if unknown.
        secret_expires_at: when the application's secret or certificate expires; None if unknown.
        flow: the name of the flow that obtained it; None without a grant.
        client_id: the application that it was issued to; None if unknown.
        tenant: its tenant; None if unknown.
        flow_can_be_blocked: whether the organisation may at any time block its flow, and with it the grant.
        notes: sentences about anything else that a person should know.
        topics: the topic of each note, for programs with their own texts.
    """

    state: State
    cause: str | None = None
    sentence: str = ""
    account: str | None = None
    scopes: tuple[str, ...] = ()
    obtained_at: float | None = None
    expires_at: float | None = None
    renewed_at: float | None = None
    failure: RefreshFailure | None = None
    renewal_days_left: float | None = None
    secret_expires_at: float | None = None
    flow: str | None = None
    client_id: str | None = None
    tenant: str | None = None
    flow_can_be_blocked: bool = False
    notes: tuple[str, ...] = ()
    topics: tuple[Topic, ...] = ()

    @property
    def blocked_flows(self) -> frozenset[str]:
        """The flows that the organisation has blocked, according to the last refresh."""
        return flows_blocked_by(self.cause)


def token_status_line(grant: Grant | None) -> Literal["Not Retrieved", "Retrieved"]:
    """Return the token line of the panel; a token that was authorised but not yet fetched is not retrieved."""
    return "Not Retrieved" if grant is None or grant.access_token is None else "Retrieved"


def health(
    grant: Grant | None,
    settings: TokenSettings,
    provider: Provider,
    now: float,
    *,
    store_error: MailError | None = None,
) -> Health:
    """Return the health of a grant.

    Args:
        grant: the grant; None if there is none, or it cannot be read.
        settings: the settings that its health depends on.
        provider: the provider that issued it.
        now: the time, in seconds since the epoch.
        store_error: why it could not be read, or why its newest state could not be written
            (`mailslot.oauth.grant_source.GrantSource.save_error`); None for neither.
    """
    if grant is None:
        if store_error is not None:
            return Health(
                "unreadable", store_error.cause, str(store_error), secret_expires_at=settings.secret_expires_at
            )
        return Health(
            "needs_token",
            "token_not_retrieved",
            "No token has been obtained yet.",
            secret_expires_at=settings.secret_expires_at,
        )
    left = _renewal_days_left(grant, settings, provider, now)
    state, cause, sentence = _state(grant, settings, provider, now, left, store_error)
    notes = tuple(_notes(grant, settings, provider, now, left, cause))
    return Health(
        state,
        cause,
        sentence,
        account=grant.account,
        scopes=grant.scopes,
        obtained_at=grant.obtained_at,
        expires_at=grant.expires_at,
        renewed_at=grant.renewed_at,
        failure=grant.failure,
        renewal_days_left=left,
        secret_expires_at=settings.secret_expires_at,
        flow=grant.flow,
        client_id=grant.client_id,
        tenant=grant.tenant,
        flow_can_be_blocked=grant.flow in provider.quirks.blockable_flows,
        notes=tuple(note for _, note in notes),
        topics=tuple(topic for topic, _ in notes),
    )


def _state(
    grant: Grant,
    settings: TokenSettings,
    provider: Provider,
    now: float,
    left: float | None,
    store_error: MailError | None,
) -> tuple[State, str | None, str]:
    """Return the worst state that applies, with its cause and sentence."""
    state: State
    if store_error is not None:
        return "needs_administrator", store_error.cause, str(store_error)
    failure = _failure(grant, settings, provider, now)
    if failure is not None and failure.retry_at is None:
        known = causes().get(failure.cause)
        state = "needs_token" if known is not None and known.token_helps else "needs_administrator"
        return state, failure.cause, failure.sentence
    if _not_renewable(grant, settings) and grant.expires_at is not None:
        state, when = ("needs_token", "has expired") if grant.expires_at <= now else ("expiring", "will expire")
        return state, "token_not_renewable", f"The token {when}, and no refresh token came with it."
    if failure is not None:
        return "expiring", failure.cause, failure.sentence
    if (left is not None and left <= NOTICE_DAYS) or _days(settings.secret_expires_at, now) <= NOTICE_DAYS:
        return "expiring", None, ""
    return "ok", None, ""


def _failure(grant: Grant, settings: TokenSettings, provider: Provider, now: float) -> RefreshFailure | None:
    """Return why a refresh with these settings failed or would fail; None if it is not known to fail."""
    refusal = copied_home_error(grant, settings.location)
    if refusal is None and settings.digest is not None:
        refusal = origin_mismatch(grant, provider)
    if refusal is not None:
        return RefreshFailure(refusal.cause, str(refusal), refusal.detail, now, None)
    return grant.failure if settings.digest in {None, grant.settings} else None


def _notes(
    grant: Grant, settings: TokenSettings, provider: Provider, now: float, left: float | None, cause: str | None
) -> Iterator[tuple[Topic, str]]:
    if settings.account and grant.account and grant.account.casefold() != settings.account.casefold():
        yield "another_user", f"{grant.account} signed in, while the account is {settings.account}."
    missing = missing_scopes(settings.scopes, grant.scopes)
    if missing:
        yield "fewer_permissions", f"Fewer permissions were granted than asked for: {', '.join(missing)} is missing."
    if _not_renewable(grant, settings):
        yield "no_renewal", "No refresh token came with the token, so it must be obtained again when it expires."
    if left is not None and left <= NOTICE_DAYS:
        days_text = f"{left:.0f} days are left." if left > 0 else "this one may have ended."
        yield "unused", f"{provider.name} ends sign-ins that nobody uses: {days_text}"
    if _looks_like_testing(grant, provider):
        text = (
            f"The sign-in ended after about {provider.quirks.testing_days:.0f} days. {provider.name} does that to "
            "applications in Testing: publish the application, or make it internal, and obtain the token again."
        )
        yield "testing", text
    days = _days(settings.secret_expires_at, now)
    if days <= NOTICE_DAYS:
        sentence = f"The application's secret expires in {days:.0f} days."
        yield (
            "secret_ends",
            sentence if days > 0 else "By the date that was entered, the application's secret has expired.",
        )
    if abs(grant.skew) > MAX_SKEW:
        yield "clock", f"This device's clock differs by {abs(grant.skew) / 60:.0f} minutes from {provider.name}'s."
    if grant.flow in provider.quirks.blockable_flows and cause != DEVICE_CODE_BLOCKED:
        text = (
            f"The token was obtained by device code. Many organisations block device codes at {provider.name}; such a "
            "token can then no longer be renewed. Obtain it again by another flow, such as browser or paste."
        )
        yield "blockable_flow", text


def _not_renewable(grant: Grant, settings: TokenSettings) -> bool:
    return grant.refresh_token is None and not settings.app_only


def _renewal_days_left(grant: Grant, settings: TokenSettings, provider: Provider, now: float) -> float | None:
    if grant.refresh_token is None or settings.app_only or provider.quirks.disuse_days is None:
        return None
    # If the clock was set back since then, the last use is in the future.
    return provider.quirks.disuse_days - max(now - grant.renewed_at, 0.0) / DAY


def _looks_like_testing(grant: Grant, provider: Provider) -> bool:
    """Whether the grant expired as many days after the sign-in as those of an application in testing."""
    days, failure = provider.quirks.testing_days, grant.failure
    if days is None or failure is None or failure.cause != "token_update_failed":
        return False
    # No request was made between the last refresh and the failure, so it expired at some time in between.
    return (grant.renewed_at - grant.obtained_at) / DAY <= days <= (failure.at - grant.obtained_at) / DAY


def _days(until: float | None, now: float) -> float:
    return float("inf") if until is None else (until - now) / DAY
