"""The contents of a support report as JSON documents; anything that cannot be read becomes a note."""

from __future__ import annotations

import platform
import re
import ssl
import sys
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from anyio.to_thread import run_sync

from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.gateway_log import STORE, GatewayLog
from mailslot.diagnosis.history import History
from mailslot.diagnosis.scrub import secret_parts
from mailslot.errors import MailError
from mailslot.exit_guard import ExitGuard, original_error
from mailslot.oauth.claims import parse_claims
from mailslot.slots.gateway.passwords import read_password
from mailslot.slots.keys import json_value
from mailslot.slots.overview import record_overview, section_overview
from mailslot.slots.section import find_section, section_names
from mailslot.slots.settings import SECRETS, directory_of
from mailslot.spool.spool import Spool
from mailslot.timestamps import iso
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.oauth.grant import Grant
    from mailslot.slots.records import Records

_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LEFT_OUT: Final = "set, and left out here"


class Evidence:
    """Gathers the contents of a report.

    Attributes:
        notes: one sentence for each part that could not be read.
        secrets: every secret of the device that could be read.
    """

    def __init__(self, records: Records, now: float) -> None:
        self._records = records
        self._now = now
        self._grants: dict[str, Grant] = {}
        self._key_errors: list[str] = []
        self.notes: list[str] = []
        self.secrets: list[Secret] = []

    async def documents(self) -> dict[str, Any]:
        """Return the files of a report by name; texts are lists of lines."""
        try:
            await run_sync(self._records.check_key)
        except MailError as error:
            self._key_errors.append(str(error))
            self.notes.append(f"The passwords and tokens could not be read: {error}")
        for record in await self._records_of_device():
            await self._collect_secrets(record)
        await self._gather("passwords of devices", run_sync, self._collect_device_passwords)
        found: dict[str, Any] = {
            "versions.json": await self._gather("versions", run_sync, versions),
            "settings.json": await self._gather("settings", run_sync, self._settings),
            "slots.json": await self._gather("slots", self._slots),
            "tokens.json": {record: self._token(grant) for record, grant in self._grants.items()},
            "tests.json": await self._gather("connection tests", self._tests),
            "queue.json": await self._gather("queue", self._queue),
            "gateway.json": await self._gather("gateway's log", self._gateway),
        }
        transcripts: dict[str, list[str]] = await self._gather("transcripts", self._transcripts) or {}
        found |= {f"transcripts/{record}.txt": lines for record, lines in transcripts.items()}
        return {name: document for name, document in found.items() if document not in (None, {}, [])}

    async def _records_of_device(self) -> tuple[str, ...]:
        return tuple((await run_sync(self._records.settings.slots)).protocols)

    async def _gather(self, what: str, read: Callable[..., Awaitable[Any]], *arguments: object) -> Any:  # noqa: ANN401
        try:
            with ExitGuard():
                return await read(*arguments)
        except Exception as error:  # noqa: BLE001 - a report is written whatever is broken
            reason = str(error) if isinstance(error, MailError) else type(original_error(error)).__name__
            # Without the key no secret can be read; one note about it is enough.
            if reason not in self._key_errors:
                self.notes.append(f"The {what} could not be read: {reason}")
            return None

    async def _collect_secrets(self, record: str) -> None:
        """Collect a record's secrets, which must not be in the report, and its grant."""
        for field in SECRETS:
            secret = await self._gather(f"{field} of {record}", run_sync, self._records.vault.read, record, field)
            if secret is not None:
                self.secrets += secret_parts(secret)
        grant: Grant | None = await self._gather(f"token of {record}", self._records.tokens.store(record).load)
        if grant is not None:
            self._grants[record] = grant
            tokens = (grant.access_token, grant.refresh_token, grant.previous_refresh_token)
            self.secrets += [token for token in tokens if token is not None]

    def _collect_device_passwords(self) -> None:
        """Collect the passwords of devices that are kept recoverable."""
        for name in self._records.settings.current().groups["devices"]:
            stored = read_password(self._records.vault, name)
            if stored is not None and stored.kind == "recoverable":
                self.secrets += secret_parts(Secret(stored.value))

    def _settings(self) -> dict[str, Any]:
        current = self._records.settings.current()
        if current.fault:
            self.notes.append(current.fault)
        records = {record: record_overview(self._records, record) for record in current.records}
        for overview in records.values():
            overview["settings"] = {key: _without_secrets(key, value) for key, value in overview["settings"].items()}
        sections: dict[str, Any] = {}
        for name in section_names():
            section = find_section(name)
            if section is not None:
                overview = section_overview(self._records, section)
                private = {key for key, known in section.keys.items() if known.private}
                overview["settings"] = {
                    key: _LEFT_OUT if value is not None and key in private else _without_secrets(key, value)
                    for key, value in overview["settings"].items()
                }
                sections[name] = overview
        groups = {
            group: {name: {key: json_value(value) for key, value in values.items()} for name, values in tables.items()}
            for group, tables in current.groups.items()
        }
        return {"records": records, "sections": sections, **groups}

    async def _slots(self) -> list[dict[str, Any]]:
        all_settings = await run_sync(self._records.settings.load)
        rows: list[dict[str, Any]] = []
        for slot in directory_of(all_settings).slots:
            token, health = await self._records.tokens.status(slot.record, all_settings[slot.record], self._now)
            row = {"slot": slot.id, "path": slot.path, "record": slot.record, "protocol": slot.protocol}
            rows.append({**row, "token": token, "health": None if health is None else _iso_times(asdict(health))})
        return rows

    def _token(self, grant: Grant) -> dict[str, Any]:
        """Return a token's properties and claims, without anything that could be used to sign in."""
        claims = parse_claims(grant.access_token)
        account = (grant.account or "").casefold()
        return {
            "flow": grant.flow,
            "client_id": grant.client_id,
            "tenant": grant.tenant,
            "obtained_at": iso(grant.obtained_at),
            "renewed_at": iso(grant.renewed_at),
            "expires_at": iso(grant.expires_at),
            "scopes": list(grant.scopes),
            "clock_of_the_provider_is_ahead_by_seconds": grant.skew,
            "renewals_forced_by_a_mail_server": grant.forced,
            "access_token_characters": None if grant.access_token is None else len(grant.access_token),
            "renewal_token": grant.refresh_token is not None,
            "claims": None
            if claims is None
            else {
                "issuer": claims.issuer,
                "audience": list(claims.audience),
                "scopes": list(claims.scopes),
                "roles": list(claims.roles),
                "tenant": claims.tenant,
                "application": claims.application,
                "not_before": iso(claims.not_before),
                "expires_at": iso(claims.expires_at),
                "names_the_account": account in map(str.casefold, claims.users) if claims.users else None,
            },
        }

    async def _transcripts(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for record in await self._records_of_device():
            for test in await History(self._records.place).last(record, 1):
                if test.transcript:
                    found[record] = [f"{test.slot}, {iso(test.at)}", "", *test.transcript]
        return found

    async def _tests(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for record in await self._records_of_device():
            tests = await History(self._records.place).last(record)
            if tests:
                found[record] = [
                    {
                        "at": iso(test.at),
                        "slot": test.slot,
                        "ok": test.ok,
                        "stage": test.stage,
                        "cause": test.cause,
                        "message": explain(Diagnosis(test.cause, test.facts, test.detail)).message,
                        "detail": test.detail,
                        "seconds": test.seconds,
                    }
                    for test in tests
                ]
        return found

    async def _gateway(self) -> dict[str, Any] | None:
        """Return the last dialogues of devices, and the unknown devices; empty without a gateway."""
        current = await run_sync(self._records.settings.current)
        if not await run_sync(self._records.place.has_spool):
            return None
        async with Spool(self._records.place) as spool:
            log = GatewayLog(spool.store(STORE))
            devices = {name: await log.dialogues(name) for name in current.groups["devices"]}
            unknown = [_iso_times(asdict(each)) for each in await log.unknown_devices()]
        came = {name: [_iso_times(asdict(each)) for each in found] for name, found in devices.items() if found}
        return ({"devices": came} if came else {}) | ({"unknown": unknown} if unknown else {})

    async def _queue(self) -> dict[str, Any] | None:
        if not await run_sync(self._records.place.has_spool):
            return None
        async with Spool(self._records.place) as spool:
            return {"jobs": dict(await spool.count_by_state())}


def versions() -> dict[str, Any]:
    """Return the versions of the software, and its system and time."""
    names = {match[0] for line in requires("mailslot") or () if (match := _REQUIREMENT.match(line))}
    return {
        "mailslot": version("mailslot"),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "openssl": ssl.OPENSSL_VERSION,
        "system": platform.platform(),
        "machine": platform.machine(),
        "byte_order": sys.byteorder,
        "file_names": sys.getfilesystemencoding(),
        "time": iso(time.time()),
        "time_zone": time.strftime("%Z %z"),
        "packages": {name: found for name in sorted(names - {"mailslot"}) if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _without_secrets(key: str, value: object) -> object:
    """Return a setting without the parts in which a secret may have been entered."""
    if not isinstance(value, str):
        return value
    if key == "token_source":
        return f"{value.partition(' ')[0]} …"
    if "://" in value:
        parts = urlsplit(value)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" + ("?…" if parts.query else "")
    return value


def _iso_times(values: dict[str, Any]) -> dict[str, Any]:
    """Return values with all times in ISO 8601."""
    dated = dict(values)
    for key, value in values.items():
        if isinstance(value, dict):
            dated[key] = _iso_times(cast("dict[str, Any]", value))
        elif key == "at" or key.endswith("_at"):
            dated[key] = iso(value)
    return dated
