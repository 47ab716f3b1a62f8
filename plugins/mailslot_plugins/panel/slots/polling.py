"""Polling of a slot's record: its schedule, the last result, and a poll on request."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.diagnosis.catalogue import explain as say_cause
from mailslot.errors import InputError, MailError
from mailslot.service.pipeline import find_pipelines, poller_of
from mailslot.service.poller import STORE, poll_once
from mailslot_plugins.panel.background import tasks_of
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.slots.labels import FOLDER, with_labels
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import State

    from mailslot.diagnosis.diagnosis import Diagnosis
    from mailslot.service.device import Device
    from mailslot.service.poll_report import PollReport
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.background import BackgroundTask

_WAIT: Final = 30.0
"""Seconds to wait for another running poll of the same record."""


@dataclass(eq=False)
class PollRun:
    """A poll on request.

    Attributes:
        slot: the slot.
        summary: its result, from `mailslot.service.poll_report.PollReport.summary`; empty while it is running.
        diagnosis: the diagnosis if it failed with a known cause.
        report: the full result; None while it is running, or if it could not start.
        error: why it could not start; otherwise None.
    """

    slot: Slot
    summary: Mapping[str, Any] = field(default_factory=dict[str, Any])
    diagnosis: Diagnosis | None = None
    report: PollReport | None = None
    error: MailError | None = None


@dataclass(frozen=True, slots=True)
class PollStatus:
    """The polling of a record, for people.

    Attributes:
        running: whether a poll that was requested here is running.
        at: the time of the last poll, in seconds since 1970; None if there was none.
        ok: whether it succeeded.
        sentence: its result.
        advice: what to do; may be empty.
        next_at: the time of the next poll; None if polling is manual, or if it is unknown.
        by_hand: whether polling is manual.
    """

    running: bool
    at: float | None
    ok: bool
    sentence: str
    advice: str
    next_at: float | None
    by_hand: bool


def start_poll(state: State, slot: Slot) -> BackgroundTask[PollRun]:
    """Start a poll, or return the running one."""
    before = find_poll(state, slot)
    if before is not None and before.running:
        return before
    return tasks_of(state).start(_key(slot), PollRun(slot), partial(_poll, state.device))


def find_poll(state: State, slot: Slot) -> BackgroundTask[PollRun] | None:
    """Return the newest poll that was requested here; None if there was none."""
    return tasks_of(state).find(_key(slot), PollRun)


async def poll_status(state: State, slot: Slot, interval: int, language: str) -> PollStatus:
    """Return the status of the polling of a slot's record.

    Args:
        state: the application's state.
        slot: a POP slot.
        interval: minutes between two polls; 0 for manual polling.
        language: one of the panel's.
    """
    device: Device = state.device
    task = find_poll(state, slot)
    last: Mapping[str, Any] = await device.store(STORE).get(slot.record) or {}
    diagnosis = None
    if task is not None and task.subject.summary.get("at", 0.0) >= last.get("at", 0.0) and task.subject.summary:
        last, diagnosis = task.subject.summary, task.subject.diagnosis
    at = last.get("at")
    sentence, advice = _texts(last, diagnosis, language) if last else ("", "")
    return PollStatus(
        running=task is not None and task.running,
        at=at,
        ok=bool(last.get("ok", True)),
        sentence=sentence,
        advice=advice,
        next_at=max(at + 60 * interval, device.now()) if at is not None and interval else None,
        by_hand=not interval,
    )


async def _poll(device: Device, check: PollRun) -> None:
    # Importing pipelines takes a while.
    pipeline = poller_of(await run_sync(find_pipelines), check.slot.record)
    if pipeline is None:
        check.summary = {"at": device.now(), "ok": False, "cause": "no_pipeline", "sentence": ""}
        sentence = f"No pipeline that handles the mail of {check.slot.id} is installed."
        check.error = InputError(sentence, stage="resolve", cause="not_configured")
        return
    try:
        report = await poll_once(device, check.slot.record, pipeline, wait=_WAIT)
    except MailError as error:
        check.summary = {"at": device.now(), "ok": False, "cause": error.cause, "sentence": str(error)}
        check.error = error
    else:
        check.summary, check.diagnosis, check.report = report.summary(), report.diagnosis, report


def _texts(last: Mapping[str, Any], diagnosis: Diagnosis | None, language: str) -> tuple[str, str]:
    """Return the sentence and the advice for a poll's summary."""
    if last["ok"]:
        parts = [translate(FOLDER, "polled_all", language, listed=last["listed"], fetched=last["fetched"])]
        more = [name for name in ("passed_over", "refused", "left") if last[name]]
        parts += [translate(FOLDER, f"polled_{name}", language, number=last[name]) for name in more]
        return " ".join(parts), ""
    if last["cause"] == "no_pipeline":
        return translate(FOLDER, "no_pipeline", language), ""
    explanation = (
        say_cause(with_labels(diagnosis, "POP", language), language)
        if diagnosis
        else explanation_of(last["cause"], language, sentence=last["sentence"])
    )
    return explanation.message, explanation.advice


def _key(slot: Slot) -> tuple[str, ...]:
    return "poll", slot.record
