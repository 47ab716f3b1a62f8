"""What a page says of a test that has ended, be it a moment or a year ago."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot_plugins.panel.slots.labels import named

if TYPE_CHECKING:
    from mailslot.diagnosis.catalogue import Explanation
    from mailslot.diagnosis.history import PastTest
    from mailslot.diagnosis.result import TestResult
    from mailslot.diagnosis.stages import StageResult
    from mailslot.slots.slot import Protocol


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a test went, for people.

    Attributes:
        ok: whether every stage passed.
        at: when it began, in seconds since 1970.
        seconds: how long it took.
        stage: the one that failed; None where none did.
        said: the sentence, the advice, who must act, and whether a new token would help.
        detail: for an engineer; may be empty.
        transcript: what both sides said, without secrets; empty where it is not kept any more.
        stages: those that were reached; empty where it is not known any more.
        warnings: what is wrong besides.
    """

    ok: bool
    at: float
    seconds: float
    stage: str | None
    said: Explanation
    detail: str
    transcript: tuple[str, ...] = ()
    stages: tuple[StageResult, ...] = ()
    warnings: tuple[Explanation, ...] = ()

    @property
    def sent(self) -> bool:
        """Whether a message was mailed."""
        return any(stage.name == "send" for stage in self.stages)


def of_result(result: TestResult, protocol: Protocol, language: str) -> Outcome:
    """Return what is said of a test that was made just now.

    Args:
        result: how it went.
        protocol: what the slot is for.
        language: one of the panel's.
    """
    return Outcome(
        ok=result.ok,
        at=result.at,
        seconds=sum(stage.seconds for stage in result.stages),
        stage=result.stage,
        said=explain(named(result.diagnosis, protocol, language), language),
        detail=result.diagnosis.detail,
        transcript=result.transcript,
        stages=result.stages,
        warnings=tuple(explain(named(each, protocol, language), language) for each in result.warnings),
    )


def of_past(past: PastTest, protocol: Protocol, language: str) -> Outcome:
    """Return what is said of a test that is remembered.

    Args:
        past: the test.
        protocol: what the slot is for.
        language: one of the panel's.
    """
    return Outcome(
        ok=past.ok,
        at=past.at,
        seconds=past.seconds,
        stage=past.stage,
        said=explain(named(Diagnosis(past.cause, past.facts, past.detail), protocol, language), language),
        detail=past.detail,
        transcript=past.transcript,
    )
