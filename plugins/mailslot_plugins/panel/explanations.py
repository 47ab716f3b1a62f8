"""Explanations of faults in the language of the page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mailslot.causes.cause import causes
from mailslot.diagnosis.catalogue import Explanation, explain
from mailslot.diagnosis.diagnosis import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Mapping

_ORIGINAL = "en"
"""The language of the sentences that are stored with jobs and grants."""


def explanation_of(
    cause: str, language: str, *, sentence: str = "", facts: Mapping[str, str] | None = None
) -> Explanation:
    """Return the explanation of a fault.

    Args:
        cause: the id of a cause; an unknown one has only its own sentence.
        language: one of the panel's.
        sentence: the English sentence stored when it happened, which has more details; may be empty.
        facts: the values for the placeholders of the cause's sentence, if they are still known.
    """
    if cause not in causes():
        return Explanation(cause, sentence or cause, "", None, token_helps=False)
    explanation = explain(Diagnosis(cause, facts or {}), language)
    if sentence and not facts and language == _ORIGINAL:
        return replace(explanation, message=sentence)
    return explanation
