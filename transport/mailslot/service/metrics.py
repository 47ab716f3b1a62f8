"""The metrics of a device, in the text format of Prometheus (version 0.0.4).

They are all read from the disk, so any process can report them, whether or not the service is running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot.diagnosis.gateway_log import STORE as GATEWAY_LOG
from mailslot.diagnosis.gateway_log import GatewayLog
from mailslot.diagnosis.history import History
from mailslot.errors import MailError
from mailslot.oauth.grant_source import GrantSource
from mailslot.service.gateway_documents import read_listeners
from mailslot.service.metric_family import Family, as_text
from mailslot.service.poller import STORE
from mailslot.spool.job import STATES, UNFINISHED

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings


async def metrics(device: Device) -> str:
    """Return the metrics of a device.

    Raises:
        MailError: the spool cannot be read.
    """
    families = [
        *await _jobs(device),
        *await _losses(device),
        *await _mails(device),
        *await _polls(device),
        *await _records(device),
        *await _gateway(device),
    ]
    return as_text(families)


async def _jobs(device: Device) -> list[Family]:
    jobs = Family("jobs", "gauge", "Jobs by pipeline and state; those that have ended as long as they are remembered.")
    oldest = Family("oldest_waiting_job_seconds", "gauge", "Age of the oldest job that has not ended, by pipeline.")
    tally = await device.spool.count_by_pipeline()
    accepted: dict[str, float] = {}
    for pipeline in dict.fromkeys(row[0] for row in tally):
        counts = {state: count for name, state, count, _ in tally if name == pipeline}
        for state in STATES:
            jobs.add(counts.get(state, 0), pipeline=pipeline, state=state)
    for pipeline, state, _, at in tally:
        if state in UNFINISHED:
            accepted[pipeline] = min(at, accepted.get(pipeline, at))
    for pipeline, at in accepted.items():
        oldest.add(max(device.now() - at, 0.0), pipeline=pipeline)
    return [jobs, oldest]


async def _losses(device: Device) -> list[Family]:
    at = Family("jobs_lost_timestamp_seconds", "gauge", "When the list of jobs was last lost and rebuilt.")
    damaged = Family("jobs_lost_damaged", "gauge", "Jobs whose messages were damaged then, and that have failed.")
    for loss in (await device.spool.losses())[-1:]:
        at.add(loss.at)
        damaged.add(loss.damaged)
    return [at, damaged]


async def _mails(device: Device) -> list[Family]:
    mails = Family("fetched_mails", "gauge", "Mails that were fetched, by record and state.")
    for record, state, count in await device.spool.ledger.count_by_record():
        mails.add(count, record=record, state=state)
    return [mails]


async def _polls(device: Device) -> list[Family]:
    at = Family("last_poll_timestamp_seconds", "gauge", "When a record was polled last.")
    ok = Family("last_poll_ok", "gauge", "Whether that poll went well.")
    left = Family("last_poll_left", "gauge", "Mails that were still to be fetched after it.")
    records = device.slots.protocols
    for key, last in (await device.store(STORE).items()).items():
        if key in records:
            at.add(last["at"], record=key)
            ok.add(last["ok"], record=key, cause=last["cause"] or "")
            left.add(last["left"], record=key)
    return [at, ok, left]


async def _records(device: Device) -> list[Family]:
    token = Family("token_retrieved", "gauge", "Whether there is a token, for records that keep one here.")
    expires = Family("token_expires_timestamp_seconds", "gauge", "When the access token ends; it is renewed before.")
    health = Family("token_health", "gauge", "How the token is doing: 1 for the state that holds.")
    blockable = Family(
        "token_flow_can_be_blocked",
        "gauge",
        "Whether the token ends if the organisation blocks the flow that it was obtained by.",
    )
    unsaved = Family("token_unsaved", "gauge", "Whether the newest token is in the memory of this process only.")
    at = Family("last_test_timestamp_seconds", "gauge", "When a record's connection was tested last.")
    ok = Family("last_test_ok", "gauge", "Whether that test was passed.")
    history = History(device.records.place)
    for record, settings in (await _settings(device)).items():
        if settings.authentication == "oauth2" and settings.token_source is None:
            line, state = await device.records.tokens.status(record, settings, device.now())
            token.add(line == "Retrieved", record=record)
            if state is not None:
                health.add(1, record=record, state=state.state, cause=state.cause or "")
                if state.flow is not None:
                    blockable.add(state.flow_can_be_blocked, record=record, flow=state.flow)
                if state.expires_at is not None:
                    expires.add(state.expires_at, record=record)
            unsaved.add(await _is_unsaved(device, record), record=record)
        for past in await history.last(record, 1):
            at.add(past.at, record=record)
            ok.add(past.ok, record=record, cause="" if past.ok else past.cause)
    return [token, expires, health, blockable, unsaved, at, ok]


async def _gateway(device: Device) -> list[Family]:
    at = Family("device_last_timestamp_seconds", "gauge", "When a device that uses the gateway came last.")
    ok = Family("device_last_ok", "gauge", "Whether all that it wanted was done then.")
    unknown = Family("unknown_devices", "gauge", "Addresses of unknown devices that were refused.")
    ends = Family("listener_certificate_expires_timestamp_seconds", "gauge", "When the certificate of a listener ends.")
    log = GatewayLog(device.store(GATEWAY_LOG))
    for name in device.gateway.devices:
        for last in (await log.dialogues(name))[:1]:
            at.add(last.at, device=name)
            ok.add(last.ok, device=name, cause="" if last.ok else last.cause)
    if device.gateway.listeners:
        unknown.add(len(await log.unknown_devices()))
        noted = await read_listeners(log)
        for listener in device.gateway.listeners.values():
            if certificates := noted.certificates_of(listener):
                ends.add(min(each.valid_until for each in certificates), listener=listener.name)
    return [at, ok, unknown, ends]


async def _settings(device: Device) -> dict[str, Settings]:
    """Return all settings; none if the file cannot be used, so that the other metrics are still reported."""
    try:
        return dict(await run_sync(device.records.settings.load))
    except MailError:
        return {}


async def _is_unsaved(device: Device, record: str) -> bool:
    try:
        source = (await device.connector.profile(record)).token_source
    except MailError:
        return False
    return isinstance(source, GrantSource) and source.save_error is not None
