"""Circuit breakers: after a failure that concerns all jobs of a record, none of them is tried for a while."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot.oauth.grant import Grant, copied_home_error
from mailslot.service.disposition import DeliveryFailure
from mailslot.slots.grant_store import GRANT_FIELD
from mailslot.slots.settings import directory_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.service.device import Device
    from mailslot.slots.records import Records

BACKOFF: Final = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0)
"""Seconds to wait after the first temporary failure, the second and so on."""

MIN_BACKOFF: Final = {"too_many_connections": 60.0, "login_delay": 300.0, "sending_limit_reached": 3600.0}
"""The minimum seconds to wait for particular causes."""

PROBE_AFTER: Final = 3600.0
"""Seconds to wait before testing whether an administrator has acted, or a token service has recovered."""

PROBE_TOKENS_AFTER: Final = 120.0
"""The same for records whose tokens come from outside of the device, since nothing reports a new one."""


class CircuitBreaker:
    """The circuit breaker of one record.

    Args:
        monotonic: returns seconds on a clock that cannot be set.
        random: returns a number from 0 to 1.

    Attributes:
        failure: the failure that has stopped attempts; None if they are allowed.
    """

    def __init__(self, monotonic: Callable[[], float], random: Callable[[], float] = random.random) -> None:
        self.failure: DeliveryFailure | None = None
        self._monotonic = monotonic
        self._random = random
        self._failures = 0
        self._until: float | None = None

    @property
    def may_try(self) -> bool:
        """Whether an attempt is allowed now."""
        return self.failure is None or (self._until is not None and self._monotonic() >= self._until)

    @property
    def needs_operator(self) -> bool:
        """Whether a person must act first."""
        return self.failure is not None and self.failure.disposition == "hold"

    def remaining(self) -> float | None:
        """Return the seconds until an attempt is allowed; None if a person must act first."""
        if self.may_try:
            return 0.0
        return None if self._until is None else self._until - self._monotonic()

    def trip(self, failure: DeliveryFailure, *, external_tokens: bool = False) -> float | None:
        """Stop attempts, and return for how many seconds; None if a person must act first.

        Args:
            failure: the failure.
            external_tokens: whether the record's tokens come from outside of the device.
        """
        self.failure = failure
        if failure.disposition == "hold":
            self._failures = 0
            elsewhere = failure.by_administrator or failure.cause == "token_update_failed"
            pause = PROBE_TOKENS_AFTER if external_tokens else PROBE_AFTER if elsewhere else None
            self._until = None if pause is None else self._monotonic() + pause
            return None
        backoff = BACKOFF[min(self._failures, len(BACKOFF) - 1)]
        self._failures += 1
        backoff = max(backoff, MIN_BACKOFF.get(failure.cause, 0.0)) * (1 + 0.2 * (2 * self._random() - 1))
        self._until = self._monotonic() + backoff
        return backoff

    def reset(self) -> bool:
        """Allow attempts again; return whether they were stopped."""
        was_open = self.failure is not None
        self.failure = self._until = None
        self._failures = 0
        return was_open

    def state(self, now: float) -> dict[str, Any] | None:
        """Return why and until when attempts are stopped, as JSON values for another process; None if they are not.

        Args:
            now: the wall clock's time.
        """
        if self.failure is None:
            return None
        until = None if self._until is None else now + self._until - self._monotonic()
        return {"failure": asdict(self.failure), "failures": self._failures, "until": until}

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Continue from what `state` has returned in another process; `now` is the wall clock's time."""
        self.failure = DeliveryFailure(**state["failure"])
        self._failures = state["failures"]
        self._until = None if state["until"] is None else self._monotonic() + state["until"] - now


class SettingsWatch:
    """Detects changes of a record's settings or secrets by any process.

    It reads the status of three files, and their contents if one has changed. A token that was merely refreshed does
    not count as a change. A token that can be refreshed again after a failure does.
    """

    def __init__(self, records: Records, record: str) -> None:
        self._records = records
        self._record = record
        self._stamps: object = None
        self._state: object = None
        self._works = True

    async def changed(self) -> bool:
        """Return whether something has changed since the last call; True the first time."""
        place = self._records.place
        # This is asked before each job, and checking files that have not changed needs no thread.
        if place.is_local and place.documents.configuration_version() == self._stamps:
            return False
        return await run_sync(self._changed)

    def _changed(self) -> bool:
        stamps = self._records.place.documents.configuration_version()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            state, works = self._read()
        except MailError as error:
            # If the file cannot be used, the former settings stay in use; see `mailslot.slots.connector.Connector`.
            if error.retryable or isinstance(error.__cause__, OSError):
                # It may be readable later without a change.
                self._stamps = None
            return False
        changed = state != self._state or (works and not self._works)
        self._state, self._works = state, works
        return changed

    def _read(self) -> tuple[object, bool]:
        settings = self._records.settings.load()
        if self._record not in settings:
            return None, False  # an account that was removed
        pop_slot = settings[self._record].pop_slot
        records = [self._record] if pop_slot is None else [self._record, directory_of(settings).find(pop_slot).record]
        secrets = [self._secrets(record) for record in records]
        return [(settings[each], kept) for each, (kept, _) in zip(records, secrets, strict=True)], secrets[0][1]

    def _secrets(self, record: str) -> tuple[object, bool]:
        read = self._records.vault.read
        try:
            kept = read(record, GRANT_FIELD)
            grant = None if kept is None else Grant.from_secret(kept)
            passwords = read(record, "password"), read(record, "client_secret")
        except (MailError, ValueError) as error:
            if isinstance(error, MailError) and error.retryable:
                raise
            return "unreadable", False
        if grant is None:
            return (None, *passwords), True
        elsewhere = copied_home_error(grant, self._records.tokens.store(record).locate())
        return (grant.obtained_at, *passwords), grant.failure is None and elsewhere is None


class RecordBreaker:
    """Stops all attempts for a record after a failure, until they make sense again; meanwhile, its jobs wait.

    Args:
        device: the device.
        record: the record.
        on_release: called when the jobs that have waited may be tried at once.
        random: returns a number from 0 to 1.

    Attributes:
        circuit: the circuit breaker.
        newest_job_id: the id of the newest job of all records when the attempts were stopped; 0 if they never were.
    """

    def __init__(
        self,
        device: Device,
        record: str,
        on_release: Callable[[], None],
        random: Callable[[], float] = random.random,
    ) -> None:
        self.circuit = CircuitBreaker(device.monotonic, random)
        self.newest_job_id = 0
        self._device = device
        self._record = record
        self._on_release = on_release
        self._settings_watch = SettingsWatch(device.records, record)

    async def settings_changed(self) -> bool:
        """Return whether settings or secrets of the record have changed since the last call; True the first time."""
        return await self._settings_watch.changed()

    async def trip(self, failure: DeliveryFailure) -> None:
        """Stop the attempts for all jobs of the record, since they would fail as well.

        Args:
            failure: the failure, whose disposition is ``hold`` or ``back_off``.

        Raises:
            SpoolError: the jobs cannot be suspended.
        """
        if failure.disposition == "hold" and await self.settings_changed():
            # Somebody has acted during the attempt.
            await self.reset(always=True)
            return
        in_use = await run_sync(self._device.records.settings.current)
        own = in_use.records.get(self._record)
        external = own is not None and own.token_source is not None
        backoff = self.circuit.trip(failure, external_tokens=external)
        until = None if backoff is None else self._device.now() + backoff
        self.newest_job_id = max((each.id for each in await self._device.spool.jobs(limit=1)), default=0)
        await self._device.spool.suspend(self._record, failure.cause, failure.sentence, until=until)

    async def reset(self, *, always: bool = False) -> None:
        """Allow attempts again, and release the jobs that have waited.

        Args:
            always: whether to release jobs even if attempts were not stopped.

        Raises:
            SpoolError: the jobs cannot be released.
        """
        if self.circuit.reset() or always:
            await self._device.spool.release(self._record)
            self._on_release()

    async def state(self) -> dict[str, Any] | None:
        """Return what another process needs to know about failures, as JSON values; None if there is nothing."""
        circuit = self.circuit.state(self._device.now())
        if circuit is None:
            return None
        documents = self._device.records.place.documents
        # Read before the comparison, so that a change in between counts as one.
        version = str(await run_sync(documents.configuration_version))
        changed = await self.settings_changed()
        return {"breaker": circuit, "newest": self.newest_job_id, "version": None if changed else version}

    async def resume(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` has returned in another process, unless the settings or secrets are others now.

        Raises:
            SpoolError: as for `reset`.
        """
        version = str(await run_sync(self._device.records.place.documents.configuration_version))
        await self.settings_changed()
        self.newest_job_id = state["newest"]
        self.circuit.restore(state["breaker"], self._device.now())
        if state["version"] != version:
            await self.reset()
