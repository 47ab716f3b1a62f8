"""From an error to its one cause: judged where it was raised, refined by the clock, the token and the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.causes.cause import causes
from mailslot.causes.refinement import Circumstances
from mailslot.causes.rules import table
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.server_words import for_people
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

MAX_WORDS: Final = 160
"""Characters of somebody else's words in a sentence."""

MAX_DETAIL: Final = 1000
"""Characters of the detail."""


def diagnose(error: MailError, circumstances: DiagnosisContext) -> Diagnosis:
    """Return what an error means under the circumstances.

    Pure and total: the same error gives the same diagnosis, nothing is asked, and nothing is raised.
    """
    redactor = Redactor()
    if circumstances.token:
        redactor.add(circumstances.token)
    cause = _cause(error, circumstances)
    facts = {
        name: shown
        for name, value in _facts(error, circumstances).items()
        if value and (shown := _cut(redactor.mask(_line(value)), MAX_WORDS))
    }
    return Diagnosis(cause, facts, _cut(redactor.mask(_line(error.detail)), MAX_DETAIL))


def _cause(error: MailError, circumstances: DiagnosisContext) -> str:
    if error.in_doubt:
        return error.cause
    if _clock_explains(error.cause, circumstances):
        return "clock_wrong"
    cause = _refined(error.cause, circumstances) if isinstance(error, RefusedError) else error.cause
    return cause if cause in causes() else "unknown"


def _refined(cause: str, known: DiagnosisContext) -> str:
    """Return the finer cause that a refusal has in view of the token, the provider and the settings."""

    def provider() -> str | None:
        found = provider_of(known)
        return None if found is None else found.id

    circumstances = Circumstances(
        protocol=known.protocol,
        authentication=known.authentication,
        token_length=len(known.token or ""),
        read_token=lambda: read_token(known),
        provider=provider,
    )
    return next((row.cause for row in table().refinements if row.fits(cause, circumstances)), cause)


def _clock_explains(cause: str, circumstances: DiagnosisContext) -> bool:
    """Whether the certificate is good by true time; without its dates, whether the clock is wrong in that direction."""
    behind = {"certificate_not_yet_valid": 1, "certificate_expired": -1}.get(cause, 0)
    skew, now = circumstances.skew, circumstances.now
    if behind * skew <= MAX_SKEW:
        return False
    begin, end = circumstances.valid_from, circumstances.valid_until
    if now is None:
        return True
    # The skew may have been told by that very certificate, and be no more than what it takes.
    true = now + skew
    return (begin is None or begin <= true + MAX_SKEW) and (end is None or true - MAX_SKEW <= end)


def _facts(error: MailError, circumstances: DiagnosisContext) -> dict[str, str | None]:
    provider = provider_of(circumstances)
    claims = parse_claims(circumstances.token)
    facts: dict[str, str | None] = {
        "host": circumstances.host,
        "port": str(circumstances.port),
        "account": circumstances.account,
        "sender": circumstances.sender,
        "provider": None if provider is None or provider.id == "custom" else provider.name,
        "owner": circumstances.owner or (None if claims is None else claims.user(circumstances.account or "")),
        "security_now": circumstances.security.value,
        **_wrong_by(circumstances.skew),
        **_already(circumstances),
    }
    if error.reply is not None and not error.reply.positive:
        facts["words"] = for_people(error.reply.one_line)
        facts["resource"] = other_resource_of(circumstances) or _foreign_resource(error.reply.one_line)
    elif isinstance(error, TokenServiceError):
        said = ": ".join(filter(None, (error.error, error.error_description)))
        facts["resource"] = _foreign_resource(error.error_description)
        if said or (error.status or 0) >= 300:
            facts["token_words"] = said or f"HTTP {error.status}"
        else:
            # What it said was no refusal, and of no use all the same: that is for us to say.
            facts["reason"] = str(error)
    else:
        facts["reason"] = str(error)
    if isinstance(error, NetworkError) and error.waited is not None:
        facts["seconds"] = f"{error.waited:.3g}"
    elif isinstance(error, NetworkError) and error.stage == "greeting":
        facts["door"] = circumstances.host
    if isinstance(error, RecipientsRefusedError):
        facts["recipient"] = next(iter(error.refused))
    return facts


def _foreign_resource(said: str) -> str | None:
    found = find_foreign_resource(said)
    return None if found is None else found.name


def _already(known: DiagnosisContext) -> dict[str, str | None]:
    """Return what is set as it should be, so that no advice asks for it."""
    signs_in = known.authentication in {"password", "oauth2"}
    is_own = known.sender and known.account and known.sender.casefold() == known.account.casefold()
    return {
        "own_address": known.sender if is_own else None,
        "encrypted_now": None if known.security is Security.NONE else known.security.value,
        "signed_in_as": known.account if signs_in else None,
        "oauth_account": known.account if known.authentication == "oauth2" else None,
    }


def _wrong_by(skew: float) -> dict[str, str | None]:
    """How wrong the clock is, in the unit that suits."""
    for name, seconds in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if abs(skew) >= 2 * seconds:
            return {name: f"{abs(skew) / seconds:.0f}"}
    return {}


def _line(text: str) -> str:
    return printable(" ".join(text.split()))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
