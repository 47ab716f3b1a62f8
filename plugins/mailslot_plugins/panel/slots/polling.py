"""When mail is looked for, what came of it last, and looking for it now."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.diagnosis.catalogue import explain as say_cause
from mailslot.errors import InputError, MailError
from mailslot.service.pipeline import find_pipelines, pollers
from mailslot.service.poller import STORE, poll_once
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.slots.labels import FOLDER, named
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import State

    from mailslot.diagnosis.diagnosis import Diagnosis
    from mailslot.service.device import Device
    from mailslot.service.poll_report import PollReport
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.background import BackgroundTask, BackgroundTasks

_WAIT: Final = 30.0
"""Seconds to wait for a poll of the same record that goes on."""


@dataclass(eq=False)
class Check:
    """A look for mail, now.

    Attributes:
        slot: the slot.
        summary: what came of it, as `mailslot.service.poll_report.PollReport.summary` has it; empty before.
        diagnosis: of what went wrong, where it is one of the catalogue.
        report: all that came of it; None before, and where it could not be done at all.
        error: why that was; None where it was not.
    """

    slot: Slot
    summary: Mapping[str, Any] = field(default_factory=dict[str, Any])
    diagnosis: Diagnosis | None = None
    report: PollReport | None = None
    error: MailError | None = None


@dataclass(frozen=True, slots=True)
class Polls:
    """The polling of a record, for people.

    Attributes:
        running: whether a look that was asked for here goes on.
        at: when it was done last, in seconds since 1970; None for never.
        ok: whether nothing went wrong then.
        sentence: what came of it.
        advice: what to do about it; empty for nothing.
        next_at: when it is due again; None where it is done by hand only, or nobody knows.
        by_hand: whether it is done by hand only.
    """

    running: bool
    at: float | None
    ok: bool
    sentence: str
    advice: str
    next_at: float | None
    by_hand: bool


def start_check(state: State, slot: Slot) -> BackgroundTask[Check]:
    """Begin to look for mail; where a look goes on already, that one is returned.

    Args:
        state: the application's.
        slot: a POP slot.
    """
    work: BackgroundTasks = state.work
    before = find_check(state, slot)
    if before is not None and before.running:
        return before
    return work.start(_key(slot), Check(slot), partial(_check, state.device))


def find_check(state: State, slot: Slot) -> BackgroundTask[Check] | None:
    """Return the newest look for mail that was asked for here; None where there was none.

    Args:
        state: the application's.
        slot: a POP slot.
    """
    work: BackgroundTasks = state.work
    return work.find(_key(slot), Check)


async def polls(state: State, slot: Slot, interval: int, language: str) -> Polls:
    """Return how the polling of a slot's record goes.

    Args:
        state: the application's.
        slot: a POP slot.
        interval: minutes between two polls; 0 for by hand only.
        language: one of the panel's.
    """
    device: Device = state.device
    piece = find_check(state, slot)
    last: Mapping[str, Any] = await device.store(STORE).get(slot.record) or {}
    diagnosis = None
    if piece is not None and piece.about.summary.get("at", 0.0) >= last.get("at", 0.0) and piece.about.summary:
        last, diagnosis = piece.about.summary, piece.about.diagnosis
    at = last.get("at")
    sentence, advice = _said(last, diagnosis, language) if last else ("", "")
    return Polls(
        running=piece is not None and piece.running,
        at=at,
        ok=bool(last.get("ok", True)),
        sentence=sentence,
        advice=advice,
        next_at=max(at + 60 * interval, device.now()) if at is not None and interval else None,
        by_hand=not interval,
    )


async def _check(device: Device, check: Check) -> None:
    # What is not imported yet takes a while.
    pipeline = pollers(await run_sync(find_pipelines)).get(check.slot.record)
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


def _said(last: Mapping[str, Any], diagnosis: Diagnosis | None, language: str) -> tuple[str, str]:
    """Return the sentence and the advice for a poll's summary."""
    if last["ok"]:
        parts = [translate(FOLDER, "polled_all", language, listed=last["listed"], fetched=last["fetched"])]
        more = [name for name in ("passed_over", "refused", "left") if last[name]]
        parts += [translate(FOLDER, f"polled_{name}", language, number=last[name]) for name in more]
        return " ".join(parts), ""
    if last["cause"] == "no_pipeline":
        return translate(FOLDER, "no_pipeline", language), ""
    said = (
        say_cause(named(diagnosis, "POP", language), language)
        if diagnosis
        else explanation_of(last["cause"], language, sentence=last["sentence"])
    )
    return said.message, said.advice


def _key(slot: Slot) -> tuple[str, ...]:
    return "poll", slot.record
