"""Why there is no token, in the language of whoever looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot.oauth.token_errors import TokenServiceError
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.token.authorization import LATE
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from mailslot.errors import MailError
    from mailslot_plugins.panel.token.sign_in import SignIn

_DECLINED: Final = frozenset({"access_denied", "authorization_declined"})
_NOT_FINISHED: Final = "token_not_retrieved"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is said of a failure.

    Attributes:
        sentence: what went wrong.
        advice: what to do; may be empty.
        detail: for an engineer, in English; may be empty.
    """

    sentence: str
    advice: str
    detail: str


def outcome_of(sign_in: SignIn, language: str) -> Outcome:
    """Return what is said of a sign-in that failed.

    Args:
        sign_in: which.
        language: one of the panel's.
    """
    error = sign_in.error
    if error is None:
        return Outcome(translate("layout", "trouble_other", language), "", "")
    detail = " ".join(filter(None, (str(error), error.detail)))
    if key := _key(error, sign_in.way.name):
        again = translate("token", "try_again", language)
        return Outcome(translate("token", key, language), again, "" if error.detail == LATE else detail)
    said = explanation_of(error.cause, language, sentence=str(error))
    return Outcome(said.message, said.advice, error.detail if said.message == str(error) else detail)


def _key(error: MailError, way: str) -> str:
    """Return the word for how a sign-in was not finished; empty where something else went wrong."""
    if error.cause != _NOT_FINISHED:
        return ""
    if isinstance(error, TokenServiceError) and error.error in _DECLINED:
        return "declined"
    # Nothing else keeps a code from being good for a token.
    if way == "device":
        return "expired"
    return "late" if error.detail == LATE else "unusable"
