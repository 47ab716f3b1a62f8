"""The failure of a sign-in, in the language of the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.oauth.token_errors import TokenServiceError
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.token.authorization import TIMED_OUT
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from mailslot.errors import MailError
    from mailslot_plugins.panel.token.sign_in import SignIn

_DECLINED: Final = frozenset({"access_denied", "authorization_declined"})
_NOT_FINISHED: Final = "token_not_retrieved"


@dataclass(frozen=True, slots=True)
class SignInFailure:
    """The failure of a sign-in, for people.

    Attributes:
        sentence: what went wrong.
        advice: what to do; may be empty.
        detail: for an engineer, in English; may be empty.
    """

    sentence: str
    advice: str
    detail: str


def failure_of(sign_in: SignIn, language: str) -> SignInFailure:
    """Return the failure of a sign-in."""
    error = sign_in.error
    if error is None:
        return SignInFailure(translate("layout", "trouble_other", language), "", "")
    detail = " ".join(filter(None, (str(error), error.detail)))
    if key := _key(error, sign_in.method.name):
        again = translate("token", "try_again", language)
        return SignInFailure(translate("token", key, language), again, "" if error.detail == TIMED_OUT else detail)
    explanation = explanation_of(error.cause, language, sentence=str(error))
    return SignInFailure(
        explanation.message, explanation.advice, error.detail if explanation.message == str(error) else detail
    )


def _key(error: MailError, method: str) -> str:
    """Return the key of the text for an unfinished sign-in; empty for other failures."""
    if error.cause != _NOT_FINISHED:
        return ""
    if isinstance(error, TokenServiceError) and error.error in _DECLINED:
        return "declined"
    # With a device code, an expired code is the only other reason.
    if method == "device":
        return "expired"
    return "late" if error.detail == TIMED_OUT else "unusable"
