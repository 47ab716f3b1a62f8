"""Classifying error responses of a token service: the cause, and what helps.

``error`` decides (RFC 6749 section 5.2; entra-docs reference-error-codes.md: "should be used to react to errors").
Entra's AADSTS codes, and a few of Google's descriptions, only distinguish causes with the same ``error``. An error that
is in no table is left to the administrator.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from mailslot.errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.oauth.response import TokenServiceResponse
    from mailslot.wire.secret import Secret

MAX_SKEW: Final = 300.0
"""Seconds; a clock that is wrong by more explains a refusal."""

DEVICE_CODE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
"""The grant type of RFC 8628 section 3.4."""

JWT_BEARER_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""The grant type of RFC 7523 section 2.1."""


class Remedy(Enum):
    """What helps."""

    NEW_GRANT = "gone"
    """Only a new grant."""
    CONFIGURATION = "configuration"
    """Only a change of settings here or at the provider. The grant is kept."""
    WAIT = "passing"
    """Waiting. The grant is kept."""
    UNKNOWN = "unknown"
    """Nobody knows; to be treated as `CONFIGURATION`."""


class TokenServiceError(TokenError):
    """The token service refused, could not be reached, or sent a response that cannot be used.

    Attributes:
        remedy: what helps.
        error: its ``error`` (RFC 6749 section 5.2), such as ``"invalid_grant"``; None where there was none.
        error_description: its text for developers, shortened; empty where there was none.
        error_codes: Entra's AADSTS numbers, those of ``error_codes`` first.
        status: the HTTP status; None where no response came.
        retry_after: seconds to wait, by ``Retry-After``; None where it did not say.
        answer_lost: whether the service may have acted on the request although no usable answer came.
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


class ErrorMeaning(NamedTuple):
    """A row of the tables below."""

    cause: str
    remedy: Remedy
    source: str


def _rows(cause: str, remedy: Remedy, source: str, *keys: int) -> dict[int, ErrorMeaning]:
    return dict.fromkeys(keys, ErrorMeaning(cause, remedy, source))


_G, _C, _P, _U = Remedy.NEW_GRANT, Remedy.CONFIGURATION, Remedy.WAIT, Remedy.UNKNOWN
_ENTRA: Final = "entra-docs reference-error-codes.md"

OAUTH_ERRORS: Final[Mapping[str, ErrorMeaning]] = {
    "invalid_grant": ErrorMeaning("token_update_failed", _G, "RFC 6749 section 5.2"),
    "invalid_client": ErrorMeaning("app_secret_invalid", _C, "RFC 6749 section 5.2"),
    "unauthorized_client": ErrorMeaning("app_type_wrong", _C, "RFC 6749 section 5.2"),
    "unsupported_grant_type": ErrorMeaning("app_type_wrong", _C, "RFC 6749 section 5.2"),
    "invalid_scope": ErrorMeaning("scope_wrong", _C, "RFC 6749 section 5.2"),
    "invalid_request": ErrorMeaning("unknown", _U, "RFC 6749 section 5.2"),
    "access_denied": ErrorMeaning("token_not_retrieved", _G, "RFC 6749 section 4.1.2.1, RFC 8628 section 3.5"),
    "unsupported_response_type": ErrorMeaning("app_type_wrong", _C, "RFC 6749 section 4.1.2.1"),
    "server_error": ErrorMeaning("token_service_busy", _P, "RFC 6749 section 4.1.2.1"),
    "temporarily_unavailable": ErrorMeaning("token_service_busy", _P, "RFC 6749 section 4.1.2.1"),
    "authorization_pending": ErrorMeaning("token_not_retrieved", _P, "RFC 8628 section 3.5"),
    "slow_down": ErrorMeaning("token_service_busy", _P, "RFC 8628 section 3.5"),
    "expired_token": ErrorMeaning("token_not_retrieved", _G, "RFC 8628 section 3.5"),
    "unsupported_token_type": ErrorMeaning("unknown", _C, "RFC 7009 section 2.2.1"),
    "invalid_target": ErrorMeaning("scope_wrong", _C, "RFC 8707 section 2"),
    "interaction_required": ErrorMeaning("token_update_failed", _G, "OpenID Connect Core section 3.1.2.6"),
    "login_required": ErrorMeaning("token_update_failed", _G, "OpenID Connect Core section 3.1.2.6"),
    "account_selection_required": ErrorMeaning("token_update_failed", _G, "OpenID Connect Core section 3.1.2.6"),
    "consent_required": ErrorMeaning("consent_missing", _C, "OpenID Connect Core section 3.1.2.6"),
    "invalid_resource": ErrorMeaning("scope_wrong", _C, _ENTRA),
    "authorization_declined": ErrorMeaning("token_not_retrieved", _G, "entra-docs v2-oauth2-device-code.md"),
    "bad_verification_code": ErrorMeaning("token_not_retrieved", _G, "entra-docs v2-oauth2-device-code.md"),
    "internal_failure": ErrorMeaning("token_service_busy", _P, "google-auth, its list of errors worth another try"),
    "admin_policy_enforced": ErrorMeaning("sign_in_blocked_by_policy", _C, "Google, OAuth 2.0 authorization errors"),
    "org_internal": ErrorMeaning("sign_in_blocked_by_policy", _C, "Google, OAuth 2.0 authorization errors"),
    "deleted_client": ErrorMeaning("app_or_tenant_unknown", _C, "Google, OAuth 2.0 authorization errors"),
    "redirect_uri_mismatch": ErrorMeaning("app_type_wrong", _C, "Google, OAuth 2.0 authorization errors"),
}
"""What ``error`` means."""

AADSTS_CODES: Final[Mapping[int, ErrorMeaning]] = (
    _rows("token_update_failed", _G, _ENTRA, 70000, 70008, 700082, 700084, 50173, 70043, 50089, 50085, 50139)
    | _rows("token_update_failed", _G, f"{_ENTRA} (password)", 50132, 50133, 50055, 50144)
    | _rows("token_update_failed", _G, f"{_ENTRA} (second factor)", 50072, 50074, 50076, 50078, 50079, 50158, 700020)
    | _rows("token_not_retrieved", _G, _ENTRA, 65004, 54005, 70018, 70019, 50134, 90119, 90120)
    | _rows("sign_in_blocked_by_policy", _C, _ENTRA, 53000, 53001, 53002, 53003, 530032, 530034, 530035, 53011, 50005)
    | _rows("sign_in_blocked_by_policy", _C, _ENTRA, 50131, 50105, 500021, 500022, 500212, 500213)
    | _rows("account_locked", _C, _ENTRA, 50053, 50057)
    | _rows("consent_missing", _C, _ENTRA, 65001, 90094, 90095, 90008, 65005, 650056, 650057)
    | _rows("app_or_tenant_unknown", _C, _ENTRA, 700016, 700011, 70001, 7000112, 90002, 50194, 9001023, 9002332, 90130)
    | _rows("app_or_tenant_unknown", _C, _ENTRA, 50020, 500208, 16000, 50034, 51004, 50059, 50128, 90019, 90038, 90051)
    | _rows("app_secret_invalid", _C, _ENTRA, 7000215, 70002, 700027, 700030, 50012, 50013)
    | _rows("app_secret_expired", _C, _ENTRA, 7000222)
    | _rows("app_type_wrong", _C, _ENTRA, 7000218, 700025, 70003, 50011)
    | _rows("scope_wrong", _C, _ENTRA, 70011, 28002, 28003, 700022, 700023, 500011, 50001, 650052)
    | _rows("scope_wrong", _C, "fluent-smtp issue 154", 650053)
    | _rows("scope_wrong", _C, "sasl-xoauth2 issue 89", 900144)
    | _rows("token_service_busy", _P, _ENTRA, 50196, 90055, 90006, 90012, 90024, 90033, 90090, 50033, 50087, 70012)
)
"""What an AADSTS number adds."""

DESCRIPTIONS: Final[tuple[tuple[str, str, ErrorMeaning], ...]] = (
    # error, a fragment of its description in small letters, what it adds
    (
        "unauthorized_client",
        "client is unauthorized to retrieve access tokens using this method",
        ErrorMeaning("consent_missing", _C, "googleapis/google-api-php-client issue 1379"),
    ),
    (
        "invalid_client",
        "the oauth client was not found",
        ErrorMeaning("app_or_tenant_unknown", _C, "tarickb/sasl-xoauth2 issue 95"),
    ),
    (
        "unauthorized_client",
        "invalid client or invalid client credentials",
        ErrorMeaning("app_secret_invalid", _C, "Keycloak, AuthenticationProcessor of its clients"),
    ),
    (
        "invalid_request",
        "identity not found",
        ErrorMeaning("app_or_tenant_unknown", _C, "a virtual machine of Azure's: Azure/azure-sdk-for-net issue 37278"),
    ),
    (
        "invalid_scope",  # MSAL's word for whatever App Service refuses
        "managed identity found for specified",
        ErrorMeaning(
            "app_or_tenant_unknown", _C, "Azure App Service: Azure-Samples/azure-search-openai-demo issue 2148"
        ),
    ),
)
"""What a text of Google's, or of Azure's on its own machines, adds."""

_NO_CLIENT: Final = re.compile(
    r"\b(unknown|unregistered|no such) client|\bclient\b.{0,60}\b(unknown|not (found|known|registered)|does not exist)",
    re.IGNORECASE,
)
"""What services say of a client id that they do not know; ``error`` is their ``unauthorized_client`` then, too."""

_AADSTS: Final = re.compile(r"\bAADSTS(\d{5,8})\b")
# What Google says of an assertion's times (google-api-php-client issues 1429 and 1501), and Entra (AADSTS500133).
_ASSERTION_TIME: Final = re.compile(r"reasonable timeframe|within its valid time range|issued at time", re.IGNORECASE)
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


def classify_error(response: TokenServiceResponse, grant_type: str = "") -> TokenServiceError:
    """Return the error for an unsuccessful response.

    Args:
        response: the response; its status may be 2xx if its body is a refusal.
        grant_type: the grant type of the request, to which ``invalid_grant`` refers.
    """
    error, description = _error(response.json)
    numbers = _aadsts_codes(response.json, description)
    cause, kind = _meaning(response, error, description, numbers, grant_type)
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
    if _clock_explains(response.date_skew, error, description):
        return "clock_wrong", Remedy.WAIT
    meaning = OAUTH_ERRORS.get(error or "", ErrorMeaning("unknown", Remedy.UNKNOWN, ""))
    added = None if error in _DECISIVE else _refined_meaning(error, description, codes)
    if added is None and error == "invalid_grant":
        return _invalid_grant(grant_type, description)
    if added is None and error is None and _is_empty_refusal(response) and grant_type == "refresh_token":
        # glewlwyd, protocol_oidc.c: a refresh token that it does not know, or that is another client's.
        return "token_update_failed", Remedy.NEW_GRANT
    if added is None and error == "unauthorized_client" and _is_unknown_client(response.status, description):
        return "app_or_tenant_unknown", Remedy.CONFIGURATION
    return (added or meaning)[:2]


def _is_empty_refusal(response: TokenServiceResponse) -> bool:
    """Whether a response says nothing but that the request is refused."""
    return response.status == 400 and response.json is None


def _is_unknown_client(status: int, description: str) -> bool:
    """Whether ``unauthorized_client`` is about a client id that nobody knows.

    RFC 6749 section 5.2 has it with status 400 for a client that may not use the grant type; glewlwyd (protocol_oidc.c)
    answers 403 with that word alone for a client that it does not know.
    """
    return bool(_NO_CLIENT.search(description)) if description else status in {401, 403}


def _clock_explains(skew: float | None, error: str | None, description: str) -> bool:
    if skew is None:
        return bool(_ASSERTION_TIME.search(description))
    return abs(skew) > MAX_SKEW and (error == "invalid_grant" or bool(_ASSERTION_TIME.search(description)))


def _refined_meaning(error: str | None, description: str, codes: tuple[int, ...]) -> ErrorMeaning | None:
    """Return what an AADSTS code or a description adds to ``error``."""
    by_number = [AADSTS_CODES[number] for number in codes if number in AADSTS_CODES]
    by_text = [added for of, fragment, added in DESCRIPTIONS if error == of and fragment in description.lower()]
    return next(iter(by_number + by_text), None)


def _invalid_grant(grant_type: str, description: str) -> tuple[str, Remedy]:
    """Return what is wrong with the grant: a code, an assertion, or a refresh token (RFC 6749 section 5.2)."""
    if grant_type in {"authorization_code", DEVICE_CODE_GRANT}:
        return "token_not_retrieved", Remedy.NEW_GRANT
    if grant_type == JWT_BEARER_GRANT:
        signature = "signature" in description.lower()
        return "app_secret_invalid" if signature else "mailbox_not_allowed", Remedy.CONFIGURATION
    return "token_update_failed", Remedy.NEW_GRANT


def _error(json: Mapping[str, object] | None) -> tuple[str | None, str]:
    """Return ``error`` and ``error_description``; Google's APIs put an object where the string belongs."""
    members = json or {}
    error, description = members.get("error"), members.get("error_description")
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
