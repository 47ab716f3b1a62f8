"""What needs somebody to act, a sentence each, the worst first."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mailslot.entry_points import describe_error
from mailslot.errors import MailError
from mailslot.exit_guard import ExitGuard
from mailslot.slots.slot import PROTOCOLS, slots_of
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.home.attention_item import AttentionItem
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable

    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.panel.home.attention_item import Step
    from mailslot_plugins.panel.home.records import Overview
    from mailslot_plugins.panel.pipelines import PipelinePage

_MOST_JOBS: Final = 3
"""Jobs that are named one by one."""

_RECENT: Final = 7 * 86_400.0
"""Seconds for which a job that failed is spoken of."""

logger = logging.getLogger(__name__)


async def attention_items(
    device: Device, records: Iterable[Overview], language: str, pages: Iterable[PipelinePage] = ()
) -> list[AttentionItem]:
    """Return what needs somebody.

    Args:
        device: the device.
        records: what is known of the records.
        language: of the sentences.
        pages: what pipelines bring.
    """
    held = await device.spool.held_by_record()
    numbers = {via: number for via, (number, _) in held.items()}
    blamed = {
        each.name: matter for each in records if (matter := _of_record(each, language, numbers.get(each.name, 0)))
    }
    named = {slot.id for record in blamed for slot in slots_of(record)}
    found = [*blamed.values()]
    for via, (number, newest) in held.items():
        if via in PROTOCOLS and via not in blamed:
            found.append(_of_held(await device.spool.job(newest), number, language))
    in_doubt = await device.spool.jobs(states=["in_doubt"], limit=_MOST_JOBS)
    # One whose answer is still awaited needs nobody.
    found += [_of_job(job, language) for job in in_doubt if not job.delivering]
    failed = await device.spool.jobs(states=["failed"], limit=_MOST_JOBS)
    found += [_of_job(job, language) for job in failed if device.now() - job.changed_at < _RECENT]
    for page in pages:
        found += await _of_page(page, device, language, named)
    return found


async def _of_page(page: PipelinePage, device: Device, language: str, named: Container[str]) -> list[AttentionItem]:
    """Return what a pipeline knows that needs somebody."""
    ask: Callable[..., Awaitable[list[AttentionItem]]] | None = getattr(page.module, "attention", None)
    if ask is None:
        return []
    try:
        with ExitGuard():
            return await ask(device, language, named)
    except MailError:
        raise
    except Exception as error:  # noqa: BLE001 - the page is there for whatever else needs somebody
        logger.debug("What the pipeline %s needs is not known: %s", page.name, describe_error(error))
        return []


def _of_record(record: Overview, language: str, held: int) -> AttentionItem | None:
    """Return what a record needs: its token first, since nothing works without one; then its test, then its poll."""
    slot = record.doors[0].id
    token, test = record.token, record.test
    step: Step = "test"
    if token.kind == "error" and token.health is not None and record.is_set:
        said, step = explanation_of(token.health.cause or "token_not_retrieved", language), "settings"
    elif test is not None and not test.ok and (token.health is None or (token.health.obtained_at or 0.0) < test.at):
        said = explanation_of(test.cause, language, facts=test.facts)
    elif record.poll_cause is not None:
        said = explanation_of(record.poll_cause, language, sentence=record.poll_sentence)
    else:
        return None
    if said.token_helps:
        step = "get_token"
    address = f"/slots/{slot}" + {"get_token": "/token", "test": "/test", "settings": ""}[step]
    return AttentionItem(_name(record.name), said.message, said.advice, said.actor, step, address, held)


def _of_held(job: Job, number: int, language: str) -> AttentionItem:
    said = explanation_of(job.cause or "unknown", language, sentence=job.sentence)
    slot = slots_of(job.via)[0].id
    return AttentionItem(_name(job.via), said.message, said.advice, said.actor, "test", f"/slots/{slot}/test", number)


def _of_job(job: Job, language: str) -> AttentionItem:
    if job.state == "in_doubt":
        sentence, advice, actor = translate("home", "job_in_doubt", language), "", None
    else:
        said = explanation_of(job.cause or "unknown", language, sentence=job.sentence)
        sentence, advice, actor = said.message, said.advice, said.actor
    return AttentionItem(job.subject, sentence, advice, actor, "job", f"/jobs/{job.id}")


def _name(record: str) -> str:
    return " · ".join(slot.path.rpartition(" → ")[2] for slot in slots_of(record))
