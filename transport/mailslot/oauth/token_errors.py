"""Classifying the error responses of a token service: the cause, and what helps.

The meanings are in ``token_errors.toml``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from mailslot.causes.columns import Words
from mailslot.causes.words import normalize
from mailslot.errors import TokenError
from mailslot.oauth.token_error_table import ErrorMeaning, Remedy, error_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.oauth.response import TokenServiceResponse
    from mailslot.wire.secret import Secret

MAX_SKEW: Final = 300.0
"""Seconds by which our clock must be wrong to explain a refusal."""

NOTABLE_SKEW: Final = 60.0
"""Seconds; below it, no token service refuses an assertion for its times."""

DEVICE_CODE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
"""The grant type of RFC 8628 section 3.4."""

DEVICE_CODE_BLOCKED: Final = "device_code_blocked"
"""The cause of a refusal that does not concern grants of other flows."""

JWT_BEARER_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""The grant type of RFC 7523 section 2.1."""


class TokenServiceError(TokenError):
    """The token service refused, could not be reached, or sent a response that cannot be used.

    Attributes:
        remedy: what helps.
        error: the ``error`` in its response (RFC 6749 section 5.2), such as ``"invalid_grant"``; None if there was
            none.
        error_description: the text for developers, shortened; empty if there was none.
        error_codes: Entra's AADSTS numbers, those of ``error_codes`` first.
        status: the HTTP status; None if there was no response.
        retry_after: the seconds in ``Retry-After``; None without it.
        response_lost: whether the service may have acted on the request although there was no usable response.
        refresh_token: a new refresh token from an otherwise unusable response; it must be used from now on.
    """

    def __init__(
        self,
        message: str,
        *,
        cause: str,
        remedy: Remedy,
        detail: str = "",
        error: str | None = None,
        error_description: str = "",
        error_codes: tuple[int, ...] = (),
        status: int | None = None,
        retry_after: float | None = None,
        response_lost: bool = False,
        refresh_token: Secret | None = None,
    ) -> None:
        super().__init__(message, cause=cause, retryable=remedy is Remedy.WAIT, detail=detail)
        self.remedy = remedy
        self.error = error
        self.error_description = error_description
        self.error_codes = error_codes
        self.status = status
        self.retry_after = retry_after
        self.response_lost = response_lost
        self.refresh_token = refresh_token


_AADSTS: Final = re.compile(r"\bAADSTS(\d{5,8})\b")
# The texts of Google about an assertion's times (google-api-php-client issues 1429 and 1501), and of Entra
# (AADSTS500133).
_ASSERTION_TIME: Final = re.compile(
    r"reasonable timeframe|within its valid time range|issued at time|check the .?(?:exp|iat)\b", re.IGNORECASE
)
_DEVICE_CODE_RULES: Final = frozenset({530035, 530036, 53003})
"""AADSTS codes of rules that may block device codes: security defaults and conditional access."""
_SUFFICIENT_ERRORS: Final = frozenset(
    {"interaction_required", "login_required", "account_selection_required", "consent_required", "invalid_scope"}
)
"""Values of ``error`` whose meaning is used if the AADSTS code is not in the table."""
_DECISIVE: Final = frozenset({"authorization_pending", "slow_down", "expired_token", "temporarily_unavailable"})

_SENTENCES: Final = {
    "token_update_failed": "The {who} no longer accepts the saved sign-in: it has expired, was revoked, was not used "
    "for long, or the account's password or second factor was changed.",
    "token_not_retrieved": "The sign-in at the {who} was not finished, so there is no token.",
    "token_service_busy": "The {who} is busy or has a fault of its own.",
    "app_secret_invalid": "The {who} did not accept the application's id with its secret or certificate.",
    "app_secret_expired": "The application's secret at the {who} has expired.",
    "app_type_wrong": "At the {who} the application is registered as another kind than this way of signing in needs.",
    "app_or_tenant_unknown": "The {who} does not know this application, or not in this tenant, or it does not fit the "
    "account.",
    "scope_wrong": "The {who} refuses the permissions that were asked for.",
    "consent_missing": "The application has not been given the permissions that it asks the {who} for.",
    "sign_in_blocked_by_policy": "The organisation's security policy at the {who} blocks this sign-in.",
    "account_locked": "The account is locked or disabled at the {who}.",
    "device_code_blocked": "The organisation no longer lets anybody sign in at the {who} by device code.",
    "mailbox_not_allowed": "The {who} does not let the application act for this mailbox, or there is no such mailbox.",
}
_BY_ERROR: Final[Mapping[tuple[str, str | None], str]] = {
    ("token_not_retrieved", "access_denied"): "The sign-in at the {who} was declined.",
    ("token_not_retrieved", "authorization_declined"): "The sign-in at the {who} was declined.",
    ("token_not_retrieved", "authorization_pending"): "The sign-in at the {who} has not been finished yet.",
    ("token_not_retrieved", "expired_token"): "The code of the {who} was not used in time.",
    ("app_type_wrong", "unauthorized_client"): "The {who} does not know this application's id, or does not allow it "
    "this way of signing in.",
}


def classify_error(response: TokenServiceResponse, grant_type: str = "", *, obtained_by: str = "") -> TokenServiceError:
    """Return the error for an unsuccessful response.

    Args:
        response: the response; its status may be 2xx if its body is a refusal.
        grant_type: the grant type of the request, to which ``invalid_grant`` refers.
        obtained_by: the name of the flow that obtained the grant.
    """
    error, description = _error(response.json)
    numbers = _aadsts_codes(response.json, description)
    cause, kind = _meaning(response, error, description, numbers, grant_type)
    if cause == "sign_in_blocked_by_policy" and not _DEVICE_CODE_RULES.isdisjoint(numbers):
        # The rule concerns only sign-ins with a device code, not grants of other flows.
        by_device = grant_type == DEVICE_CODE_GRANT or obtained_by == "device"
        cause, kind = (DEVICE_CODE_BLOCKED, Remedy.NEW_GRANT) if by_device else (cause, kind)
    service = f"token service {response.host}".rstrip()
    text = ": ".join(filter(None, (error, description))) or f"HTTP {response.status}"
    if cause == "clock_wrong":
        sentence = (
            f"This device's clock is wrong{_skew_text(response.date_skew)}, and the {service} refuses what it dates."
        )
    elif (cause, error) in _BY_ERROR:
        sentence = _BY_ERROR[cause, error].format(who=service)
    elif cause in _SENTENCES:
        sentence = _SENTENCES[cause].format(who=service)
    else:
        sentence = f"The {service} said: {text}"
    return TokenServiceError(
        sentence,
        cause=cause,
        remedy=kind,
        detail=f"HTTP {response.status}: {text}",
        error=error,
        error_description=description,
        error_codes=numbers,
        status=response.status,
        retry_after=response.retry_after,
        response_lost=response.status >= 500,
    )


def flows_blocked_by(cause: str | None) -> frozenset[str]:
    """Return the names of the flows that the organisation has blocked, according to the cause of a failure."""
    return frozenset({"device"}) if cause == DEVICE_CODE_BLOCKED else frozenset()


def shorten(value: object, max_length: int = 300) -> str:
    """Return foreign text on one line, without control characters, cut to `max_length` characters."""
    text = "".join(c if c.isprintable() else " " for c in value[: 4 * max_length]) if isinstance(value, str) else ""
    text = " ".join(text.split())
    return text if len(text) <= max_length else text[: max_length - 1] + "…"


def _meaning(
    response: TokenServiceResponse, error: str | None, description: str, codes: tuple[int, ...], grant_type: str
) -> tuple[str, Remedy]:
    if response.status >= 500 or response.status in {408, 429}:
        return "token_service_busy", Remedy.WAIT
    if response.status == 407:
        # A proxy requires authentication (RFC 9110 section 15.5.8).
        return "token_service_unreachable", Remedy.WAIT
    if _clock_explains(response.date_skew, error, description):
        return "clock_wrong", Remedy.WAIT
    added = None if error in _DECISIVE else _refined_meaning(error, description, codes, grant_type)
    if added is not None:
        return added.cause, added.remedy
    return _by_error(response, error, description, codes, grant_type)


def _by_error(
    response: TokenServiceResponse, error: str | None, description: str, codes: tuple[int, ...], grant_type: str
) -> tuple[str, Remedy]:
    """Return the meaning of ``error`` alone."""
    nobody_asked = grant_type in {"refresh_token", "client_credentials", JWT_BEARER_GRANT}
    if (codes and error not in _SUFFICIENT_ERRORS | _DECISIVE) or (error == "access_denied" and nobody_asked):
        return "unknown", Remedy.UNKNOWN
    if error == "invalid_grant":
        return _invalid_grant(grant_type, description)
    if error is None and _is_empty_refusal(response) and grant_type == "refresh_token":
        # glewlwyd, protocol_oidc.c: the refresh token is unknown or belongs to another client.
        return "token_update_failed", Remedy.NEW_GRANT
    if error == "unauthorized_client" and not description and response.status in {401, 403}:
        # In RFC 6749 section 5.2, it has status 400 and means that the client may not use the grant type. glewlwyd
        # (protocol_oidc.c) sends it alone, with 403, for an unknown client.
        return "app_or_tenant_unknown", Remedy.CONFIGURATION
    meaning = error_table().errors.get((error or "").lower(), ErrorMeaning("unknown", Remedy.UNKNOWN, ""))
    return meaning.cause, meaning.remedy


def _is_empty_refusal(response: TokenServiceResponse) -> bool:
    """Whether a response only says that the request is refused."""
    return response.status == 400 and response.json is None


def _clock_explains(skew: float | None, error: str | None, description: str) -> bool:
    if skew is None:
        return bool(_ASSERTION_TIME.search(description))
    return abs(skew) > MAX_SKEW and (error == "invalid_grant" or bool(_ASSERTION_TIME.search(description)))


def _refined_meaning(
    error: str | None, description: str, codes: tuple[int, ...], grant_type: str
) -> ErrorMeaning | None:
    """Return the meaning of an AADSTS code or a description; None if neither is in the table."""
    table = error_table()
    if error is not None and error.lower() not in table.errors:
        # Some services put the sentence into ``error``.
        error, description = None, f"{error} {description}"
    words = Words(normalize(description))
    by_words = [
        row
        for row in table.descriptions
        if (not row.errors or error is None or error.lower() in row.errors)
        and (not row.grants or grant_type in row.grants)
        and row.words.found_in(words)
    ]
    first = [row.meaning for row in by_words if row.codes]
    by_code = [table.aadsts[code] for code in codes if code in table.aadsts]
    return next(iter(first + by_code + [row.meaning for row in by_words]), None)


def _invalid_grant(grant_type: str, description: str) -> tuple[str, Remedy]:
    """Return what is wrong with the grant, which is a code, an assertion or a refresh token (RFC 6749 section 5.2)."""
    if grant_type in {"authorization_code", DEVICE_CODE_GRANT}:
        return "token_not_retrieved", Remedy.NEW_GRANT
    if grant_type == JWT_BEARER_GRANT:
        signature = "signature" in description.lower()
        return "app_secret_invalid" if signature else "mailbox_not_allowed", Remedy.CONFIGURATION
    return "token_update_failed", Remedy.NEW_GRANT


def _error(json: Mapping[str, object] | None) -> tuple[str | None, str]:
    """Return ``error`` and ``error_description``, or the members that other services use instead.

    In Google's APIs, ``error`` is an object; Okta's have a code and a summary.
    """
    members = json or {}
    error = members.get("error") or members.get("errorCode")
    description_members = ("error_description", "errorSummary", "error_message", "message", "hint")
    description = next((members[name] for name in description_members if isinstance(members.get(name), str)), None)
    if isinstance(error, dict):
        nested = cast("dict[str, object]", error)
        error, description = nested.get("status"), nested.get("message")
    return shorten(error, 80) or None, shorten(description)


def _aadsts_codes(json: Mapping[str, object] | None, description: str) -> tuple[int, ...]:
    listed = (json or {}).get("error_codes")
    codes = cast("list[object]", listed)[:8] if isinstance(listed, list) else []
    found = [code for code in codes if isinstance(code, int) and not isinstance(code, bool)]
    return tuple(dict.fromkeys([*found, *map(int, _AADSTS.findall(description))]))


def _skew_text(skew: float | None) -> str:
    if skew is None:
        return ""
    size = abs(skew)
    for unit, seconds in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if size >= 2 * seconds:
            return f" by {size / seconds:.0f} {unit}"
    return f" by {size:.0f} seconds"
