"""The connection test: opens a session as mail does, stage by stage, and diagnoses a failure."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, cast

import anyio
from anyio.to_thread import run_sync

from mailslot.diagnosis.classify import diagnose
from mailslot.diagnosis.clock import is_clock_wrong, measure_clock_skew
from mailslot.diagnosis.context import DiagnosisContext
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.diagnosis.follow_up import follow_up_checks
from mailslot.diagnosis.history import History
from mailslot.diagnosis.result import TestResult
from mailslot.diagnosis.scrub import Scrubber, scrub_result, secret_parts
from mailslot.diagnosis.stages import STAGES, Stages
from mailslot.diagnosis.tested_settings import tested_settings
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
"""Seconds that a stage may take in addition to its timeouts."""

_STAGE_NAMES: Final[dict[Stage, str]] = {"envelope": "probe", "transaction": "probe", "quit": "probe", "data": "send"}
"""Stages of errors that have another name in the test."""

_TIMEOUT_CAUSES: Final[dict[str, str]] = {
    "resolve": "name_not_found",
    "connect": "connection_timeout",
    "tls": "connection_timeout",
    "greeting": "connection_timeout",
    "token": "token_service_unreachable",
    "send": "in_doubt",
}
"""The cause if a stage takes too long; `connection_lost` for the others."""

logger = logging.getLogger(__name__)


async def check_connection(
    connector: Connector,
    slot: Slot,
    *,
    send: bool = False,
    on_stage: Callable[[StageResult], None] | None = None,
) -> TestResult:
    """Test a slot's connection with the code that mail uses, and store the result in the history.

    A stage takes little longer than the slot's timeout, the whole test four timeouts and 20 seconds at most.

    Args:
        connector: the device's connector.
        slot: the slot.
        send: whether to also mail a test message to the slot's own address; ignored for POP.
        on_stage: called when a stage begins, ends or has to wait, in the protocol's order.

    Returns:
        the result; only cancellation is raised.
    """
    test = _ConnectionTest(connector, slot, on_stage)
    settings = await run_sync(tested_settings, connector.records, slot.record)
    try:
        with ExitGuard():
            result = await test.run(send=send)
    except Exception as error:  # noqa: BLE001 - a person waits for a result, even if the test itself fails
        # The error's text may contain a secret, so only its type is shown.
        kind = type(original_error(error)).__name__
        logger.error("The connection test itself failed: %s", kind)  # noqa: TRY400 - see above
        test.stages.fail(test.stages.current)
        result = test.result(Diagnosis("unknown", {"reason": kind}, f"a fault of mailslot, or of a plugin: {kind}"))
    # A server may echo a secret in an encoding that the transcript's redactor did not recognize.
    result = replace(await run_sync(scrub_result, result, await test.secrets()), settings=settings)
    try:
        await History(connector.records.place).add(result)
    except (MailError, OSError) as error:
        logger.warning("The result of the connection test could not be kept: %s", error)
    return result


@dataclass
class _RecordingTokenSource:
    """A token source that records the tokens of another one.

    It ignores the backoff after an earlier refusal, since a person waits for the test.
    """

    source: TokenSource
    used: list[Secret]
    newest: Secret | None = None
    refreshed: bool = False

    async def token(self, *, force: bool = False) -> AccessToken:
        if isinstance(self.source, GrantSource):
            token = await self.source.token(force=force, ignore_backoff=True)
        else:
            token = await self.source.token(force=force)
        self.refreshed = self.refreshed or self.newest not in {None, token.value}
        self.newest = token.value
        self.used.append(token.value)
        return token

    async def forget(self) -> None:
        await self.source.forget()


@dataclass
class _ConnectionTest:
    """A running test."""

    connector: Connector
    slot: Slot
    on_stage: Callable[[StageResult], None] | None
    at: float = field(default_factory=time.time)
    transcript: Transcript = field(default_factory=Transcript)

    def __post_init__(self) -> None:
        self.stages = Stages(self.on_stage)
        self._scope = anyio.CancelScope()
        self._timeout = 0.0
        self._last_deadline = 0.0
        self._stage_began = 0.0
        self._sending = False
        self._secrets_used: list[Secret] = []
        self._token_records: list[str] = []

    def result(self, diagnosis: Diagnosis, stage: str | None = None, *warnings: Diagnosis) -> TestResult:
        """Return the result."""
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
        """Run all stages, up to the first that fails."""
        try:
            profile = await self.connector.profile(self.slot.record)
        except MailError as error:
            return await self._settings_failure(error)
        profile = self._with_recorders(profile)
        recorder = profile.token_source if isinstance(profile.token_source, _RecordingTokenSource) else None
        self._timeout, failing_profile = profile.timeout, profile
        self._last_deadline = anyio.current_time() + 4 * profile.timeout + 20
        failure: MailError | None = None
        with self._scope:
            try:
                if profile.pop_profile is not None:
                    self._begin("sign_in")
                    failing_profile = profile.pop_profile
                    await authenticate_by_pop(profile, transcript=self.transcript)
                    profile = failing_profile = replace(profile, pop_profile=None)
                await self._run_session(replace(profile, secondary_endpoint=None), send=send)
            except MailError as caught:
                failure = caught
        if self._scope.cancelled_caught:
            failure = self._timeout_error(profile)
        if failure is None:
            self.stages.succeed()
            return self.result(Diagnosis("ok", {"host": profile.endpoint.host}), None, *await self._warnings(profile))
        stage = "sign_in" if failing_profile is not profile else self._stage_of(failure)
        self.stages.fail(stage)
        return await self._failure(failure, stage, failing_profile, recorder)

    def _with_recorders(self, profile: ConnectionProfile) -> ConnectionProfile:
        """Return a profile that records its tokens and passwords, and those of POP before SMTP."""
        if profile.pop_profile is not None:
            profile = replace(profile, pop_profile=self._with_recorders(profile.pop_profile))
        if isinstance(profile.auth, Password):
            self._secrets_used.append(profile.auth.password)
        if isinstance(profile.auth, OAuth) and profile.token_source is not None:
            recorder = _RecordingTokenSource(profile.token_source, self._secrets_used)
            profile = replace(profile, auth=replace(profile.auth, source=recorder), token_source=recorder)
            self._token_records.append(profile.record)
        return profile

    async def secrets(self) -> list[Secret]:
        """Return every secret that may have been sent in this test."""
        records, secrets = self.connector.records, list(self._secrets_used)
        for record in self._token_records:
            # A secret that cannot be read was not sent.
            with suppress(MailError):
                secret = await run_sync(records.vault.read, record, "client_secret")
                secrets += [] if secret is None else secret_parts(secret)
            with suppress(MailError):
                grant = await records.tokens.store(record).load()
                if grant is not None:
                    secrets += filter(None, (grant.access_token, grant.refresh_token, grant.previous_refresh_token))
        return secrets

    async def _run_session(self, profile: ConnectionProfile, *, send: bool) -> None:
        if profile.protocol == "SMTP":
            wait = 2 * profile.timeout
            async with open_smtp(
                profile, final_timeout=wait, transcript=self.transcript, on_stage=self._on_session_stage
            ) as submission:
                self._begin("probe")
                await self._probe(submission, profile, send=send)
            return
        async with open_maildrop(profile, transcript=self.transcript, on_stage=self._on_session_stage) as maildrop:
            self._begin("probe")
            if profile.auth is None:
                # RFC 1939 section 3: a maildrop can only be used after authentication.
                raise MailError(
                    "Mail is fetched by whoever signs in, and this slot does not.",
                    stage="sign_in",
                    cause="authentication_required",
                )
            messages, octets = await maildrop.stat()
            counted = "1 message" if messages == 1 else f"{messages:,} messages"
            self.stages.note(counted + ("" if octets is None else f", {octets:,} octets"))

    async def _probe(self, submission: SubmissionSession, profile: ConnectionProfile, *, send: bool) -> None:
        address = profile.settings.sender_address or ""
        await submission.probe(address, [address])
        self.stages.note(f"{address} is taken as sender and recipient")
        if send:
            self._begin("send")
            self._sending = True
            receipt = await submission.submit(address, [address], _message(self.slot, profile.settings))
            reply = Scrubber(self._secrets_used).scrub(str(receipt.reply))
            self.stages.note(f"taken for delivery to {address}: {reply}")

    def _on_session_stage(self, stage: Stage) -> None:
        """Begin the test's stage that belongs to a session's stage."""
        name = stage if stage in STAGES else _STAGE_NAMES.get(stage, stage)
        if name in STAGES and name not in {"probe", "send"}:
            self._begin(name)

    def _begin(self, name: str) -> None:
        self.stages.begin(name)
        # A refresh has its own timeouts, and may take several requests; authentication has several steps.
        allowed = {"token": 4.0, "send": 4.0}.get(name, 1.5) * self._timeout + GRACE
        if name == "token":
            allowed += CONFIRM_AFTER
        self._stage_began = anyio.current_time()
        self._scope.deadline = min(self._last_deadline, self._stage_began + allowed)

    def _stage_of(self, error: MailError) -> str:
        if self._sending and error.stage not in {"resolve", "connect", "tls", "greeting", "capabilities"}:
            return "send"
        return error.stage if error.stage in STAGES else _STAGE_NAMES.get(error.stage, self.stages.current)

    def _timeout_error(self, profile: ConnectionProfile) -> MailError:
        current = self.stages.current
        cause = _TIMEOUT_CAUSES.get(current, "connection_lost")
        if current == "token":
            return TokenError(
                "The token service did not finish in time.", cause=cause, retryable=True, detail="given up by the test"
            )
        stage = cast("Stage", {"probe": "envelope", "send": "data"}.get(current, current))
        waited = self._scope.deadline - self._stage_began
        return NetworkError(
            f"The mail server {profile.endpoint.host} did not finish within {format_seconds(waited)}.",
            stage=stage,
            cause=cause,
            retryable=True,
            in_doubt=cause == "in_doubt",
            detail="given up by the test",
            waited=waited,
        )

    async def _settings_failure(self, error: MailError) -> TestResult:
        """Return the result if the settings are incomplete."""
        missing = error.missing if isinstance(error, NotConfiguredError) else ""
        diagnosis = diagnose(error, DiagnosisContext(self.slot.protocol, "", 0, Security.NONE, ""))
        facts = {"reason": str(error), **({"missing": missing} if missing else {})}
        stage = error.stage if error.stage in STAGES else "resolve"
        self.stages.fail(stage)
        return self.result(replace(diagnosis, facts=facts, detail=diagnosis.detail or str(error)), stage)

    async def _failure(
        self, error: MailError, stage: str, profile: ConnectionProfile, recorder: _RecordingTokenSource | None
    ) -> TestResult:
        follow_up = await follow_up_checks(error, self.connector, profile)
        context = await self._context(profile, recorder)
        if follow_up.skew is not None:
            context = replace(context, skew=follow_up.skew)
        if follow_up.certificate is not None:
            context = replace(
                context, valid_from=follow_up.certificate.valid_from, valid_until=follow_up.certificate.valid_until
            )
        diagnosis = diagnose(follow_up.error, context)
        details = [diagnosis.detail, *follow_up.details, await self._check_secondary(error, profile)]
        detail = "; ".join(dict.fromkeys(filter(None, details)))
        return self.result(replace(diagnosis, facts={**follow_up.facts, **diagnosis.facts}, detail=detail), stage)

    async def _context(self, profile: ConnectionProfile, recorder: _RecordingTokenSource | None) -> DiagnosisContext:
        grant = await self._grant(profile)
        refreshed = grant is not None and grant.renewed_at >= self.at - 1
        # What this test has seen is newer than the stored grant.
        return replace(
            DiagnosisContext.of(profile, grant, time.time()),
            token=None if recorder is None else recorder.newest,
            fresh=refreshed or (recorder is not None and recorder.refreshed),
            skew=self.connector.token_sources.skew(profile.settings),
        )

    async def _grant(self, profile: ConnectionProfile) -> Grant | None:
        if not isinstance(profile.token_source, _RecordingTokenSource) or not isinstance(
            profile.token_source.source, GrantSource
        ):
            return None
        try:
            return await self.connector.records.tokens.store(profile.record).load()
        except MailError:
            return None

    async def _warnings(self, profile: ConnectionProfile) -> list[Diagnosis]:
        skew, grant = self.connector.token_sources.skew(profile.settings), await self._grant(profile)
        if not skew and grant is not None and is_clock_wrong(grant.skew):
            # The clock was wrong at the last refresh, but may have been set since.
            skew = (await measure_clock_skew(self.connector, profile, min(profile.timeout, 5.0)))[0] or 0.0
        if not is_clock_wrong(skew):
            return []
        context = replace(await self._context(profile, None), skew=skew)
        return [diagnose(TokenError("This device's clock is wrong.", cause="clock_wrong"), context)]

    async def _check_secondary(self, error: MailError, profile: ConnectionProfile) -> str:
        """Return whether the secondary server works, if the primary one cannot be reached; else an empty text."""
        if profile.secondary_endpoint is None or error.stage not in {"resolve", "connect"}:
            return ""
        secondary = replace(profile, endpoint=profile.secondary_endpoint, secondary_endpoint=None)
        name = f"the secondary server {profile.secondary_endpoint.host}"
        try:
            with anyio.fail_after(4 * profile.timeout):
                async with open_smtp(secondary):
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
