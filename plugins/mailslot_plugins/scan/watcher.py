"""Turns the files of a watched folder into scans: each file once, and none is lost.

A file is put into the spool under a key and removed afterwards. If the device stops in between, the file is found
again with the same key and does not become a second scan. The plan that its mails are made by (number, size limit,
names) is stored until the file is removed, so that the mails are the same the second time.
"""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from mailslot.errors import InputError, MailError
from mailslot.shortage import is_shortage
from mailslot_plugins.addressbook.lookup import expand_names
from mailslot_plugins.rules.sending_rules import load_rules
from mailslot_plugins.scan.compose import compose
from mailslot_plugins.scan.document import FileChangedError, changed_error, inspect_file
from mailslot_plugins.scan.enqueue import PIPELINE, enqueue_scan
from mailslot_plugins.scan.folder import (
    FoundFile,
    WatchedFolder,
    claim,
    fingerprint,
    is_unchanged,
    release,
    remove_mailed,
    set_aside,
)
from mailslot_plugins.scan.prepare import check_recipients, current_size_limit, next_scan_number, prepare_scan_message
from mailslot_plugins.scan.section import SECTION
from mailslot_plugins.sending.account import HOUR, sending_settings
from mailslot_plugins.sending.recipients import parse_mailboxes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailslot.message import Mailbox
    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings

_UNSET_INTERVAL: Final = 60.0
"""Seconds between two checks of the settings if no folder is set; usually a change is noticed at once."""

POLL_INTERVAL: Final = 1.0
"""Seconds between two polls of the folder."""

ERROR_INTERVAL: Final = 10.0
"""Seconds until the next poll after an error of the folder, the settings or the spool."""

_PLAN_PREFIX: Final = "file "

logger: Final = logging.getLogger(__name__)


class FolderWatcher:
    """Watches the folder that the settings name, and follows changes of the settings."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._folder: WatchedFolder | None = None
        self._configured: tuple[Path, float] | None = None
        self._problem = ""
        self._needs_cleanup = True
        self._is_shared = False

    async def run(self) -> None:
        """Poll until cancelled; without a folder, wait for the settings to change."""
        while True:
            seconds = await self.check_folder()
            if self._folder is None:
                await self._device.pause(_UNSET_INTERVAL)
            else:
                await self._device.sleep(seconds)

    async def check_folder(self) -> float:
        """Process the complete files; return the seconds until the next poll."""
        section = self._device.settings(SECTION)
        folder = self._current_folder(section["folder"], float(section["settle"]))
        if folder is None:
            return POLL_INTERVAL
        try:
            found = await to_thread.run_sync(folder.list_complete, abandon_on_cancel=True)
            if self._needs_cleanup:
                await self._delete_stale_plans(folder)
                self._needs_cleanup = False
            if found:
                settings = await sending_settings(self._device)
                await self._process_all(folder, found, settings, await _recipients(self._device, section))
        except MailError as error:
            # The settings or the spool are at fault, not a file: all files wait.
            return self._report_problem(f"The files in {folder.path} wait: {error}")
        except OSError as error:
            return self._report_problem(f"The folder {folder.path} cannot be used: {error.strerror or error}.")
        if self._problem:
            logger.info("The folder %s is watched again.", folder.path)
            self._problem = ""
        return POLL_INTERVAL

    def _current_folder(self, path: Path | None, settle: float) -> WatchedFolder | None:
        if path is None:
            self._folder = self._configured = None
        elif (path, settle) != self._configured:
            self._configured = path, settle
            self._needs_cleanup = True
            self._is_shared = False
            self._folder = WatchedFolder(self._device.home / path, settle, self._device.monotonic, self._device.now)
        return self._folder

    def _report_problem(self, sentence: str) -> float:
        """Log a problem once, not at each poll; return the seconds until the next poll."""
        if sentence != self._problem:
            self._problem = sentence
            logger.warning("%s", sentence)
        return ERROR_INTERVAL

    async def _process_all(
        self, folder: WatchedFolder, found: Sequence[FoundFile], settings: Settings, to: Sequence[Mailbox]
    ) -> None:
        """Process the files found, unless another service has locked the folder and so will mail them."""
        claimed = await to_thread.run_sync(claim, folder.path, abandon_on_cancel=True)
        if claimed is None:
            if not self._is_shared:
                logger.warning(
                    "Another service of mailslot takes files from %s, too: each is mailed by one of them only.",
                    folder.path,
                )
            self._is_shared = True
            return
        try:
            for each in found:
                await self._process(folder, each, settings, to)
        finally:
            release(claimed)

    async def _process(
        self, folder: WatchedFolder, found: FoundFile, settings: Settings, to: Sequence[Mailbox]
    ) -> None:
        """Mail a file and remove it from the folder, or set it aside."""
        if found.fault:
            await self._set_aside(folder, found, found.fault)
            return
        try:
            digest = await to_thread.run_sync(fingerprint, found, abandon_on_cancel=True)
        except OSError as error:
            if is_shortage(error):
                raise  # the machine is at fault, not this file
            await self._handle_failure(folder, found, f"{found.path.name!r} cannot be read: {error.strerror or error}.")
            return
        except FileChangedError:
            folder.restart_wait(found)
            return
        try:
            await self._enqueue(found, digest, settings, to)
        except InputError as error:
            if is_shortage(error):
                raise
            await self._device.store(PIPELINE).delete(_plan_key(digest))
            await self._handle_failure(folder, found, str(error))
            return
        if await self._remove_mailed(folder, found):
            await self._device.store(PIPELINE).delete(_plan_key(digest))

    async def _enqueue(self, found: FoundFile, digest: str, settings: Settings, to: Sequence[Mailbox]) -> None:
        device = self._device
        document = await to_thread.run_sync(inspect_file, found.path)
        if document.state != found.state:
            raise changed_error(document)
        plan = await self._plan(found, digest, settings)
        scan = await prepare_scan_message(
            device,
            settings,
            [document],
            to=to,
            subject=plan.subject,
            name=plan.name,
            at=plan.at,
            counter=plan.counter,
        )
        async with device.working_folder() as parts:
            mails = await compose(scan, plan.limit, parts, may_split=plan.split)
            jobs = await enqueue_scan(
                device.spool, scan, mails, lifetime=device.settings(SECTION)["lifetime"] * HOUR, key=plan.key
            )
        numbers = ", ".join(str(job.id) for job in jobs)
        logger.info("%r became job %s.", found.path.name, numbers, extra={"jobs": [job.id for job in jobs]})

    async def _plan(self, found: FoundFile, digest: str, settings: Settings) -> _Plan:
        """Return the plan for this file's mails: the stored one, or a new one."""
        device = self._device
        store = device.store(PIPELINE)
        stored = await store.get(_plan_key(digest))
        if stored is not None:
            return _Plan(**stored)
        section = device.settings(SECTION)
        patterns = f"{section['subject']}{section['name'] or ''}"
        plan = _Plan(
            # Not the digest alone: the same file put into the folder again is to be mailed again.
            key=f"{digest}-{token_hex(8)}",
            path=str(found.path),
            at=device.now(),
            limit=await current_size_limit(device, settings),
            split=section["oversize"] == "split",
            counter=await next_scan_number(device) if "{counter" in patterns else None,
            subject=section["subject"],
            name=section["name"],
        )
        await store.put(_plan_key(digest), asdict(plan))
        return plan

    async def _delete_stale_plans(self, folder: WatchedFolder) -> None:
        """Delete plans of files that are gone, left when the device stopped."""
        store = self._device.store(PIPELINE)
        for name, value in (await store.items()).items():
            ours = name.startswith(_PLAN_PREFIX) and Path(value["path"]).parent == folder.path
            if ours and not await to_thread.run_sync(os.path.lexists, value["path"]):
                await store.delete(name)

    async def _remove_mailed(self, folder: WatchedFolder, found: FoundFile) -> bool:
        after = self._device.settings(SECTION)["after"]
        try:
            await to_thread.run_sync(remove_mailed, found, after)
        except OSError as error:
            logger.warning(
                "%r was mailed but cannot be %s: %s. It stays where it is and is not mailed again.",
                found.path.name,
                "deleted" if after == "delete" else "moved",
                error.strerror,
            )
            folder.ignore(found)
            return False
        return True

    async def _handle_failure(self, folder: WatchedFolder, found: FoundFile, reason: str) -> None:
        """Set a file aside, unless it changed: then it is tried again later."""
        await to_thread.run_sync(os.stat, folder.path)
        if await to_thread.run_sync(is_unchanged, found):
            await self._set_aside(folder, found, reason)
        else:
            folder.restart_wait(found)

    async def _set_aside(self, folder: WatchedFolder, found: FoundFile, reason: str) -> None:
        logger.warning("%r is set aside: %s", found.path.name, reason)
        try:
            await to_thread.run_sync(set_aside, found, reason)
        except OSError as error:
            logger.warning("%r cannot be moved: %s. It stays where it is.", found.path.name, error.strerror)
            folder.ignore(found)


async def _recipients(device: Device, section: Mapping[str, Any]) -> Sequence[Mailbox]:
    to = parse_mailboxes(await expand_names(device, section["to"]))
    if not to:
        raise InputError(
            "They have no recipients. mailslot set scan to=ADDRESS", stage="envelope", cause="not_configured"
        )
    check_recipients(len(to), section)
    # Files wait until the rules are changed; files that are refused later are set aside.
    addresses = [mailbox.address for mailbox in to]
    (await load_rules(device, addresses)).check(addresses)
    return to


@dataclass(frozen=True, slots=True)
class _Plan:
    key: str
    path: str
    at: float
    limit: int
    split: bool
    counter: int | None
    subject: str | None
    name: str | None


def _plan_key(digest: str) -> str:
    return f"{_PLAN_PREFIX}{digest}"
