"""What needs somebody to act, a sentence each, the worst first."""

from __future__ import annotations

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
    held = await device.spool.held()
    numbers = {via: number for via, (number, _) in held.items()}
    blamed = {
        each.name: matter for each in records if (matter := _of_record(each, language, numbers.get(each.name, 0)))
    }
    named = {slot.id for record in blamed for slot in doors(record)}
    found = [*blamed.values()]
    for via, (number, newest) in held.items():
        if via in PROTOCOLS and via not in blamed:
            found.append(_of_held(await device.spool.job(newest), number, language))
    in_doubt = await device.spool.jobs(states=["in_doubt"], most=_MOST_JOBS)
    # One whose answer is still awaited needs nobody.
    found += [_of_job(job, language) for job in in_doubt if not job.delivering]
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
    step: Step = "test"
    if token.kind == "error" and token.health is not None and record.is_set:
        said, step = told(token.health.cause or "token_not_retrieved", language), "settings"
    elif test is not None and not test.ok and (token.health is None or (token.health.obtained_at or 0.0) < test.at):
        said = told(test.cause, language, facts=test.facts)
    elif record.poll_cause is not None:
        said = told(record.poll_cause, language, sentence=record.poll_sentence)
    else:
        return None
    if said.token_helps:
        step = "get_token"
    address = f"/slots/{slot}" + {"get_token": "/token", "test": "/test", "settings": ""}[step]
    return Matter(_name(record.name), said.message, said.advice, said.actor, step, address, held)


def _of_held(job: Job, number: int, language: str) -> Matter:
    said = told(job.cause or "unknown", language, sentence=job.sentence)
    slot = doors(job.via)[0].id
    return Matter(_name(job.via), said.message, said.advice, said.actor, "test", f"/slots/{slot}/test", number)


def _of_job(job: Job, language: str) -> Matter:
    if job.state == "in_doubt":
        sentence, advice, actor = say("home", "job_in_doubt", language), "", None
    else:
        said = told(job.cause or "unknown", language, sentence=job.sentence)
        sentence, advice, actor = said.message, said.advice, said.actor
    return Matter(job.subject, sentence, advice, actor, "job", f"/jobs/{job.id}")


def _name(record: str) -> str:
    return " · ".join(slot.path.rpartition(" → ")[2] for slot in doors(record))
