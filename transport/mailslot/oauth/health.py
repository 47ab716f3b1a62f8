"""How a grant is doing: whether it works, until when, and who has to do what about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.oauth.claims import missing_scopes
from mailslot.oauth.grant import Failure, why_not_here
from mailslot.oauth.origin import why_not_renewed
from mailslot.oauth.token_errors import MAX_SKEW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot.errors import MailError
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.location import Location
    from mailslot.oauth.providers import Provider

State = Literal["ok", "expiring", "needs_token", "needs_administrator", "unreadable"]

Topic = Literal["another_user", "fewer_permissions", "no_renewal", "unused", "testing", "secret_ends", "clock"]
"""What a note can be about."""

DAY: Final = 86400.0

NOTICE: Final = 14.0
"""Days before something ends from which on it is spoken of."""

# Design, section 7: who has to act on a failure that waiting does not help.
_OBTAIN_AGAIN: Final = frozenset(
    {
        "token_not_retrieved",
        "token_update_failed",
        "token_not_renewable",
        "token_for_other_service",
        "token_refused",
        "account_mismatch",
        "home_copied",
    }
)


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """What the settings say of a record's token.

    Attributes:
        account: the mailbox that it is for; None where it is not set.
        scopes: what is asked for.
        settings: `mailslot.oauth.grant_source.settings_digest`; a failure under other settings no longer counts. None
            where it cannot be told.
        renews_alone: whether the flow needs no renewal token, since the application signs in by itself.
        secret_expires_at: when the application's secret ends, in seconds since the epoch, if it was entered.
        here: where this is; None where that does not matter.
    """

    account: str | None = None
    scopes: tuple[str, ...] = ()
    settings: str | None = None
    renews_alone: bool = False
    secret_expires_at: float | None = None
    here: Location | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """How a grant is doing. Times are seconds since the epoch.

    Attributes:
        state: ``ok``; ``expiring``: it will end, or has ended, unless somebody acts or a fault passes;
            ``needs_token``: it must be obtained again; ``needs_administrator``; ``unreadable``: the store cannot be
            read.
        cause: an id of the catalogue; None where nothing is wrong.
        sentence: what is wrong, for the person; empty where nothing is.
        account: who signed in; None where the provider did not say.
        scopes: what was granted.
        obtained_at: when whoever it was signed in; None without a grant.
        expires_at: when the access token ends; None where that is not known.
        renewed_at: when the access token was issued; None without a grant.
        failure: why the last renewal failed; None where it worked.
        renewal_days_left: days until the renewal token dies if nobody uses it; None where it does not, or not known.
        secret_expires_at: when the application's secret ends; None where it was not entered.
        notes: what else should be known, a sentence each.
        topics: what each of the notes is about, for those who say it in other words.
    """

    state: State
    cause: str | None = None
    sentence: str = ""
    account: str | None = None
    scopes: tuple[str, ...] = ()
    obtained_at: float | None = None
    expires_at: float | None = None
    renewed_at: float | None = None
    failure: Failure | None = None
    renewal_days_left: float | None = None
    secret_expires_at: float | None = None
    notes: tuple[str, ...] = ()
    topics: tuple[Topic, ...] = ()


def token_line(grant: Grant | None) -> Literal["Not Retrieved", "Retrieved"]:
    """Return what the panel shows; what was authorised but not yet fetched is not retrieved."""
    return "Not Retrieved" if grant is None or grant.access_token is None else "Retrieved"


def health(
    grant: Grant | None, facts: TokenSettings, provider: Provider, now: float, *, fault: MailError | None = None
) -> Health:
    """Say how a grant is doing.

    Args:
        grant: the grant; None where there is none, or where it cannot be read.
        facts: what the settings say.
        provider: who gave it.
        now: the time, in seconds since the epoch.
        fault: why it could not be read, or why its newest state could not be written
            (`mailslot.oauth.grant_source.GrantSource.fault`); None for neither.
    """
    if grant is None:
        if fault is not None:
            return Health("unreadable", fault.cause, str(fault), secret_expires_at=facts.secret_expires_at)
        return Health(
            "needs_token",
            "token_not_retrieved",
            "No token has been obtained yet.",
            secret_expires_at=facts.secret_expires_at,
        )
    left = _renewal_days_left(grant, facts, provider, now)
    state, cause, sentence = _judge(grant, facts, provider, now, left, fault)
    noted = tuple(_notes(grant, facts, provider, now, left))
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
        secret_expires_at=facts.secret_expires_at,
        notes=tuple(note for _, note in noted),
        topics=tuple(topic for topic, _ in noted),
    )


def _judge(
    grant: Grant, facts: TokenSettings, provider: Provider, now: float, left: float | None, fault: MailError | None
) -> tuple[State, str | None, str]:
    """Return the state, its cause and its sentence; the worst first."""
    state: State
    if fault is not None:
        return "needs_administrator", fault.cause, str(fault)
    failure = _failure(grant, facts, provider, now)
    if failure is not None and failure.retry_at is None:
        state = "needs_token" if failure.cause in _OBTAIN_AGAIN else "needs_administrator"
        return state, failure.cause, failure.sentence
    if _not_renewable(grant, facts) and grant.expires_at is not None:
        state, when = ("needs_token", "has expired") if grant.expires_at <= now else ("expiring", "will expire")
        return state, "token_not_renewable", f"The token {when}, and no renewal token came with it."
    if failure is not None:
        return "expiring", failure.cause, failure.sentence
    if (left is not None and left <= NOTICE) or _days(facts.secret_expires_at, now) <= NOTICE:
        return "expiring", None, ""
    return "ok", None, ""


def _failure(grant: Grant, facts: TokenSettings, provider: Provider, now: float) -> Failure | None:
    """Return why a renewal under these settings failed, or would; None where nothing is known against it."""
    refusal = why_not_here(grant, facts.here)
    if refusal is None and facts.settings is not None:
        refusal = why_not_renewed(grant, provider)
    if refusal is not None:
        return Failure(refusal.cause, str(refusal), refusal.detail, now, None)
    return grant.failure if facts.settings in {None, grant.settings} else None


def _notes(
    grant: Grant, facts: TokenSettings, provider: Provider, now: float, left: float | None
) -> Iterator[tuple[Topic, str]]:
    if facts.account and grant.account and grant.account.casefold() != facts.account.casefold():
        yield "another_user", f"{grant.account} signed in, while the account is {facts.account}."
    missing = missing_scopes(facts.scopes, grant.scopes)
    if missing:
        yield "fewer_permissions", f"Fewer permissions were granted than asked for: {', '.join(missing)} is missing."
    if _not_renewable(grant, facts):
        yield "no_renewal", "No renewal token came with the token, so it must be obtained again when it expires."
    if left is not None and left <= NOTICE:
        rest = f"{left:.0f} days are left." if left > 0 else "this one may have ended."
        yield "unused", f"{provider.name} ends sign-ins that nobody uses: {rest}"
    if _looks_like_testing(grant, provider):
        said = (
            f"The sign-in ended after about {provider.quirks.testing_days:.0f} days. {provider.name} does that to "
            "applications in Testing: publish the application, or make it internal, and obtain the token again."
        )
        yield "testing", said
    days = _days(facts.secret_expires_at, now)
    if days <= NOTICE:
        ends = f"The application's secret expires in {days:.0f} days."
        yield "secret_ends", ends if days > 0 else "By the date that was entered, the application's secret has expired."
    if abs(grant.skew) > MAX_SKEW:
        yield "clock", f"This device's clock differs by {abs(grant.skew) / 60:.0f} minutes from {provider.name}'s."


def _not_renewable(grant: Grant, facts: TokenSettings) -> bool:
    return grant.refresh_token is None and not facts.renews_alone


def _renewal_days_left(grant: Grant, facts: TokenSettings, provider: Provider, now: float) -> float | None:
    if grant.refresh_token is None or facts.renews_alone or provider.quirks.disuse_days is None:
        return None
    # Where the clock was set back since, the use lies in the future.
    return provider.quirks.disuse_days - max(now - grant.renewed_at, 0.0) / DAY


def _looks_like_testing(grant: Grant, provider: Provider) -> bool:
    """Whether the grant died as those of an application in Testing do: that many days after the sign-in."""
    days, failure = provider.quirks.testing_days, grant.failure
    if days is None or failure is None or failure.cause != "token_update_failed":
        return False
    # Nobody asked between the last renewal and the failure, so it died somewhere in between.
    return (grant.renewed_at - grant.obtained_at) / DAY <= days <= (failure.at - grant.obtained_at) / DAY


def _days(until: float | None, now: float) -> float:
    return float("inf") if until is None else (until - now) / DAY
