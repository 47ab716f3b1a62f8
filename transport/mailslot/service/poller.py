"""Polling: mail is fetched into the spool, deleted on the server, and handled from the spool.

The order makes it safe. A mail and its row in the ledger are on the disk before it is marked for deletion. If a
retrieved mail could not be stored, the session is closed without committing, over POP3 without QUIT, because some
servers, such as Gmail's, remove a mail after RETR and QUIT. So if the process is killed at any moment, each mail is on
the server or in the spool, and the ledger knows which mails were handled.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import anyio

from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.classify import diagnose
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.errors import DeletionsRefusedError, MailError, NetworkError, RefusedError
from mailslot.exit_guard import ExitGuard
from mailslot.service.diagnosis_context import context_of
from mailslot.service.handling import handle_waiting
from mailslot.service.log import describe_error
from mailslot.service.mail_fetcher import MailFetcher, OversizedMailError
from mailslot.service.pace import LISTING_TIMEOUT
from mailslot.service.poll_plan import plan_poll
from mailslot.service.poll_report import PollReport
from mailslot.slots.connection_profile import NotConfiguredError
from mailslot.slots.maildrop import maildrop_of, open_maildrop
from mailslot.spool.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailslot.pop3.listing import Entry
    from mailslot.service.device import Device
    from mailslot.service.pipeline import Pipeline
    from mailslot.service.poll_plan import PollPlan
    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.slots.maildrop import MaildropSession

MAX_MAIL_OCTETS: Final = 100_000_000
"""The maximum octets of a mail to fetch."""

_MAX_OVERSIZED: Final = 10
"""The maximum sessions in a poll that end because a mail exceeds the limit."""

_MAX_SILENCE: Final = 30.0
"""Seconds without a command after which a session counts as lost. A server may end it after ten minutes (RFC 1939
section 3); some do so after one."""

STORE: Final = "polling"
"""The store with the last poll of each record, by the record's name."""

_LOGIN_DELAY_MARGIN: Final = 5.0
"""Seconds added to a server's login delay, since its clock may differ from ours."""

_DEFAULT_LOGIN_DELAY: Final = 60.0
"""The login delay of a server that refuses with LOGIN-DELAY but never announced one."""

logger = logging.getLogger(__name__)


async def poll_once(
    device: Device,
    record: str,
    pipeline: Pipeline,
    *,
    retry_set_aside: bool = False,
    wait: float = 0.0,
    stores_report: bool = True,
) -> PollReport:
    """Fetch the new mail in a record's maildrop, and handle it.

    Args:
        device: the device.
        record: a POP record.
        pipeline: the pipeline that handles its mail.
        retry_set_aside: whether to try mail again that was set aside or could not be fetched.
        wait: seconds to wait for another process that polls the same record.
        stores_report: whether to store the report's summary in `STORE`; otherwise the caller does so, if the server was
            contacted.

    Returns:
        the report; failures are in it.

    Raises:
        SpoolError: `spool_busy`, another process polls this record; or the spool cannot be used.
    """
    async with device.spool.ledger.polling_lock(record, timeout=wait):
        poll = _Poll(device, record, pipeline, retry_set_aside=retry_set_aside)
        await poll.run()
        if stores_report and poll.report.contacted:
            await device.store(STORE).put(record, poll.report.summary())
    return poll.report


class _Poll:
    """One poll in progress."""

    def __init__(self, device: Device, record: str, pipeline: Pipeline, *, retry_set_aside: bool) -> None:
        self.report = PollReport(record, device.now())
        self._device = device
        self._record = record
        self._pipeline = pipeline
        self._retrying_set_aside = retry_set_aside
        self._ledger = device.spool.ledger
        self._fetcher = MailFetcher(device, self.report, self._extra, max_octets=MAX_MAIL_OCTETS)
        self._profile: ConnectionProfile | None = None
        self._oversized = 0
        self._made_server_wait = False
        """Whether a session was silent for so long that the server may have ended it."""

    async def run(self) -> None:
        """Run the poll; failures are in the report."""
        try:
            with ExitGuard():
                await self._poll()
        except Exception as error:  # noqa: BLE001 - a maildrop plugin may raise anything, and mail in the spool is still handled
            await self._fail(error if isinstance(error, MailError) else _unknown_error(error))
            await self._handle()

    async def _poll(self) -> None:
        if self._retrying_set_aside:
            await self._retry_set_aside()
        last, mailbox = await self._device.store(STORE).get_all(self._record, f"{self._record} mailbox")
        self._check_login_delay(last or {})
        self.report.contacted = True
        self._profile = await self._device.connector.profile(self._record)
        if self._profile.auth is None:
            raise NotConfiguredError(
                "authentication",
                "How to sign in is not set: set authentication to oauth2 or password.",
                stage="sign_in",
            )
        await self._check_mailbox(self._profile, mailbox)
        more = True
        while more:
            try:
                more = await self._session(self._profile)
            except OversizedMailError:
                # A server that changes the unique-id of the same mail each time must not keep a poll running.
                self._oversized += 1
                more = self._oversized < _MAX_OVERSIZED
            except NetworkError:
                # The server may have ended the silent session, and there was nothing to delete.
                if not self._made_server_wait:
                    raise
            self._made_server_wait = False
            await self._handle()

    async def _handle(self) -> None:
        self.report.handled += await handle_waiting(self._device, self._record, self._pipeline)

    async def _retry_set_aside(self) -> None:
        for mail in await self._ledger.mails(self._record, states={"set_aside"}, limit=1000):
            if mail.path is not None:
                await self._ledger.retry(mail.id)

    def _check_login_delay(self, last: Mapping[str, Any]) -> None:
        """Check that the server's login delay has passed, also since polls of other processes.

        Raises:
            RefusedError: `login_delay`, it has not passed.
        """
        passed, pause = self._device.now() - last.get("at", 0.0), last.get("pause", 0.0)
        if 0 <= passed < pause:
            self.report.pause = pause - passed
            self.report.at = last["at"]
            raise RefusedError(
                f"The mail server wants {pause:.0f} seconds between two sign-ins; {self.report.pause:.0f} are left.",
                stage="sign_in",
                cause="login_delay",
                retryable=True,
            )

    async def _check_mailbox(self, profile: ConnectionProfile, known: str | None) -> None:
        """Forget the unique-ids if the record's mailbox is another one than before, where they mean other mails."""
        maildrop, options = await maildrop_of(profile.settings)
        mailbox = f"{profile.settings.account or ''} at {profile.endpoint.host}"
        if profile.settings.maildrop != "pop3":
            mailbox = f"{mailbox}, {profile.settings.maildrop} {maildrop.mailbox_id(options)}".rstrip()
        if known == mailbox:
            return
        if known is not None:
            await self._ledger.forget_maildrop(self._record)
        await self._device.store(STORE).put(f"{self._record} mailbox", mailbox)

    async def _session(self, profile: ConnectionProfile) -> bool:
        """Fetch one batch; return whether another session is needed."""
        deletes = profile.settings.after_fetch == "delete"
        deleted = 0
        async with open_maildrop(profile) as maildrop:
            entries = await _list(maildrop)
            delay = maildrop.login_delay
            self.report.listed = len(entries)
            self.report.pause = delay + _LOGIN_DELAY_MARGIN if delay else 0.0
            self._check_unique_ids(entries, deletes=deletes)
            known = await self._ledger.known_uids_after_first_poll(self._record)
            if known is None:
                await self._note_first_poll(profile, entries)
                known = await self._ledger.known_uids(self._record)
            plan = plan_poll(
                entries, known, deletes=deletes, max_octets=MAX_MAIL_OCTETS, retry_set_aside=self._retrying_set_aside
            )
            plan.exclude(self._fetcher.has_given_up)
            self.report.passed_over = len(plan.passed_over)
            if plan.reused:
                await self._ledger.forget_uids(self._record, plan.reused)
            if plan.renumbered:
                await self._pass_over_renumbered(maildrop, plan)
            for entry in plan.refused:
                await self._fetcher.refuse(maildrop, entry)
            batch = plan.next_batch(long=delay > 0)
            safe = [entry for entry in batch if await self._fetch(maildrop, entry)]
            if deletes:
                deleted = await self._delete(maildrop, [*plan.to_delete, *safe])
            else:
                await self._fetch_more(maildrop, plan)
            if known:
                await self._ledger.forget_unlisted(self._record, [entry.uid for entry in entries])
            self.report.left = sum(map(len, plan.to_fetch))
        # Mails are deleted only if the session was left normally, over POP3 by a QUIT with its response (RFC 1939
        # section 6).
        self.report.deleted += deleted
        self._retrying_set_aside = False
        return self.report.left > 0 and not delay

    async def _fetch_more(self, maildrop: MaildropSession, plan: PollPlan) -> None:
        """Fetch further batches in the same session; since it deletes nothing, it need not end in between.

        The mails are handled between batches, so that not too many wait. If that takes long, the server may end the
        silent session, so the remaining mails are left to another one.
        """
        while plan.to_fetch and not self._made_server_wait:
            began = self._device.monotonic()
            await self._handle()
            self._made_server_wait = self._device.monotonic() - began > _MAX_SILENCE
            if not self._made_server_wait:
                for entry in plan.next_batch(long=False):
                    await self._fetch(maildrop, entry)

    def _check_unique_ids(self, entries: Sequence[Entry], *, deletes: bool) -> None:
        if not deletes and not all(entry.uid for entry in entries):
            raise NotConfiguredError(
                "after_fetch",
                "The server gives mails no unique-ids, so that those left there would be handled again: set "
                "after_fetch to delete.",
                stage="transaction",
            )

    async def _note_first_poll(self, profile: ConnectionProfile, entries: Sequence[Entry]) -> None:
        """Record the first poll, which either fetches all mail or only records the mail that is there."""
        lost = await self._ledger.was_lost()
        if profile.settings.first_poll == "all" and not lost:
            await self._ledger.record_first_poll(self._record)
            return
        if not all(entry.uid for entry in entries):
            raise NotConfiguredError(
                "first_poll",
                "The server gives mails no unique-ids, so that old ones cannot be told from new ones: set "
                "first_poll to all.",
                stage="transaction",
            )
        await self._device.store(STORE).put(f"{self._record} begun", self._device.now())
        await self._ledger.record_first_poll(self._record, [entry.uid for entry in entries])
        if lost:
            self._fetcher.note(
                "The list of the mail that was fetched before is lost, so that mail on the server is not fetched."
            )

    async def _pass_over_renumbered(self, maildrop: MaildropSession, plan: PollPlan) -> None:
        """Pass over the mails that were there before the first poll again, recognizing them by their dates."""
        begun = await self._device.store(STORE).get(f"{self._record} begun")
        if begun is None:
            return
        self._fetcher.note(
            "The server seems to have given all mails new unique-ids; old mails are told by their dates."
        )
        old: set[Entry] = set()
        for entry in [entry for group in plan.to_fetch for entry in group]:
            came_at = (await self._fetcher.summarize_header(maildrop, entry)).received_at
            if came_at is not None and came_at < begun:
                old.add(entry)
        await self._ledger.record_first_poll(self._record, [entry.uid for entry in old])
        self.report.passed_over += len(old)
        plan.exclude(lambda entry: entry in old)

    async def _fetch(self, maildrop: MaildropSession, entry: Entry) -> bool:
        return await self._fetcher.fetch(maildrop, entry, retry_set_aside=self._retrying_set_aside)

    async def _delete(self, maildrop: MaildropSession, entries: Sequence[Entry]) -> int:
        """Mark mails for deletion when the session is left; return how many the server has marked."""
        if not entries:
            return 0
        marked = list(entries)
        try:
            await maildrop.delete(*entries)
        except DeletionsRefusedError as error:
            marked = [entry for entry in entries if entry.number not in error.refused]
            self._fetcher.note(f"The server does not delete {len(error.refused)} of {len(entries)} mails: {error}")
        await self._ledger.mark_deleted(self._record, [entry.uid for entry in marked if entry.uid])
        return len(marked)

    async def _fail(self, error: MailError) -> None:
        report = self.report
        report.cause, report.retryable, report.sentence = error.cause, error.retryable, str(error)
        if isinstance(error, NotConfiguredError):
            report.diagnosis = Diagnosis(error.cause, {"missing": error.missing, "reason": str(error)})
        elif self._profile is not None and not isinstance(error, SpoolError):
            report.diagnosis = diagnose(error, await context_of(self._device, self._profile))
            report.cause, report.sentence = report.diagnosis.cause, explain(report.diagnosis).message
        if error.cause == "login_delay" and report.contacted:
            report.pause = max(report.pause, _DEFAULT_LOGIN_DELAY)
        logger.warning("Poll failed: %s", report.sentence, extra={**self._extra, "cause": report.cause})

    @property
    def _extra(self) -> dict[str, str]:
        return {"record": self._record, "pipeline": self._pipeline.name}


async def _list(maildrop: MaildropSession) -> Sequence[Entry]:
    """Return the entries of a maildrop; raise if the server takes too long to send them."""
    with anyio.move_on_after(LISTING_TIMEOUT):
        return await maildrop.listing()
    sentence = f"The mail server lists the mail too slowly: it has not finished in {LISTING_TIMEOUT:.0f} seconds."
    raise NetworkError(sentence, stage="transaction", cause="connection_lost", retryable=True)


def _unknown_error(error: Exception) -> MailError:
    sentence = f"a fault of mailslot, or of a plugin: {describe_error(error)}"
    return MailError(sentence, stage="transaction", cause="unknown", retryable=True)
