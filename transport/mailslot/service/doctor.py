"""Checks whether a device works: its service, slots, queue, clock, disk and certificates.

Nothing is connected to. What is known of the mail servers comes from the last connection tests.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from anyio.to_thread import run_sync

import mailslot
from mailslot.causes.cause import causes
from mailslot.causes.rules import table
from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.clock import is_clock_wrong
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.listener_certificate import ListenerCertificate
from mailslot.errors import MailError
from mailslot.net.certificate_contents import read_certificate
from mailslot.oauth.presets import presets
from mailslot.service.json_documents import slot_rows
from mailslot.service.service_lock import is_service_running
from mailslot.service.tables import STORE, installed_at, outdated_version
from mailslot.slots.effective_settings import effective_settings
from mailslot.slots.gateway.passwords import check_passwords
from mailslot.slots.keys import useless_items
from mailslot.slots.section import find_section
from mailslot.spool.limits import SpoolLimits, format_size
from mailslot.spool.spool import Spool
from mailslot.timestamps import day

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mailslot.home.home import Home
    from mailslot.slots.keys import Key
    from mailslot.slots.records import Records
    from mailslot.slots.settings import Settings
    from mailslot.slots.settings_document import CurrentSettings
    from mailslot.spool.job import Job

State = Literal["ok", "unused", "warning", "fault"]
"""`unused`: it is not set up, so that nothing depends on it."""

_DAY: Final = 86_400.0
_RECENT: Final = 7 * _DAY
"""Seconds for which a failed job is mentioned."""

_OLD: Final = 365 * _DAY
"""Seconds after which the tables may no longer be true: providers change what they accept, and by which names."""

_UNSETTLED: Final = ("queued", "sending", "deferred", "held", "in_doubt", "failed")
_SAMPLE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check.

    Attributes:
        name: what was checked: ``service``, ``settings``, ``slot``, ``device``, ``queue``, ``clock``, ``disk``,
            ``certificate`` or ``tables``.
        state: whether it works.
        sentence: what was found.
        subject: the slot or file that was checked; empty where there is only one.
        command: the words, behind ``mailslot``, of the command that helps; empty if none does.
    """

    name: str
    state: State
    sentence: str
    subject: str = ""
    command: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as ``mailslot doctor --json`` prints it."""
        return {
            "check": self.name,
            "subject": self.subject,
            "state": self.state,
            "message": self.sentence,
            "command": " ".join(("mailslot", *self.command)) if self.command else None,
        }


async def check_device(records: Records) -> list[Check]:
    """Check a device. A check that cannot be made is a fault.

    Args:
        records: the records of its home folder.

    Returns:
        the results, in a fixed order.
    """
    found = [await run_sync(_check_service, records.place)]
    try:
        settings = await run_sync(records.settings.current)
    except MailError as error:
        return [*found, Check("settings", "fault", str(error)), *await _check_queue(records.place)]
    if settings.fault:
        found.append(Check("settings", "fault", f"The settings that were in use stay so: {settings.fault}"))
    found += await run_sync(list, _check_sections(settings))
    found += await _check_slots(records, settings)
    found += await run_sync(list, _check_devices(records, settings))
    found += await _check_queue(records.place)
    found.append(await _check_clock(records, settings))
    found.append(await run_sync(_check_disk, records.home))
    found += await run_sync(list, _check_certificates(settings, records.home))
    return [*found, *await _check_tables(records.place)]


def _check_service(home: Home) -> Check:
    if is_service_running(home):
        return Check("service", "ok", "The service is running.")
    return Check("service", "fault", "No service is running, so nothing is sent or fetched.", "", ("serve",))


def _check_sections(settings: CurrentSettings) -> Iterator[Check]:
    """Yield what is set and has no effect."""
    for name, values in settings.sections.items():
        section = find_section(name)
        keys: Mapping[str, Key] = {} if section is None else section.keys
        for key, value in values.items():
            if sentence := useless_items(keys, key, value):
                yield Check("settings", "warning", sentence, name, ("show", name))


async def _check_slots(records: Records, settings: CurrentSettings) -> list[Check]:
    """Check each record once, under the names of its slots."""
    try:
        rows = await slot_rows(records, settings.slots.slots)
    except MailError as error:
        return [Check("slot", "fault", str(error))]
    by_record: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_record.setdefault(row["record"], []).append(row)
    found = [
        replace(_check_slot(same[0], settings.records[record]), subject=", ".join(row["slot"] for row in same))
        for record, same in by_record.items()
    ]
    # Those that are set up first.
    return sorted(found, key=lambda check: check.state == "unused")


def _check_slot(row: Mapping[str, Any], settings: Settings) -> Check:
    if not (settings.server or settings.provider or settings.account or settings.token_source):
        return Check("slot", "unused", "It is not set up.")
    if (token := _check_token(row, settings)) is not None and token.state == "fault":
        return token
    slot, test = row["slot"], row["last_test"]
    if not effective_settings(settings, row["protocol"]).server:
        return Check("slot", "warning", "The mail server is not set.", "", ("set", slot, "server=…"))
    if test is None:
        return Check("slot", "warning", "The connection has never been tested.", "", ("test", slot))
    if not test["ok"]:
        sentence = explain(Diagnosis(test["cause"])).message
        return Check("slot", "fault", f"The last connection test failed: {sentence}", "", ("test", slot))
    return token or Check("slot", "ok", "The last connection test passed.")


def _check_token(row: Mapping[str, Any], settings: Settings) -> Check | None:
    """Return what is wrong with the token of a slot; None if nothing is."""
    health, get = row["health"], ("token", "get", row["slot"])
    if health is None:
        missing = settings.authentication == "oauth2" and settings.token_source is None
        sentence = explain(Diagnosis("token_not_retrieved")).message
        return Check("slot", "fault", sentence, "", get) if missing else None
    if health["state"] == "ok":
        return None
    if health["state"] == "expiring":
        return Check("slot", "warning", health["sentence"])
    return Check("slot", "fault", health["sentence"], "", () if health["state"] == "needs_administrator" else get)


def _check_devices(records: Records, settings: CurrentSettings) -> Iterator[Check]:
    """Yield whether the passwords of devices can be read: the service does that only when the first one signs in."""
    names = [name for name, values in settings.groups["devices"].items() if values.get("user")]
    try:
        check_passwords(records.vault, names, decrypt=True)
    except MailError as error:
        yield Check("device", "fault", str(error))
    else:
        if names:
            yield Check("device", "ok", "The passwords of all devices can be read.")


async def _check_queue(home: Home) -> list[Check]:
    if not await run_sync(home.has_spool):
        return [Check("queue", "ok", "Nothing waits.")]
    try:
        async with Spool(home) as spool:
            jobs = await spool.jobs(states=_UNSETTLED, limit=_SAMPLE)
    except MailError as error:
        return [Check("queue", "fault", str(error))]
    now = time.time()
    found = [
        *_waiting(jobs, "held", "fault", "held"),
        *_waiting(jobs, "in_doubt", "warning", "in doubt"),
        *_waiting((job for job in jobs if not job.is_delayed()), "deferred", "warning", "to be tried again"),
        *_waiting((job for job in jobs if now - job.changed_at < _RECENT), "failed", "warning", "failed"),
    ]
    ready = sum(job.state in {"queued", "sending"} for job in jobs)
    if delayed := sum(job.is_delayed() for job in jobs):
        found.append(Check("queue", "ok", f"{_jobs(delayed)} to be sent later."))
    if ready or not found:
        found.append(Check("queue", "ok", f"{_jobs(ready)} on the way." if ready else "Nothing waits."))
    return found


def _waiting(jobs: Iterable[Job], state: str, weight: State, words: str) -> Iterator[Check]:
    """Yield why jobs of a state wait: one check for each reason."""
    by_reason: dict[str, list[Job]] = {}
    for job in jobs:
        if job.state == state:
            by_reason.setdefault(job.sentence, []).append(job)
    for reason, same in by_reason.items():
        command = ("jobs", "show", str(same[0].id)) if len(same) == 1 else ("jobs", "--state", state)
        yield Check("queue", weight, f"{_jobs(len(same))} {words}: {reason}", "", command)


def _jobs(number: int) -> str:
    return "1 job is" if number == 1 else f"{number:,} jobs are"


async def _check_clock(records: Records, settings: CurrentSettings) -> Check:
    """Compare the clock with the token services' at the last refresh, and with what was written last."""
    skews: list[float] = []
    for record in settings.records:
        try:
            grant = await records.tokens.store(record).load()
        except MailError:
            continue
        if grant is not None and grant.location is not None:
            skews.append(grant.skew)
    worst = max(skews, key=abs, default=0.0)
    if is_clock_wrong(worst):
        minutes = f"{abs(worst) / 60:,.0f} minutes {'behind' if worst > 0 else 'ahead'}"
        return Check("clock", "fault", f"At the last refresh of a token, this device's clock was {minutes}.")
    newest = await run_sync(_newest_change, records.home)
    if newest - time.time() > _DAY:
        return Check("clock", "fault", "This device's clock has been set back: its files are from the future.")
    known = "It was right at the last refresh of a token." if skews else "Nothing suggests that it is wrong."
    return Check("clock", "ok", known)


def _newest_change(home: Path) -> float:
    try:
        return max((each.stat().st_mtime for each in home.iterdir()), default=0.0)
    except OSError:
        return 0.0


def _check_disk(home: Path) -> Check:
    folder = next(each for each in (home, *home.parents) if each.exists())
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        return Check("disk", "fault", f"The home folder cannot be read: {error.strerror}.")
    if not os.access(folder, os.W_OK):
        return Check("disk", "fault", f"The home folder {home} cannot be written to.")
    free, reserve = disk.f_bavail * disk.f_frsize, SpoolLimits().disk_reserve
    sentence = f"The disk has {format_size(free)} free."
    if free < reserve:
        return Check("disk", "fault", f"{sentence} Nothing is accepted with less than {format_size(reserve)}.")
    return Check("disk", "warning" if free < 10 * reserve else "ok", sentence)


def _check_certificates(settings: CurrentSettings, home: Path) -> Iterator[Check]:
    """Yield a check for each certificate that the settings name; generated ones do not expire unnoticed."""
    named = {name: Path(each["certificate"]) for name, each in settings.sections.items() if each.get("certificate")}
    for name, each in settings.groups["listeners"].items():
        if each.get("certificate"):
            # Those of listeners are looked for in the home folder.
            named[f"listeners.{name}"] = home / each["certificate"]
    for name, path in named.items():
        yield replace(_check_certificate(path), subject=name)


def _check_certificate(path: Path) -> Check:
    contents = read_certificate(path)
    if contents is None:
        return Check("certificate", "fault", f"The certificate {path} cannot be read.")
    certificate, now = ListenerCertificate.of(contents, generated=False), time.time()
    until = day(certificate.valid_until)
    if certificate.has_ended(now):
        return Check("certificate", "fault", f"The certificate {path} expired on {until}.")
    state: State = "warning" if certificate.ends_soon(now) else "ok"
    return Check("certificate", state, f"The certificate {path} is valid until {until}.")


async def _check_tables(home: Home) -> list[Check]:
    """Read the tables of causes, of servers' replies and of providers; they change with the version.

    Whether there is a newer version is not asked: it would have to be asked over the network.
    """
    numbers = f"{len(causes())} causes, {len(table().rules)} rules, {len(presets())} providers"
    found = [Check("tables", "ok", f"The tables are those of mailslot {mailslot.__version__}: {numbers}.")]
    since = await run_sync(installed_at)
    if since is not None and (age := time.time() - since) > _OLD:
        days = f"{age / _DAY:,.0f} days ago"
        sentence = f"They were installed {days}, and providers change: see whether there is a newer mailslot."
        found.append(Check("tables", "warning", sentence))
    if not (await run_sync(is_service_running, home) and await run_sync(home.has_spool)):
        return found
    try:
        async with Spool(home) as spool:
            version = await outdated_version(spool.store(STORE))
    except MailError:
        return found  # said where the queue is checked
    if version:
        sentence = f"The service still works with the tables of mailslot {version}: start it again."
        found.append(Check("tables", "warning", sentence))
    return found
