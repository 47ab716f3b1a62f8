"""The items that need attention: first records, then jobs, then what pipelines report."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mailslot.entry_points import describe_error
from mailslot.errors import MailError
from mailslot.exit_guard import ExitGuard
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.home.attention_item import AttentionItem
from mailslot_plugins.panel.home.token_warning import token_warning
from mailslot_plugins.panel.slots.names import slot_name
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable

    from mailslot.service.device import Device
    from mailslot.spool.job import Job
    from mailslot_plugins.panel.home.attention_item import Step
    from mailslot_plugins.panel.home.record_overview import RecordOverview
    from mailslot_plugins.panel.pipelines import PipelinePage

_MAX_NAMED_JOBS: Final = 3
"""Jobs that are listed one by one."""

_RECENT: Final = 7 * 86_400.0
"""Seconds for which a failed job is shown."""

logger = logging.getLogger(__name__)


async def attention_items(
    device: Device, records: Iterable[RecordOverview], language: str, pages: Iterable[PipelinePage] = ()
) -> list[AttentionItem]:
    """Return the items that need attention."""
    held = await device.spool.held_by_record()
    numbers = {via: number for via, (number, _) in held.items()}
    overviews = {each.name: each for each in records}
    by_record = {
        name: item for name, each in overviews.items() if (item := _record_item(each, language, numbers.get(name, 0)))
    }
    named = {slot.id for name in by_record for slot in overviews[name].slots}
    found = [*by_record.values()]
    for via, (number, newest) in held.items():
        if via in overviews and via not in by_record:
            found.append(_held_item(overviews[via], await device.spool.job(newest), number, language))
    in_doubt = await device.spool.jobs(states=["in_doubt"], limit=_MAX_NAMED_JOBS)
    # A job whose reply is still awaited needs nobody.
    found += [_job_item(job, language) for job in in_doubt if not job.delivering]
    failed = await device.spool.jobs(states=["failed"], limit=_MAX_NAMED_JOBS)
    found += [_job_item(job, language) for job in failed if device.now() - job.changed_at < _RECENT]
    for page in pages:
        found += await _pipeline_items(page, device, language, named)
    return found


async def _pipeline_items(
    page: PipelinePage, device: Device, language: str, named: Container[str]
) -> list[AttentionItem]:
    """Return the items of a pipeline."""
    ask: Callable[..., Awaitable[list[AttentionItem]]] | None = getattr(page.module, "attention", None)
    if ask is None:
        return []
    try:
        with ExitGuard():
            return await ask(device, language, named)
    except MailError:
        raise
    except Exception as error:  # noqa: BLE001 - the other items must be shown
        logger.debug("The pipeline %s cannot report what needs attention: %s", page.name, describe_error(error))
        return []


def _record_item(record: RecordOverview, language: str, held: int) -> AttentionItem | None:
    """Return a record's item: about its token, without which nothing works, or else its test, or its poll."""
    slot = record.slots[0].id
    token, test = record.token, record.test
    step: Step = "test"
    if token.kind == "error" and token.health is not None and record.is_set:
        explanation, step = explanation_of(token.health.cause or "token_not_retrieved", language), "settings"
    elif test is not None and not test.ok and (token.health is None or (token.health.obtained_at or 0.0) < test.at):
        if record.test_is_outdated:
            sentence = translate("home", "test_is_outdated", language)
            return AttentionItem(_name(record, language), sentence, "", None, "test", f"/slots/{slot}/test", held)
        explanation = explanation_of(test.cause, language, facts=test.facts)
    elif record.poll_cause is not None:
        explanation = explanation_of(record.poll_cause, language, sentence=record.poll_sentence)
    else:
        return token_warning(token, _name(record, language), slot, held, language)
    field = ""
    if explanation.token_helps:
        step = "get_token"
    elif explanation.settings:
        step, field = "settings", f"#{explanation.settings[0].partition('=')[0]}"
    address = f"/slots/{slot}" + {"get_token": "/token", "test": "/test", "settings": field}[step]
    return AttentionItem(
        _name(record, language), explanation.message, explanation.advice, explanation.actor, step, address, held
    )


def _held_item(record: RecordOverview, job: Job, number: int, language: str) -> AttentionItem:
    explanation = explanation_of(job.cause or "unknown", language, sentence=job.sentence)
    return AttentionItem(
        _name(record, language),
        explanation.message,
        explanation.advice,
        explanation.actor,
        "test",
        f"/slots/{record.slots[0].id}/test",
        number,
    )


def _job_item(job: Job, language: str) -> AttentionItem:
    if job.state == "in_doubt":
        sentence, advice, actor = translate("home", "job_in_doubt", language), "", None
    else:
        explanation = explanation_of(job.cause or "unknown", language, sentence=job.sentence)
        sentence, advice, actor = explanation.message, explanation.advice, explanation.actor
    return AttentionItem(job.subject, sentence, advice, actor, "job", f"/jobs/{job.id}")


def _name(record: RecordOverview, language: str) -> str:
    return " · ".join(slot_name(slot, language) for slot in record.slots)
