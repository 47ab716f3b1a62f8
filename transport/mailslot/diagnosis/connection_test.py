"""The connection test: the very way that mail takes, stage by stage, and one cause for what fails."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, cast

import anyio
from anyio.to_thread import run_sync

from mailslot.diagnosis.classify import diagnose
from mailslot.diagnosis.clock import is_wrong, measure_clock_skew
from mailslot.diagnosis.context import DiagnosisContext
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.follow_up import follow_up_checks
from mailslot.diagnosis.history import History
from mailslot.diagnosis.result import TestResult
from mailslot.diagnosis.scrub import Scrubber, pieces, scrubbed
from mailslot.diagnosis.stages import STAGES, Stages
from mailslot.errors import MailError, NetworkError, TokenError
from mailslot.exit_guard import ExitGuard, original_error
from mailslot.message.mailbox import Mailbox
from mailslot.message.message import Message
from mailslot.net.endpoint import Security, format_seconds
from mailslot.oauth.grant_source import GrantSource
from mailslot.oauth.refresh_backoff import CONFIRM_AFTER
from mailslot.sasl.credentials import OAuth, Password
from mailslot.slots.connection_profile import NotConfiguredError
from mailslot.slots.connector import authenticate_by_pop, open_smtp
from mailslot.slots.maildrop import open_maildrop
from mailslot.wire.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailslot.diagnosis.stages import StageResult
    from mailslot.errors import Stage
    from mailslot.oauth.grant import Grant
    from mailslot.sasl.credentials import AccessToken, TokenSource
    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.slots.connector import Connector
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Slot
    from mailslot.slots.submitter import SubmissionSession
    from mailslot.wire.secret import Secret

GRACE: Final = 1.0
"""Seconds that a stage may take besides what its waits may take together."""

_SHOWN: Final[dict[Stage, str]] = {"envelope": "probe", "transaction": "probe", "quit": "probe", "data": "send"}
"""The stages of errors that have another name here."""

_SILENT: Final[dict[str, str]] = {
    "resolve": "name_not_found",
    "connect": "connection_timeout",
    "tls": "connection_timeout",
    "greeting": "connection_timeout",
    "token": "token_service_unreachable",
    "send": "in_doubt",
}
"""What it means where a stage took too long altogether; `connection_lost` for the others."""

logger = logging.getLogger(__name__)


async def check_connection(
    accesses: Connector,
    slot: Slot,
    *,
    send: bool = False,
    on_stage: Callable[[StageResult], None] | None = None,
) -> TestResult:
    """Test a slot's connection, by the very code that mail goes through, and remember the result.

    It takes little longer than the slot's timeout for a stage, and four times as long and 20 seconds in all.

    Args:
        accesses: the device's.
        slot: which slot.
        send: whether to mail a test message to the slot's own address, too; POP slots have none.
        on_stage: called whenever a stage begins or ends, in the order of the wire.

    Returns:
        how it went; nothing but a cancellation is raised.
    """
    test = _Test(accesses, slot, on_stage)
    try:
        with ExitGuard():
            result = await test.run(send=send)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with us, a person waits for an answer
        # Its words may quote a secret: only its kind is told.
        kind = type(original_error(error)).__name__
        logger.error("The connection test itself failed: %s", kind)  # noqa: TRY400 - see above
        test.stages.fail(test.stages.current)
        result = test.result(Diagnosis("unknown", {"reason": kind}, f"a fault of mailslot, or of a plugin: {kind}"))
    # A server may say back what it was told, in a form in which nobody knew it while it was spoken.
    result = await run_sync(scrubbed, result, await test.secrets())
    try:
        await History(accesses.records.home).add(result)
    except (MailError, OSError) as error:
        logger.warning("The result of the connection test could not be kept: %s", error)
    return result


@dataclass
class _RecordingTokenSource:
    """A token source that hands on another's tokens, and knows which was the last.

    A person waits for the test, so the provider is asked even where it has refused lately.
    """

    source: TokenSource
    given: list[Secret]
    newest: Secret | None = None
    renewed: bool = False

    async def token(self, *, force: bool = False) -> AccessToken:
        if isinstance(self.source, GrantSource):
            token = await self.source.token(force=force, ignore_backoff=True)
        else:
            token = await self.source.token(force=force)
        self.renewed = self.renewed or self.newest not in {None, token.value}
        self.newest = token.value
        self.given.append(token.value)
        return token

    async def forget(self) -> None:
        await self.source.forget()


@dataclass
class _Test:
    """One test on its way."""

    accesses: Connector
    slot: Slot
    on_stage: Callable[[StageResult], None] | None
    at: float = field(default_factory=time.time)
    transcript: Transcript = field(default_factory=Transcript)

    def __post_init__(self) -> None:
        self.stages = Stages(self.on_stage)
        self._scope = anyio.CancelScope()
        self._timeout = 0.0
        self._latest = 0.0
        self._begun = 0.0
        self._sending = False
        self._used: list[Secret] = []
        self._with_tokens: list[str] = []

    def result(self, diagnosis: Diagnosis, stage: str | None = None, *warnings: Diagnosis) -> TestResult:
        """Return what has come of it."""
        ok = diagnosis.cause == "ok"
        return TestResult(
            slot=self.slot.id,
            record=self.slot.record,
            at=self.at,
            ok=ok,
            stage=None if ok else stage or self.stages.current,
            diagnosis=diagnosis,
            stages=self.stages.results,
            transcript=tuple(self.transcript.lines),
            warnings=warnings,
        )

    async def run(self, *, send: bool) -> TestResult:
        """Go through all stages, or up to the one that fails."""
        try:
            access = await self.accesses.profile(self.slot.record)
        except MailError as error:
            return await self._unusable(error)
        access = self._watched(access)
        witness = access.token_source if isinstance(access.token_source, _RecordingTokenSource) else None
        self._timeout, tried = access.timeout, access
        self._latest = anyio.current_time() + 4 * access.timeout + 20
        failure: MailError | None = None
        with self._scope:
            try:
                if access.pop_profile is not None:
                    self._begin("sign_in")
                    tried = access.pop_profile
                    await authenticate_by_pop(access, transcript=self.transcript)
                    access = tried = replace(access, pop_profile=None)
                await self._talk(replace(access, secondary_endpoint=None), send=send)
            except MailError as caught:
                failure = caught
        if self._scope.cancelled_caught:
            failure = self._too_slow(access)
        if failure is None:
            self.stages.succeed()
            return self.result(Diagnosis("ok", {"host": access.endpoint.host}), None, *await self._warnings(access))
        stage = "sign_in" if tried is not access else self._stage_of(failure)
        self.stages.fail(stage)
        return await self._failed(failure, stage, tried, witness)

    def _watched(self, access: ConnectionProfile) -> ConnectionProfile:
        """Return an access whose token, password, and those of the sign-in before it, are remembered as used."""
        if access.pop_profile is not None:
            access = replace(access, pop_profile=self._watched(access.pop_profile))
        if isinstance(access.auth, Password):
            self._used.append(access.auth.password)
        if isinstance(access.auth, OAuth) and access.token_source is not None:
            witness = _RecordingTokenSource(access.token_source, self._used)
            access = replace(access, auth=replace(access.auth, source=witness), token_source=witness)
            self._with_tokens.append(access.record)
        return access

    async def secrets(self) -> list[Secret]:
        """Return every secret that anybody may have been told in this test."""
        records, found = self.accesses.records, list(self._used)
        for record in self._with_tokens:
            # What cannot be read was told to nobody.
            with suppress(MailError):
                secret = await run_sync(records.vault.read, record, "client_secret")
                found += [] if secret is None else pieces(secret)
            with suppress(MailError):
                grant = await records.tokens.store(record).load()
                if grant is not None:
                    found += filter(None, (grant.access_token, grant.refresh_token, grant.previous_refresh_token))
        return found

    async def _talk(self, access: ConnectionProfile, *, send: bool) -> None:
        if access.protocol == "SMTP":
            wait = 2 * access.timeout
            async with open_smtp(
                access, final_timeout=wait, transcript=self.transcript, on_stage=self._entered
            ) as submission:
                self._begin("probe")
                await self._offer(submission, access, send=send)
            return
        async with open_maildrop(access, transcript=self.transcript, on_stage=self._entered) as maildrop:
            self._begin("probe")
            if access.auth is None:
                # RFC 1939 section 3: there is nothing to be had from a maildrop before.
                raise MailError(
                    "Mail is fetched by whoever signs in, and this slot does not.",
                    stage="sign_in",
                    cause="authentication_required",
                )
            messages, octets = await maildrop.stat()
            self.stages.note(f"{messages:,} messages" + ("" if octets is None else f", {octets:,} octets"))

    async def _offer(self, submission: SubmissionSession, access: ConnectionProfile, *, send: bool) -> None:
        address = access.settings.sender_address or ""
        await submission.probe(address, [address])
        self.stages.note(f"{address} is taken as sender and recipient")
        if send:
            self._begin("send")
            self._sending = True
            receipt = await submission.submit(address, [address], _message(self.slot, access.settings))
            reply = Scrubber(self._used).scrub(str(receipt.reply))
            self.stages.note(f"taken for delivery to {address}: {reply}")

    def _entered(self, stage: Stage) -> None:
        """Hear of a step of the dialogue."""
        name = stage if stage in STAGES else _SHOWN.get(stage, stage)
        if name in STAGES and name not in {"probe", "send"}:
            self._begin(name)

    def _begin(self, name: str) -> None:
        self.stages.begin(name)
        # A renewal is bounded by itself, and may take several requests; a sign-in has several steps.
        longest = {"token": 4.0, "send": 4.0}.get(name, 1.5) * self._timeout + GRACE
        if name == "token":
            longest += CONFIRM_AFTER
        self._begun = anyio.current_time()
        self._scope.deadline = min(self._latest, self._begun + longest)

    def _stage_of(self, error: MailError) -> str:
        if self._sending and error.stage not in {"resolve", "connect", "tls", "greeting", "capabilities"}:
            return "send"
        return error.stage if error.stage in STAGES else _SHOWN.get(error.stage, self.stages.current)

    def _too_slow(self, access: ConnectionProfile) -> MailError:
        current = self.stages.current
        cause = _SILENT.get(current, "connection_lost")
        if current == "token":
            return TokenError(
                "The token service did not finish in time.", cause=cause, retryable=True, detail="given up by the test"
            )
        stage = cast("Stage", {"probe": "envelope", "send": "data"}.get(current, current))
        waited = self._scope.deadline - self._begun
        return NetworkError(
            f"The mail server {access.endpoint.host} did not finish within {format_seconds(waited)}.",
            stage=stage,
            cause=cause,
            retryable=True,
            in_doubt=cause == "in_doubt",
            detail="given up by the test",
            waited=waited,
        )

    async def _unusable(self, error: MailError) -> TestResult:
        """Return the result where the settings do not even say what to try."""
        missing = error.missing if isinstance(error, NotConfiguredError) else ""
        found = diagnose(error, DiagnosisContext(self.slot.protocol, "", 0, Security.NONE, ""))
        facts = {"reason": str(error), **({"missing": missing} if missing else {})}
        stage = error.stage if error.stage in STAGES else "resolve"
        self.stages.fail(stage)
        return self.result(replace(found, facts=facts, detail=found.detail or str(error)), stage)

    async def _failed(
        self, error: MailError, stage: str, access: ConnectionProfile, witness: _RecordingTokenSource | None
    ) -> TestResult:
        found = await follow_up_checks(error, self.accesses, access)
        known = await self._circumstances(access, witness)
        if found.skew is not None:
            known = replace(known, skew=found.skew)
        if found.certificate is not None:
            known = replace(known, valid_from=found.certificate.valid_from, valid_until=found.certificate.valid_until)
        diagnosis = diagnose(found.error, known)
        details = [diagnosis.detail, *found.details, await self._secondary(error, access)]
        detail = "; ".join(dict.fromkeys(filter(None, details)))
        return self.result(replace(diagnosis, facts={**found.facts, **diagnosis.facts}, detail=detail), stage)

    async def _circumstances(
        self, access: ConnectionProfile, witness: _RecordingTokenSource | None
    ) -> DiagnosisContext:
        grant = await self._grant(access)
        renewed = grant is not None and grant.renewed_at >= self.at - 1
        # What this very test has seen is newer than what the grant says.
        return replace(
            DiagnosisContext.of(access, grant, time.time()),
            token=None if witness is None else witness.newest,
            fresh=renewed or (witness is not None and witness.renewed),
            skew=self.accesses.token_sources.skew(access.settings),
        )

    async def _grant(self, access: ConnectionProfile) -> Grant | None:
        if not isinstance(access.token_source, _RecordingTokenSource) or not isinstance(
            access.token_source.source, GrantSource
        ):
            return None
        try:
            return await self.accesses.records.tokens.store(access.record).load()
        except MailError:
            return None

    async def _warnings(self, access: ConnectionProfile) -> list[Diagnosis]:
        skew, grant = self.accesses.token_sources.skew(access.settings), await self._grant(access)
        if not skew and grant is not None and is_wrong(grant.skew):
            # It was so when the token was renewed; the clock may have been set since.
            skew = (await measure_clock_skew(self.accesses, access, min(access.timeout, 5.0)))[0] or 0.0
        if not is_wrong(skew):
            return []
        known = replace(await self._circumstances(access, None), skew=skew)
        return [diagnose(TokenError("This device's clock is wrong.", cause="clock_wrong"), known)]

    async def _secondary(self, error: MailError, access: ConnectionProfile) -> str:
        """Return what there is to say of the secondary server where the first cannot be reached."""
        if access.secondary_endpoint is None or error.stage not in {"resolve", "connect"}:
            return ""
        other = replace(access, endpoint=access.secondary_endpoint, secondary_endpoint=None)
        name = f"the secondary server {access.secondary_endpoint.host}"
        try:
            with anyio.fail_after(4 * access.timeout):
                async with open_smtp(other):
                    return f"{name} works"
        except (MailError, TimeoutError) as second:
            return f"{name} does not work either: {second}"


def _message(slot: Slot, settings: Settings) -> Message:
    address = settings.sender_address or ""
    return Message(
        sender=Mailbox(address, settings.sender_name or ""),
        to=[address],
        subject="mailslot: connection test",
        text=f"This message was sent by the connection test of {slot.id}.\n"
        "That it has arrived proves that mail can be sent with these settings.\n",
        auto_submitted="auto-generated",
    )
