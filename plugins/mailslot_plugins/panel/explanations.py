"""What went wrong, in the language of whoever looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.causes.cause import causes
from mailslot.diagnosis.catalogue import Explanation, explain
from mailslot.diagnosis.diagnosis import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Mapping

_ORIGINAL = "en"
"""The language of the sentences that are kept with jobs and grants."""


def explanation_of(
    cause: str, language: str, *, sentence: str = "", facts: Mapping[str, str] | None = None
) -> Explanation:
    """Return what is said of a fault.

    Args:
        cause: an id of the catalogue; any other has its own sentence only.
        language: one of the panel's.
        sentence: what was said in English when it happened, which knows more than the cause alone; empty for nothing.
        facts: what the cause's sentence is filled with, where that is still known.
    """
    if cause not in causes():
        return Explanation(cause, sentence or cause, "", None, token_helps=False)
    said = explain(Diagnosis(cause, facts or {}), language)
    if sentence and not facts and language == _ORIGINAL:
        return Explanation(cause, sentence, said.advice, said.actor, said.token_helps)
    return said
