"""How a connection test went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailslot.diagnosis.catalogue import explain
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from mailslot.diagnosis.diagnosis import Diagnosis
    from mailslot.diagnosis.stages import StageResult


@dataclass(frozen=True, slots=True)
class TestResult:
    """How a test went.

    Attributes:
        slot: the slot that was tested.
        record: the record behind it.
        at: when it began, in seconds since the epoch.
        ok: whether every stage passed.
        stage: the one that failed; None where none did.
        diagnosis: why; its cause is ``ok`` where every stage passed.
        stages: those that were reached, in the order of `mailslot.diagnosis.stages.STAGES`.
        transcript: what both sides said, without secrets.
        warnings: what is wrong besides and stopped nothing.
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

    def as_json(self, language: str = "en") -> dict[str, Any]:
        """Return the test as ``mailslot test --json`` prints it (design, section 5)."""
        said = explain(self.diagnosis, language)
        warnings = [explain(warning, language) for warning in self.warnings]
        return {
            "slot": self.slot,
            "record": self.record,
            "at": iso(self.at),
            "ok": self.ok,
            "stage": self.stage,
            "cause": said.cause,
            "message": said.message,
            "advice": said.advice,
            "actor": said.actor,
            "token_helps": said.token_helps,
            "detail": self.diagnosis.detail,
            "stages": [
                {"name": stage.name, "ok": stage.ok, "seconds": round(stage.seconds, 4), "note": stage.note}
                for stage in self.stages
            ],
            "transcript": list(self.transcript),
            "warnings": [{"cause": each.cause, "message": each.message, "advice": each.advice} for each in warnings],
        }
