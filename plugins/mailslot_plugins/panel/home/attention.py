"""What needs somebody to act, a sentence each, the worst first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.slots.slot import PROTOCOLS, doors
from mailslot_plugins.alerts.alarms import Alarms
from mailslot_plugins.panel.alerts.kinds import kind_name
from mailslot_plugins.panel.faults import told
from mailslot_plugins.panel.words import say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.diagnosis.catalogue import Actor
    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.panel.home.records import Overview

_MOST_JOBS: Final = 3
"""Jobs that are named one by one."""

_RECENT: Final = 7 * 86_400.0
"""Seconds for which a job that failed is spoken of."""

Step = Literal["get_token", "test", "settings", "job", "jobs", "alerts"]


@dataclass(frozen=True, slots=True)
class Matter:
    """Something that needs somebody.

    Attributes:
        where: what it is about, such as a slot's name; may be empty.
        sentence: what is wrong.
        advice: what to do; may be empty.
        actor: who must act; None where it is whoever looks.
        step: what the button does.
        address: where the button leads.
        held: how many jobs wait for it.
    """

    where: str
    sentence: str
    advice: str
    actor: Actor | None
    step: Step
    address: str
    held: int = 0


async def matters(device: Device, records: Iterable[Overview], language: str) -> list[Matter]:
    """Return what needs somebody.

    Args:
        device: the device.
        records: what is known of the records.
        language: of the sentences.
    """
    held = await device.spool.jobs(states=["held"], most=1000)
    waiting = Counter(job.via for job in held)
    found = [matter for each in records if (matter := _of_record(each, language, waiting[each.name]))]
    blamed = {matter.where for matter in found}
    named = {slot.id for each in records if _name(each.name) in blamed for slot in each.doors}
    found += [_of_held(via, held, language) for via in waiting if via in PROTOCOLS and _name(via) not in blamed]
    found += [_of_job(job, language) for job in await device.spool.jobs(states=["in_doubt"], most=_MOST_JOBS)]
    failed = await device.spool.jobs(states=["failed"], most=_MOST_JOBS)
    found += [_of_job(job, language) for job in failed if device.now() - job.changed_at < _RECENT]
    board = await Alarms(device).board()
    for incident in board.incidents:
        # What is wrong with a slot is said of the slot.
        if incident.absent_since is None and incident.part not in named:
            what = kind_name(incident.kind, language, incident.part)
            found.append(
                Matter("", say("home", "open_alarm", language, what=what), incident.detail, None, "alerts", "/alerts")
            )
    return found


def _of_record(record: Overview, language: str, held: int) -> Matter | None:
    """Return what a record needs: its token first, since nothing works without one; then its test, then its poll."""
    slot = record.doors[0].id
    token, test = record.token, record.test
    if token.kind == "error" and token.health is not None and record.is_set:
        said = told(token.health.cause or "token_not_retrieved", language)
        step: Step = "get_token" if said.token_helps else "settings"
        address = f"/slots/{slot}/token" if said.token_helps else f"/slots/{slot}"
        return Matter(_name(record.name), said.message, said.advice, said.actor, step, address, held)
    if test is not None and not test.ok and (token.health is None or _since(token.health.obtained_at) < test.at):
        said = told(test.cause, language, facts=test.facts)
    elif record.poll_cause is not None:
        said = told(record.poll_cause, language, sentence=record.poll_sentence)
    else:
        return None
    if said.token_helps:
        return Matter(
            _name(record.name), said.message, said.advice, said.actor, "get_token", f"/slots/{slot}/token", held
        )
    return Matter(_name(record.name), said.message, said.advice, said.actor, "test", f"/slots/{slot}/test", held)


def _of_held(via: str, held: Iterable[Job], language: str) -> Matter:
    job = next(job for job in held if job.via == via)
    said = told(job.cause or "unknown", language, sentence=job.sentence)
    slot = doors(via)[0].id
    number = sum(each.via == via for each in held)
    return Matter(_name(via), said.message, said.advice, said.actor, "test", f"/slots/{slot}/test", number)


def _of_job(job: Job, language: str) -> Matter:
    if job.state == "in_doubt":
        sentence, advice, actor = say("home", "job_in_doubt", language), "", None
    else:
        said = told(job.cause or "unknown", language, sentence=job.sentence)
        sentence, advice, actor = said.message, said.advice, said.actor
    return Matter(job.subject, sentence, advice, actor, "job", f"/jobs/{job.id}")


def _name(record: str) -> str:
    return " · ".join(slot.path.rpartition(" → ")[2] for slot in doors(record))


def _since(moment: float | None) -> float:
    return 0.0 if moment is None else moment
