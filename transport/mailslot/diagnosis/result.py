"""The result of a connection test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailslot.causes.cause import causes
from mailslot.diagnosis.catalogue import explain
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from mailslot.diagnosis.diagnosis import Diagnosis
    from mailslot.diagnosis.stages import StageResult


@dataclass(frozen=True, slots=True)
class TestResult:
    """The result of a connection test.

    Attributes:
        slot: the slot that was tested.
        record: the record behind it.
        at: when it began, in seconds since the epoch.
        ok: whether every stage passed.
        stage: the stage that failed; None if none did.
        diagnosis: why; its cause is ``ok`` if every stage passed.
        stages: the stages that were reached, in the order of `mailslot.diagnosis.stages.STAGES`.
        transcript: the dialogue, without secrets.
        warnings: problems that did not stop the test.
        settings: the result of `mailslot.diagnosis.tested_settings.tested_settings`; empty if they cannot be read.
    """

    slot: str
    record: str
    at: float
    ok: bool
    stage: str | None
    diagnosis: Diagnosis
    stages: tuple[StageResult, ...]
    transcript: tuple[str, ...]
    warnings: tuple[Diagnosis, ...] = ()
    settings: str = ""

    def as_json(self, language: str = "en") -> dict[str, Any]:
        """Return the test as ``mailslot test --json`` prints it (design, section 5)."""
        explanation = explain(self.diagnosis, language)
        warnings = [explain(warning, language) for warning in self.warnings]
        return {
            "slot": self.slot,
            "record": self.record,
            "at": iso(self.at),
            "ok": self.ok,
            "stage": self.stage,
            "cause": explanation.cause,
            "message": explanation.message,
            "advice": explanation.advice,
            # Of the cause, whatever is set in this slot: programs rely on it.
            "actor": causes()[explanation.cause].actor,
            "token_helps": explanation.token_helps,
            "settings": list(explanation.settings),
            "detail": self.diagnosis.detail,
            "stages": [
                {"name": stage.name, "ok": stage.ok, "seconds": round(stage.seconds, 4), "note": stage.note}
                for stage in self.stages
            ],
            "transcript": list(self.transcript),
            "warnings": [{"cause": each.cause, "message": each.message, "advice": each.advice} for each in warnings],
        }
