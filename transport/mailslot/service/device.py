"""The device as a pipeline sees it: its settings, connections, spool and clocks."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import anyio
import anyio.lowlevel
from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.oauth.timing import Clocks
from mailslot.service.server_limits import STORE, ServerLimits
from mailslot.slots.connector import Connector
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.slots.section import DEVICE
from mailslot.spool.spool import Spool
from mailslot.spool.working_folders import remove_abandoned_folders, working_folder
from mailslot.vault.errors import VaultError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mailslot.net.server_gate import ServerGate
    from mailslot.slots.records import Records
    from mailslot.slots.section import Section
    from mailslot.slots.slot import SlotDirectory
    from mailslot.spool.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """The device's own description; fields that are not set are empty.

    Attributes:
        name: the name that people use for it.
        model: the maker's name for it.
        serial_number: its serial number.
        location: the place where it stands.
        language: the language of its messages: en, de, fr, es or ja.
    """

    name: str
    model: str
    serial_number: str
    location: str
    language: str


_SectionValues = tuple["Section", "Mapping[str, Any]"]


class _ReadSettings(NamedTuple):
    """What was read of the settings.

    Attributes:
        version: their version; `_UNREAD` if they could not be read.
        gateway: the slots, and the entries of the gateway; None if they cannot be used.
        sections: the sections by name, each with its values; None if they cannot be used.
        fault: why they cannot be used; empty if they can.
    """

    version: object
    gateway: GatewaySettings | None
    sections: dict[str, _SectionValues] | None
    fault: str = ""


_UNREAD: Final = object()
"""The version of settings that could not be read: they may be readable later without a change."""


class Device:
    """The state that all tasks of a process share; made by `open_device`.

    Attributes:
        records: the settings and secrets.
        connector: makes the connection profiles.
        spool: the queue, the ledger and the pipelines' stores.
        server_limits: how large messages may be, as far as servers have said.
        clocks: the wall clock and the monotonic clock.
        changes: how often `refresh` has found changed settings; slow tasks compare it to notice changes.
        stopping: set when the service stops; a pipeline whose ``drains`` is true then finishes its current work.
    """

    def __init__(
        self, records: Records, connector: Connector, spool: Spool, *, clocks: Clocks | None = None, speed: float = 1.0
    ) -> None:
        """Initialize the device.

        Args:
            records: the settings and secrets.
            connector: open.
            spool: open.
            clocks: its clocks; None for the machine's.
            speed: how much faster than the machine's clocks they run; for tests.
        """
        self.records = records
        self.connector = connector
        self.spool = spool
        self.server_limits = ServerLimits(spool.store(STORE), records)
        self.clocks = clocks or Clocks()
        self._speed = speed
        self._sections: dict[str, _SectionValues] = {}
        self._seen: object = None
        self._fault = ""
        self._gateway = GatewaySettings()
        self._changed = anyio.Event()
        self._refreshing = anyio.Lock()
        self.changes = 0
        self.stopping = anyio.Event()

    @property
    def home(self) -> Path:
        """The folder for what belongs to this machine; for a home folder, that folder."""
        return self.records.home

    def now(self) -> float:
        """Return the wall clock's time in seconds since 1970; it may be wrong, and may jump."""
        return self.clocks.wall()

    def monotonic(self) -> float:
        """Return seconds on a clock that cannot be set, for intervals."""
        return self.clocks.monotonic()

    @property
    def slots(self) -> SlotDirectory:
        """The seven slots and the accounts, as they were read last."""
        return self._gateway.slots

    @property
    def gateway(self) -> GatewaySettings:
        """The listeners and devices of the gateway, as they were read last; `pause` returns early if they change."""
        return self._gateway

    def stop(self) -> None:
        """Say that the service stops."""
        self.stopping.set()
        self._end_pauses()

    async def sleep(self, seconds: float) -> None:
        """Sleep for some seconds of the device's clocks."""
        await anyio.sleep(max(0.0, seconds) / self._speed)

    async def pause(self, seconds: float, *, seen: int | None = None) -> None:
        """Sleep for some seconds of the device's clocks, or until the settings change.

        Args:
            seconds: the seconds.
            seen: `changes` before the settings were read by whoever pauses; it does not pause if they have changed
                since. None if nothing was awaited in between.
        """
        if seen is not None and seen != self.changes:
            await anyio.lowlevel.checkpoint()
            return
        with anyio.move_on_after(max(0.0, seconds) / self._speed):
            await self._changed.wait()

    def settings(self, section: Section) -> Mapping[str, Any]:
        """Return the values of a section, with defaults, as they were read last.

        Raises:
            InputError: the section was not read yet, and the file cannot be used.
        """
        if section.name not in self._sections:
            self._sections[section.name] = (section, self.records.settings.section(section))
        return self._sections[section.name][1]

    @property
    def identity(self) -> Identity:
        """The device's own description."""
        values = cast("Mapping[str, str | None]", self.settings(DEVICE))
        return Identity(
            name=values["name"] or "",
            model=values["model"] or "",
            serial_number=values["serial_number"] or "",
            location=values["location"] or "",
            language=values["language"] or "en",
        )

    def working_folder(self) -> AbstractAsyncContextManager[Path]:
        """Return a temporary folder on this machine; use it with ``async with``.

        Raises:
            SpoolError: it cannot be created.
        """
        return working_folder(self._working_folders)

    async def remove_abandoned_folders(self) -> None:
        """Remove working folders that killed processes have left."""
        await run_sync(remove_abandoned_folders, self._working_folders)

    @property
    def _working_folders(self) -> Path:
        return self.home / "work"

    def store(self, name: str) -> Store:
        """Return a pipeline's key-value store.

        Args:
            name: the name of the pipeline.
        """
        return self.spool.store(name)

    async def refresh(self, sections: Iterable[Section] = ()) -> bool:
        """Read the sections again if the file has changed; if it is invalid, this is logged and nothing changes.

        Args:
            sections: further sections to read.

        Returns:
            whether the settings have changed.
        """
        wanted = tuple(sections)
        # A service calls this every two seconds, and checking an unchanged file needs no thread.
        if (
            self.records.place.is_local
            and self.records.settings.version() == self._seen
            and all(section.name in self._sections for section in wanted)
        ):
            return False
        # A slow thread must not put what it read before a change in the place of what another has read since.
        async with self._refreshing:
            found = await run_sync(self._read, self._seen, dict(self._sections), wanted)
            # Nothing is awaited from here on, so that other tasks see the settings of one moment.
            if found is None:
                return False
            changed, self._seen = found.version != self._seen, found.version
            if found.fault and found.fault != self._fault:
                logger.error("The settings that were read before are kept: %s", found.fault)
            self._fault = found.fault
            if found.sections is None or found.gateway is None:
                return False
            self._gateway = found.gateway
            self._sections |= found.sections
            if changed:
                self.changes += 1
                self._end_pauses()
        return changed

    def _end_pauses(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _read(
        self, seen: object, known: Mapping[str, _SectionValues], more: tuple[Section, ...]
    ) -> _ReadSettings | None:
        """Read the settings in another thread, which changes nothing here; None if they are as they were."""
        settings = self.records.settings
        # Read first, so that a change meanwhile is noticed next time.
        version = settings.version()
        if version == seen and all(section.name in known for section in more):
            return None
        wanted = {section.name: section for section, _ in known.values()} | {each.name: each for each in more}
        try:
            gateway = GatewaySettings.of(settings.current())
            sections: dict[str, _SectionValues] = {
                name: (section, settings.section(section)) for name, section in wanted.items()
            }
        except InputError as error:
            is_read = not isinstance(error.__cause__, OSError | VaultError)
            return _ReadSettings(version if is_read else _UNREAD, None, None, str(error))
        return _ReadSettings(version, gateway, sections)


@asynccontextmanager
async def open_device(
    records: Records,
    sections: Iterable[Section] = (),
    *,
    clocks: Clocks | None = None,
    speed: float = 1.0,
    gate: ServerGate | None = None,
) -> AsyncGenerator[Device]:
    """Open a device's spool and connector, and close them at the end.

    Args:
        records: the settings and secrets.
        sections: the sections to read at once; others are read at their first use.
        clocks: its clocks; None for the machine's.
        speed: how much faster than the machine's clocks they run; for tests.
        gate: says whether a server may be contacted now; None if it always may.

    Raises:
        InputError: the settings cannot be used.
        MailError: the spool cannot be opened.
    """
    wanted = {section.name: section for section in (DEVICE, *sections)}
    await run_sync(records.settings.load)
    clocks = clocks or Clocks()
    async with (
        Spool(records.place, clock=clocks.wall) as spool,
        Connector(records, clocks=clocks, gate=gate) as connector,
    ):
        device = Device(records, connector, spool, clocks=clocks, speed=speed)
        await device.refresh(wanted.values())
        yield device
