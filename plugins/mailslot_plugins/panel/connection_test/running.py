"""A connection test as a piece of work: it goes on whether anybody looks or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from mailslot.diagnosis.connection_test import check_connection
from mailslot.diagnosis.stages import STAGES

if TYPE_CHECKING:
    from starlette.datastructures import State

    from mailslot.diagnosis.result import TestResult
    from mailslot.diagnosis.stages import StageResult
    from mailslot.service.device import Device
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.background import BackgroundTask, BackgroundTasks


@dataclass(eq=False)
class Testing:
    """A test on its way.

    Attributes:
        slot: through which slot it was begun.
        send: whether a message is mailed, too.
        changes: how often something was heard of it, so that a page knows whether it has seen the newest.
        result: how it went; None as long as nobody knows, and for one that was cancelled.
    """

    slot: Slot
    send: bool
    changes: int = 0
    result: TestResult | None = None
    _heard: dict[str, StageResult] = field(default_factory=dict[str, "StageResult"])

    @property
    def stages(self) -> list[StageResult]:
        """The stages that were reached, in the order in which they are shown."""
        return [self._heard[name] for name in STAGES if name in self._heard]

    def hear(self, stage: StageResult) -> None:
        """Hear of a stage that begins or ends."""
        self._heard[stage.name] = stage
        self.changes += 1


def start_test(state: State, slot: Slot, *, send: bool = False) -> BackgroundTask[Testing]:
    """Begin to test a slot; where a test of its record goes on already, that one is returned.

    Args:
        state: the application's.
        slot: which.
        send: whether to mail a test message to the slot's own address, too; POP slots have none.
    """
    work: BackgroundTasks = state.work
    before = find_test(state, slot)
    if before is not None and before.running:
        return before
    return work.start(_key(slot), Testing(slot, send), partial(_test, state.device))


def find_test(state: State, slot: Slot) -> BackgroundTask[Testing] | None:
    """Return the newest test of a slot's record; None where there was none since the panel was started.

    Args:
        state: the application's.
        slot: which.
    """
    work: BackgroundTasks = state.work
    return work.find(_key(slot), Testing)


def cancel_test(state: State, slot: Slot) -> None:
    """End the test of a slot's record, if one goes on.

    Args:
        state: the application's.
        slot: which.
    """
    work: BackgroundTasks = state.work
    work.cancel(_key(slot))


async def _test(device: Device, testing: Testing) -> None:
    testing.result = await check_connection(device.connector, testing.slot, send=testing.send, on_stage=testing.hear)


def _key(slot: Slot) -> tuple[str, ...]:
    return "test", slot.record
