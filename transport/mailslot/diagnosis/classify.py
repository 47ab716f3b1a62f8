"""Turns an error into a diagnosis: its cause, refined by the clock, the token and the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.causes.cause import causes
from mailslot.causes.refinement import RefinementContext
from mailslot.causes.rules import table
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.server_words import without_internals
from mailslot.diagnosis.token import other_resource_of, provider_of, read_token
from mailslot.errors import MailError, NetworkError, RecipientsRefusedError, RefusedError
from mailslot.net.endpoint import Security
from mailslot.oauth.claims import parse_claims
from mailslot.oauth.resources import find_foreign_resource
from mailslot.oauth.token_errors import MAX_SKEW, TokenServiceError
from mailslot.wire.redact import Redactor
from mailslot.wire.reply import printable

if TYPE_CHECKING:
    from mailslot.diagnosis.context import DiagnosisContext
    from mailslot.net.endpoint import Endpoint

MAX_WORDS: Final = 160
"""Characters of a server's text in a sentence."""

MAX_DETAIL: Final = 1000
"""Characters of the detail."""


def diagnose(error: MailError, context: DiagnosisContext) -> Diagnosis:
    """Return the diagnosis of an error.

    Pure and total: the same arguments give the same diagnosis; it does no I/O and raises nothing.
    """
    redactor = Redactor()
    if context.token:
        redactor.add(context.token)
    cause = _find_cause(error, context)
    facts = {
        name: shown
        for name, value in _facts(error, context).items()
        if value and (shown := _cut(redactor.mask(_one_line(value)), MAX_WORDS))
    }
    return Diagnosis(cause, facts, _cut(redactor.mask(_one_line(error.detail)), MAX_DETAIL))


def _find_cause(error: MailError, context: DiagnosisContext) -> str:
    if error.in_doubt:
        return error.cause
    if _clock_explains(error.cause, context):
        return "clock_wrong"
    cause = _refine(error.cause, context) if isinstance(error, RefusedError) else error.cause
    return cause if cause in causes() else "unknown"


def _refine(cause: str, context: DiagnosisContext) -> str:
    """Return a refusal's cause, refined by the token, the provider and the settings."""

    def provider() -> str | None:
        found = provider_of(context)
        return None if found is None else found.id

    refinement_context = RefinementContext(
        protocol=context.protocol,
        authentication=context.authentication,
        token_length=len(context.token or ""),
        read_token=lambda: read_token(context),
        provider=provider,
    )
    return next((row.cause for row in table().refinements if row.fits(cause, refinement_context)), cause)


def _clock_explains(cause: str, context: DiagnosisContext) -> bool:
    """Whether a wrong clock explains a certificate's dates; without them, whether its direction does."""
    direction = {"certificate_not_yet_valid": 1, "certificate_expired": -1}.get(cause, 0)
    skew, now = context.skew, context.now
    if direction * skew <= MAX_SKEW:
        return False
    begin, end = context.valid_from, context.valid_until
    if now is None:
        return True
    # The skew may come from this certificate, and then only reaches the nearer end of its validity.
    true_time = now + skew
    return (begin is None or begin <= true_time + MAX_SKEW) and (end is None or true_time - MAX_SKEW <= end)


def _facts(error: MailError, context: DiagnosisContext) -> dict[str, str | None]:
    provider = provider_of(context)
    claims = parse_claims(context.token)
    facts: dict[str, str | None] = {
        "host": context.host,
        "port": str(context.port),
        "account": context.account,
        "sender": context.sender,
        "provider": None if provider is None or provider.id == "custom" else provider.name,
        "owner": context.owner or (None if claims is None else claims.user(context.account or "")),
        "security_now": context.security.value,
        **_clock_facts(context.skew),
        **_correct_settings(context),
        **_published_settings(context),
    }
    if error.reply is not None and not error.reply.positive:
        facts["words"] = without_internals(error.reply.one_line)
        facts["resource"] = other_resource_of(context) or _foreign_resource(error.reply.one_line)
    elif isinstance(error, TokenServiceError):
        response = ": ".join(filter(None, (error.error, error.error_description)))
        facts["resource"] = _foreign_resource(error.error_description)
        if response or (error.status or 0) >= 300:
            facts["token_words"] = response or f"HTTP {error.status}"
        else:
            # The response was not a refusal, but was unusable: our own sentence says why.
            facts["reason"] = str(error)
    else:
        facts["reason"] = str(error)
    if isinstance(error, NetworkError) and error.waited is not None:
        facts["seconds"] = f"{error.waited:.3g}"
    elif isinstance(error, NetworkError) and error.stage == "greeting":
        facts["door"] = context.host
    if isinstance(error, RecipientsRefusedError):
        facts["recipient"] = next(iter(error.refused))
    return facts


def _foreign_resource(text: str) -> str | None:
    found = find_foreign_resource(text)
    return None if found is None else found.name


def _correct_settings(context: DiagnosisContext) -> dict[str, str | None]:
    """Return the settings that are correct already, so that no advice asks for them."""
    signs_in = context.authentication in {"password", "oauth2"}
    is_own = context.sender and context.account and context.sender.casefold() == context.account.casefold()
    return {
        "own_address": context.sender if is_own else None,
        "encrypted_now": None if context.security is Security.NONE else context.security.value,
        "signed_in_as": context.account if signs_in else None,
        "oauth_account": context.account if context.authentication == "oauth2" else None,
        "default_scopes": None if context.own_scopes or context.authentication != "oauth2" else "yes",
    }


def _published_settings(context: DiagnosisContext) -> dict[str, str | None]:
    """Return the provider's published server that is most similar to the settings."""
    provider = provider_of(context)
    service = None if provider is None else provider.service(context.service)

    def nearness(server: Endpoint) -> tuple[bool, bool, bool]:
        return server.host == context.host, server.port == context.port, server.security is context.security

    nearest = max(() if service is None else service.servers, key=nearness, default=None)
    if nearest is None:
        return {}
    return {
        "published_server": nearest.host,
        "published_port": str(nearest.port),
        "published_security": nearest.security.value,
    }


def _clock_facts(skew: float) -> dict[str, str | None]:
    """Return how wrong the clock is, in a suitable unit."""
    for name, seconds in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if abs(skew) >= 2 * seconds:
            return {name: f"{abs(skew) / seconds:.0f}"}
    return {}


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
