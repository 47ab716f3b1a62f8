"""Connection tests as background tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from mailslot.diagnosis.connection_test import check_connection
from mailslot.diagnosis.stages import STAGES
from mailslot_plugins.panel.background import tasks_of

if TYPE_CHECKING:
    from starlette.datastructures import State

    from mailslot.diagnosis.result import TestResult
    from mailslot.diagnosis.stages import StageResult
    from mailslot.service.device import Device
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.background import BackgroundTask


@dataclass(eq=False)
class RunningTest:
    """A running or finished test.

    Attributes:
        slot: the slot at which it was started.
        send: whether it also mails a message.
        revision: increases with each change, so that a page knows whether it shows the newest state.
        result: the result; None while it is running, or if it was cancelled.
    """

    slot: Slot
    send: bool
    revision: int = 0
    result: TestResult | None = None
    _stages: dict[str, StageResult] = field(default_factory=dict[str, "StageResult"])

    @property
    def stages(self) -> list[StageResult]:
        """The stages that were reached, in the order of the test."""
        return [self._stages[name] for name in STAGES if name in self._stages]

    def record_stage(self, stage: StageResult) -> None:
        """Record that a stage begins or ends, or has to wait."""
        if stage.reached:
            self._stages[stage.name] = stage
        else:
            self._stages.pop(stage.name, None)
        self.revision += 1


def start_test(state: State, slot: Slot, *, send: bool = False, restart: bool = False) -> BackgroundTask[RunningTest]:
    """Start to test a slot, or return the running test of its record.

    Args:
        state: the application's state.
        slot: the slot.
        send: whether to also mail a test message to the slot's own address; not for POP slots.
        restart: whether a running test is cancelled, since it does not know the newest token or settings.
    """
    before = find_test(state, slot)
    if before is not None and before.running and not restart:
        return before
    return tasks_of(state).start(_key(slot), RunningTest(slot, send), partial(_test, state.device))


def find_test(state: State, slot: Slot) -> BackgroundTask[RunningTest] | None:
    """Return the newest test of a slot's record; None if there was none since the panel was started."""
    return tasks_of(state).find(_key(slot), RunningTest)


def cancel_test(state: State, slot: Slot) -> None:
    """Cancel the test of a slot's record, if one is running."""
    tasks_of(state).cancel(_key(slot))


async def _test(device: Device, testing: RunningTest) -> None:
    testing.result = await check_connection(
        device.connector, testing.slot, send=testing.send, on_stage=testing.record_stage
    )


def _key(slot: Slot) -> tuple[str, ...]:
    return "test", slot.record
