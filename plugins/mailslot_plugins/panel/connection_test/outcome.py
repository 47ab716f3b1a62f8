"""The outcome of a finished connection test, as pages show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.tested_settings import is_outdated
from mailslot_plugins.panel.slots.labels import settings_to_enter, with_labels

if TYPE_CHECKING:
    from mailslot.diagnosis.catalogue import Explanation
    from mailslot.diagnosis.history import PastTest
    from mailslot.diagnosis.result import TestResult
    from mailslot.diagnosis.stages import StageResult
    from mailslot.slots.slot import Protocol


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a test.

    Attributes:
        ok: whether every stage passed.
        at: when it began, in seconds since 1970.
        seconds: how long it took.
        stage: the stage that failed; None if none did.
        explanation: the sentence, the advice, who must act, and whether a new token would help.
        detail: for an engineer; may be empty.
        transcript: the dialogue, without secrets; empty if it is no longer stored.
        stages: the stages that were reached; empty if they are no longer stored.
        warnings: other problems.
        outdated: whether the settings have changed since.
        settings: the settings of the slot that may be wrong, from `settings_to_enter`.
    """

    ok: bool
    at: float
    seconds: float
    stage: str | None
    explanation: Explanation
    detail: str
    transcript: tuple[str, ...] = ()
    stages: tuple[StageResult, ...] = ()
    warnings: tuple[Explanation, ...] = ()
    outdated: bool = False
    settings: tuple[tuple[str, str, str], ...] = ()

    @property
    def sent(self) -> bool:
        """Whether a message was mailed."""
        return any(stage.name == "send" for stage in self.stages)


def outcome_of_result(result: TestResult, protocol: Protocol, language: str, current: str) -> Outcome:
    """Return the outcome of a test that ended recently; the arguments are those of `outcome_of_past_test`."""
    return Outcome(
        ok=result.ok,
        at=result.at,
        seconds=sum(stage.seconds for stage in result.stages),
        stage=result.stage,
        explanation=explain(with_labels(result.diagnosis, protocol, language), language),
        detail=result.diagnosis.detail,
        transcript=result.transcript,
        stages=result.stages,
        outdated=is_outdated(result, current),
        settings=settings_to_enter(result.diagnosis, protocol, language),
        warnings=tuple(explain(with_labels(each, protocol, language), language) for each in result.warnings),
    )


def outcome_of_past_test(past: PastTest, protocol: Protocol, language: str, current: str) -> Outcome:
    """Return the outcome of a test in the history.

    Args:
        past: the test.
        protocol: the record's protocol.
        language: one of the panel's.
        current: the result of `tested_settings` for the record.
    """
    diagnosis = Diagnosis(past.cause, past.facts, past.detail)
    return Outcome(
        ok=past.ok,
        at=past.at,
        seconds=past.seconds,
        stage=past.stage,
        explanation=explain(with_labels(diagnosis, protocol, language), language),
        detail=past.detail,
        transcript=past.transcript,
        outdated=is_outdated(past, current),
        settings=settings_to_enter(diagnosis, protocol, language),
    )
