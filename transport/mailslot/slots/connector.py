"""Opening sessions from the settings of a record."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Self

import anyio
from anyio.to_thread import run_sync

from mailslot.errors import InputError, NetworkError
from mailslot.net.endpoint import Endpoint
from mailslot.net.server_gate import through_gate
from mailslot.net.tls import context_trusting
from mailslot.sasl.credentials import OAuth, Password
from mailslot.slots.connection_profile import ConnectionProfile, NotConfiguredError
from mailslot.slots.effective_settings import effective_settings
from mailslot.slots.flows import provider_of
from mailslot.slots.maildrop import open_maildrop
from mailslot.slots.plugin_sessions import open_plugin_session
from mailslot.slots.settings import directory_of, protocol_of
from mailslot.slots.submitter import SUBMITTERS, submitter_of
from mailslot.slots.token_sources import TokenSources
from mailslot.vault import durable

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from types import TracebackType

    from mailslot.errors import Stage
    from mailslot.net.server_gate import ServerGate
    from mailslot.oauth.providers import Provider
    from mailslot.oauth.timing import Clocks
    from mailslot.sasl.credentials import Credentials, TokenSource
    from mailslot.slots.records import Records
    from mailslot.slots.settings import Settings
    from mailslot.slots.submitter import SubmissionSession
    from mailslot.wire.transcript import Transcript

_UNREACHED: Final[frozenset[Stage]] = frozenset({"resolve", "connect"})

logger = logging.getLogger(__name__)


class Connector:
    """Makes connection profiles for the records of a home folder. Use it with ``async with``, in one event loop.

    Attributes:
        records: the home folder.
        token_sources: the token sources of all records.
        settings_error: why the file cannot be used, so that older settings are still in use; empty if it can.
    """

    def __init__(self, records: Records, *, clocks: Clocks | None = None, gate: ServerGate | None = None) -> None:
        """Make a connector; nothing is opened yet.

        Args:
            records: the home folder.
            clocks: the device's clocks; None for the machine's.
            gate: says whether a server may be contacted now; None if it always may.
        """
        self.records = records
        self.settings_error = ""
        self.token_sources = TokenSources(records, clocks, gate)
        self._gate = gate
        self._lock = anyio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.token_sources.aclose()

    async def profile(self, record: str) -> ConnectionProfile:
        """Return the connection profile of a record, from the current settings in the file.

        If the file has become unusable, the last good settings stay in use, and that is logged.

        Raises:
            InputError: cause `not_configured`: a setting is missing, or the file has never been usable.
            MailError: a secret cannot be read.
        """
        async with self._lock:
            settings = await run_sync(self._current_settings)
            while True:
                profile = await self._profile(record, settings)
                before, settings = settings, await run_sync(self._current_settings)
                # A secret that was stored together with other settings must not be sent to the server of these.
                if settings == before:
                    return profile

    def _current_settings(self) -> Mapping[str, Settings]:
        in_use = self.records.settings.current()
        if in_use.fault and in_use.fault != self.settings_error:
            logger.warning("The settings that were in use stay so: %s", in_use.fault)
        self.settings_error = in_use.fault
        return in_use.records

    async def _profile(self, record: str, all_settings: Mapping[str, Settings]) -> ConnectionProfile:
        if record not in all_settings:
            raise InputError(f"There is no record {record!r} any more.", stage="resolve", cause="not_configured")
        protocol = protocol_of(record, all_settings[record])
        settings = effective_settings(all_settings[record], protocol)
        if settings.server is None or settings.security is None:
            raise NotConfiguredError("server", "The mail server is not set.")
        if settings.port is None:
            raise NotConfiguredError("port", "The mail server's port is not set.")
        if protocol == "SMTP" and settings.sender_address is None:
            raise NotConfiguredError("sender_address", "The sender's address is not set.")
        endpoint = Endpoint(settings.server, settings.port, settings.security)
        other = settings.secondary_server
        auth, source = await self._credentials(record, settings)
        return ConnectionProfile(
            record=record,
            protocol=protocol,
            settings=settings,
            endpoint=endpoint,
            secondary_endpoint=Endpoint(other, endpoint.port, endpoint.security) if other else None,
            auth=auth,
            token_source=source,
            ssl_context=None if settings.ca_file is None else await run_sync(_ssl_context_for, settings.ca_file),
            provider=_provider(settings),
            timeout=float(settings.timeout),
            pop_profile=await self._pop_profile(settings, all_settings),
            gate=self._gate,
        )

    async def _credentials(self, record: str, settings: Settings) -> tuple[Credentials | None, TokenSource | None]:
        if settings.authentication not in {"password", "oauth2"}:
            return None, None
        if settings.account is None:
            raise NotConfiguredError("account", "The account is not set.")
        if settings.authentication == "oauth2":
            source = await self.token_sources.source(record, settings)
            return OAuth(settings.account, source), source
        password = await run_sync(self.records.vault.read, record, "password")
        if password is None:
            raise NotConfiguredError("password", "The password is not set.")
        return Password(settings.account, password), None

    async def _pop_profile(self, settings: Settings, all_settings: Mapping[str, Settings]) -> ConnectionProfile | None:
        if settings.authentication != "pop_before_smtp":
            return None
        if settings.pop_slot is None:
            raise NotConfiguredError("pop_slot", "The POP slot for POP before SMTP is not set.")
        return await self._profile(directory_of(all_settings).find(settings.pop_slot).record, all_settings)


async def authenticate_by_pop(profile: ConnectionProfile, *, transcript: Transcript | None = None) -> None:
    """Sign in by POP and leave again, if the settings say POP before SMTP.

    Raises:
        MailError: as `mailslot.slots.maildrop.open_maildrop` does.
    """
    if profile.pop_profile is not None:
        async with open_maildrop(profile.pop_profile, transcript=transcript):
            pass


@asynccontextmanager
async def open_smtp(
    profile: ConnectionProfile,
    *,
    final_timeout: float = 600.0,
    transcript: Transcript | None = None,
    on_stage: Callable[[Stage], None] | None = None,
) -> AsyncGenerator[SubmissionSession]:
    """Open a session to submit mail with the record's submitter, after signing in by POP if the settings say so.

    If the mail server cannot be reached, the secondary one is used.

    Args:
        profile: the profile of an SMTP record.
        final_timeout: as for `mailslot.connect_smtp`.
        transcript: as for `mailslot.connect_smtp`.
        on_stage: as for `mailslot.connect_smtp`.

    Raises:
        InputError: the submitter is not installed, or cannot be used.
        MailError: as for `mailslot.connect_smtp`; if neither server can be reached, the error of the first one.
    """
    submitter = await submitter_of(profile.settings)
    await authenticate_by_pop(profile, transcript=transcript)

    def open_session(endpoint: Endpoint) -> AbstractAsyncContextManager[SubmissionSession]:
        return open_plugin_session(
            f"{SUBMITTERS.noun} {profile.settings.submitter}",
            lambda entered: through_gate(
                profile.gate,
                endpoint,
                submitter(
                    endpoint,
                    profile.auth,
                    ssl_context=profile.ssl_context,
                    timeout=profile.timeout,
                    final_timeout=final_timeout,
                    transcript=transcript,
                    on_stage=entered,
                ),
            ),
            on_stage,
        )

    async with AsyncExitStack() as stack:
        try:
            session = await stack.enter_async_context(open_session(profile.endpoint))
        except NetworkError as error:
            if profile.secondary_endpoint is None or error.stage not in _UNREACHED:
                raise
            try:
                session = await stack.enter_async_context(open_session(profile.secondary_endpoint))
            except NetworkError as second:
                raise error if second.stage in _UNREACHED else second from None
        yield session


def _ssl_context_for(ca_file: Path) -> ssl.SSLContext:
    """Return TLS settings that trust the system's authorities and those in a file."""
    return _cached_ssl_context(ca_file, durable.file_version(ca_file))


@lru_cache(maxsize=32)
def _cached_ssl_context(ca_file: Path, _file: object) -> ssl.SSLContext:
    # Reading the system's authorities takes 20 ms, so it is only repeated when the file has changed.
    return context_trusting(ca_file)


def _provider(settings: Settings) -> Provider | None:
    try:
        return provider_of(settings).at_tenant(settings.tenant)
    except InputError:
        return None
