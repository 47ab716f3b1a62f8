"""The files of a watched folder become scans: each one once, and none is lost.

A file is accepted into the spool under a key of its own and put away afterwards. Where the device stops in between,
the same file is found again, has the same key, and becomes no second scan. What the mails were made with, such as their
number and the size that they were split by, is kept until the file is away, so that they are the same then.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from mailslot.errors import InputError, MailError
from mailslot.spool.errors import writing
from mailslot.vault import durable
from mailslot_plugins.scan.compose import compose
from mailslot_plugins.scan.document import ChangedError, changed, look_at
from mailslot_plugins.scan.folder import Folder, Found, claim, fingerprint, is_same, put_away, release, set_aside
from mailslot_plugins.scan.prepare import check_recipients, limit_of, next_number, scan_message
from mailslot_plugins.scan.section import SCAN
from mailslot_plugins.scan.submission import PIPELINE, submit
from mailslot_plugins.sending.account import HOUR, record_settings
from mailslot_plugins.sending.recipients import parse_mailboxes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailslot.message import Mailbox
    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings

PAUSE: Final = 1.0
"""Seconds between two looks."""

TROUBLE: Final = 10.0
"""Seconds until the next look where the folder, the settings or the spool are in trouble."""

_PLAN: Final = "file "

logger: Final = logging.getLogger(__name__)


class Watcher:
    """Looks after the folder that the settings name, now and whenever they change."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._folder: Folder | None = None
        self._set: tuple[Path, float] | None = None
        self._parts = device.home / "scan"
        self._trouble = ""
        self._is_new = True
        self._is_shared = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._device.sleep(await self.look())

    async def look(self) -> float:
        """Take what is complete; returns the seconds until the next look."""
        section = self._device.settings(SCAN)
        folder = self._current(section["folder"], float(section["settle"]))
        if folder is None:
            return PAUSE
        try:
            found = await to_thread.run_sync(folder.look, abandon_on_cancel=True)
            if self._is_new:
                await to_thread.run_sync(self._clear_parts)
                await self._forget_plans(folder)
                self._is_new = False
            if found:
                settings = await record_settings(self._device)
                await self._take_all(folder, found, settings, _recipients(section))
        except MailError as error:
            # The settings or the spool are in trouble, and no file is to blame: all of them wait.
            return self._trouble_with(f"The files in {folder.path} wait: {error}")
        except OSError as error:
            return self._trouble_with(f"The folder {folder.path} cannot be used: {error.strerror or error}.")
        if self._trouble:
            logger.info("The folder %s is looked after again.", folder.path)
            self._trouble = ""
        return PAUSE

    def _current(self, path: Path | None, settle: float) -> Folder | None:
        if path is None:
            self._folder = self._set = None
        elif (path, settle) != self._set:
            self._set = path, settle
            self._is_new = True
            self._is_shared = False
            self._folder = Folder(self._device.home / path, settle, self._device.monotonic, self._device.now)
        return self._folder

    def _trouble_with(self, sentence: str) -> float:
        """Log a trouble once, not at each look; returns the seconds until the next one."""
        if sentence != self._trouble:
            self._trouble = sentence
            logger.warning("%s", sentence)
        return TROUBLE

    async def _take_all(
        self, folder: Folder, found: Sequence[Found], settings: Settings, to: Sequence[Mailbox]
    ) -> None:
        """Take what was found, unless another service is about to: a copy of this device's would mail it, too."""
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
                await self._take(folder, each, settings, to)
        finally:
            release(claimed)

    async def _take(self, folder: Folder, found: Found, settings: Settings, to: Sequence[Mailbox]) -> None:
        """Mail a file and put it away, or set it aside."""
        if found.fault:
            await self._set_aside(folder, found, found.fault)
            return
        try:
            print_ = await to_thread.run_sync(fingerprint, found, abandon_on_cancel=True)
        except OSError as error:
            await self._cannot(folder, found, f"{found.path.name!r} cannot be read: {error.strerror or error}.")
            return
        except ChangedError:
            folder.again(found)
            return
        try:
            await self._accept(found, print_, settings, to)
        except InputError as error:
            await self._device.store(PIPELINE).delete(_plan_key(print_))
            await self._cannot(folder, found, str(error))
            return
        if await self._put_away(folder, found):
            await self._device.store(PIPELINE).delete(_plan_key(print_))

    async def _accept(self, found: Found, print_: str, settings: Settings, to: Sequence[Mailbox]) -> None:
        device = self._device
        document = await to_thread.run_sync(look_at, found.path)
        if document.state != found.state:
            raise changed(document)
        plan = await self._plan(found, print_, settings)
        letter = await scan_message(
            device,
            settings,
            [document],
            to=to,
            subject=plan.subject,
            name=plan.name,
            at=plan.at,
            counter=plan.counter,
        )
        with TemporaryDirectory(dir=self._parts) as parts:
            mails = await compose(letter, plan.limit, Path(parts), may_split=plan.split)
            jobs = await submit(
                device.spool, letter, mails, lifetime=device.settings(SCAN)["lifetime"] * HOUR, key=plan.key
            )
        numbers = ", ".join(str(job.id) for job in jobs)
        logger.info("%r became job %s.", found.path.name, numbers, extra={"jobs": [job.id for job in jobs]})

    async def _plan(self, found: Found, print_: str, settings: Settings) -> _Plan:
        """Return what this file's mails are made with, the same each time until it is away."""
        device = self._device
        store = device.store(PIPELINE)
        kept = await store.get(_plan_key(print_))
        if kept is not None:
            return _Plan(**kept)
        section = device.settings(SCAN)
        patterns = f"{section['subject']}{section['name'] or ''}"
        plan = _Plan(
            # Not the fingerprint alone: whoever puts the same file into the folder again wants it mailed again.
            key=f"{print_}-{token_hex(8)}",
            path=str(found.path),
            at=device.now(),
            limit=await limit_of(device, settings),
            split=section["oversize"] == "split",
            counter=await next_number(device) if "{counter" in patterns else None,
            subject=section["subject"],
            name=section["name"],
        )
        await store.put(_plan_key(print_), asdict(plan))
        return plan

    def _clear_parts(self) -> None:
        """Remove what was left of split files where the device stopped."""
        shutil.rmtree(self._parts, ignore_errors=True)
        with writing(self._parts):
            durable.make_folder(self._parts)

    async def _forget_plans(self, folder: Folder) -> None:
        """Forget what was kept for files that are away, where the device stopped just then."""
        store = self._device.store(PIPELINE)
        for name, value in (await store.items()).items():
            ours = name.startswith(_PLAN) and Path(value["path"]).parent == folder.path
            if ours and not await to_thread.run_sync(os.path.lexists, value["path"]):
                await store.delete(name)

    async def _put_away(self, folder: Folder, found: Found) -> bool:
        after = self._device.settings(SCAN)["after"]
        try:
            await to_thread.run_sync(put_away, found, after)
        except OSError as error:
            logger.warning(
                "%r was mailed but cannot be %s: %s. It is left where it is, and is not mailed again.",
                found.path.name,
                "deleted" if after == "delete" else "moved",
                error.strerror,
            )
            folder.leave(found)
            return False
        return True

    async def _cannot(self, folder: Folder, found: Found, reason: str) -> None:
        """Set a file aside, if it is the file that is at fault: one that changed is looked at again later."""
        await to_thread.run_sync(os.stat, folder.path)
        if await to_thread.run_sync(is_same, found):
            await self._set_aside(folder, found, reason)
        else:
            folder.again(found)

    async def _set_aside(self, folder: Folder, found: Found, reason: str) -> None:
        logger.warning("%r is set aside: %s", found.path.name, reason)
        try:
            await to_thread.run_sync(set_aside, found, reason)
        except OSError as error:
            logger.warning("%r cannot be moved: %s. It is left where it is.", found.path.name, error.strerror)
            folder.leave(found)


def _recipients(section: Mapping[str, Any]) -> Sequence[Mailbox]:
    to = parse_mailboxes(section["to"])
    if not to:
        raise InputError(
            "Nobody is to receive them. mailslot set scan to=ADDRESS", stage="envelope", cause="not_configured"
        )
    check_recipients(len(to), section)
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


def _plan_key(print_: str) -> str:
    return f"{_PLAN}{print_}"
