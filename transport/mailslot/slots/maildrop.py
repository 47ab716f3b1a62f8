"""Maildrops: the interface of the plugins in `mailslot.maildrops`, one of which a record chooses by ``maildrop``."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from anyio.to_thread import run_sync

from mailslot.errors import InputError
from mailslot.net.server_gate import through_gate
from mailslot.registry import PluginGroup
from mailslot.slots.keys import parse_value
from mailslot.slots.permission import NotPermittedError, exceeds_role, required_role
from mailslot.slots.plugin_sessions import open_plugin_session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

    from mailslot.errors import Stage
    from mailslot.pop3.listing import Entry
    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.slots.keys import Key, SetterRole
    from mailslot.slots.settings import Settings
    from mailslot.wire.transcript import Transcript

EXTRA_PACKAGES: Final[Mapping[str, str]] = {"imap": "mailslot-imap"}
"""The packages of maildrops that are not part of this one."""


class MaildropSession(Protocol):
    """A session with a maildrop.

    Leaving its context normally commits: mail that `delete` has marked is deleted, and if the maildrop's options say
    so, mail that was retrieved completely is marked. Leaving it by an exception or cancellation closes the connection
    and changes nothing on the server. After a refusal the session stays usable; after any other error it is closed. All
    errors are a `MailError` with the stage ``transaction``, or ``quit`` if committing fails.
    """

    @property
    def login_delay(self) -> float:
        """Seconds that the server requires between two sign-ins; 0.0 if it requires none."""
        ...

    async def stat(self) -> tuple[int, int | None]:
        """Return the number of mails, and their total octets, or None if finding that out is expensive."""
        ...

    async def listing(self) -> Sequence[Entry]:
        """Return the entries of the maildrop. An entry's ``number`` is valid in this session only.

        An entry's ``uid`` is the same in every session, and no other mail of this maildrop ever has it. If a server
        renumbers its mail, as IMAP reports by UIDVALIDITY, the uids are different from then on. A uid is empty if the
        server has no reliable one.
        """
        ...

    def retrieve(self, entry: Entry) -> AsyncIterator[bytes]:
        """Return a mail's octets in chunks; the memory used does not grow with the mail.

        It is a refusal if the mail no longer exists. If the iteration is left early, the rest is drained or the session
        is closed; the mail never counts as retrieved completely.
        """
        ...

    def top(self, entry: Entry) -> AsyncIterator[bytes]:
        """Return a mail's header in chunks; a long header may be cut off."""
        ...

    async def delete(self, *entries: Entry) -> None:
        """Mark mails for deletion when the session is left normally.

        Raises:
            DeletionsRefusedError: the server refused some; the others are marked.
        """
        ...


@runtime_checkable
class Maildrop(Protocol):
    """A kind of maildrop: the object that an entry point in `mailslot.maildrops` names."""

    @property
    def options(self) -> Mapping[str, Key]:
        """The keys that are allowed in ``maildrop_options``."""
        ...

    def mailbox_id(self, options: Mapping[str, Any]) -> str:
        """Return what distinguishes this mailbox from others of the account, such as a folder; may be empty."""
        ...

    def open(
        self,
        profile: ConnectionProfile,
        options: Mapping[str, Any],
        *,
        transcript: Transcript | None = None,
        on_stage: Callable[[Stage], None] | None = None,
    ) -> AbstractAsyncContextManager[MaildropSession]:
        """Open a session, for ``async with``.

        Each wait takes at most ``profile.timeout``. Without ``profile.auth``, the session does not sign in, and can
        only be left again. If the server refuses a token, another one is requested once with ``force=True``
        (`mailslot.sasl.authentication.authenticate` does all of that).

        Args:
            profile: the server, who signs in, TLS settings, ``after_fetch``.
            options: the values of its options, with defaults.
            transcript: records the dialogue, without secrets and mail.
            on_stage: called when each stage begins, in order.

        Raises:
            MailError: on entering; its stage says what failed. It is never an exception group.
        """
        ...


@runtime_checkable
class PushingMaildrop(Maildrop, Protocol):
    """A maildrop that can report new mail."""

    async def watch(self, profile: ConnectionProfile, options: Mapping[str, Any], on_mail: Callable[[], None]) -> None:
        """Watch for new mail until cancelled.

        Args:
            profile: as for `open`.
            options: as for `open`.
            on_mail: called once watching has begun, and then whenever new mail may have arrived.

        Returns:
            at once, if the server or a setting does not allow watching.

        Raises:
            MailError: the connection failed.
        """
        ...


class _Pop3:
    """The built-in maildrop, POP3."""

    options: Mapping[str, Key] = {}

    def mailbox_id(self, options: Mapping[str, Any]) -> str:  # noqa: ARG002 - there is nothing to set
        return ""

    def open(
        self,
        profile: ConnectionProfile,
        options: Mapping[str, Any],  # noqa: ARG002 - it has no options
        *,
        transcript: Transcript | None = None,
        on_stage: Callable[[Stage], None] | None = None,
    ) -> AbstractAsyncContextManager[MaildropSession]:
        from mailslot.pop3.connect import connect_pop3  # noqa: PLC0415 - most commands fetch nothing

        return connect_pop3(
            profile.endpoint,
            profile.auth,
            ssl_context=profile.ssl_context,
            timeout=profile.timeout,
            transcript=transcript,
            on_stage=on_stage,
        )


pop3: Final[Maildrop] = _Pop3()
_POP3: Final = "mailslot.pop3.connect"
"""The module that is imported for a session."""

MAILDROPS: Final[PluginGroup[Maildrop]] = PluginGroup(
    "mailslot.maildrops", noun="maildrop", check=lambda found: isinstance(found, Maildrop)
)
"""The installed maildrops."""


def find_maildrop(name: str) -> Maildrop:
    """Return the maildrop with this name; it blocks while a plugin is imported.

    Raises:
        InputError: there is no such maildrop, or it cannot be loaded.
    """
    if name == "pop3":
        return pop3
    if name in EXTRA_PACKAGES and name not in MAILDROPS.names():
        raise InputError(
            f"The maildrop {name} comes in a package of its own: pip install {EXTRA_PACKAGES[name]}.",
            stage="resolve",
            cause="not_configured",
        )
    return MAILDROPS.find(name)


def options_of(maildrop: Maildrop, settings: Settings) -> dict[str, Any]:
    """Return the values of ``maildrop_options``, with defaults.

    Raises:
        InputError: an option is unknown, or its value is not allowed.
    """
    values = {name: key.default for name, key in maildrop.options.items()}
    for option in settings.maildrop_options:
        name, _, value = option.partition("=")
        if not maildrop.options:
            raise InputError(f"The maildrop {settings.maildrop} has no options.", stage="resolve")
        values[name.strip()] = parse_value(maildrop.options, name.strip(), value.strip())
    return values


def check_maildrop(settings: Settings) -> None:
    """Check that the maildrop is installed and that its options are allowed; it blocks as `find_maildrop` does.

    Raises:
        InputError: it is not installed or an option is not allowed; the sentence lists what is possible.
    """
    try:
        options_of(find_maildrop(settings.maildrop), settings)
    except InputError as error:
        # While somebody is setting it, this is a wrong value, not a missing setting, so the cause is dropped.
        raise InputError(str(error), stage=error.stage, detail=error.detail) from error


def check_option_permission(settings: Settings, before: Settings, role: SetterRole) -> None:
    """Check that a role may change the maildrop's options; it blocks as `find_maildrop` does.

    Args:
        settings: the settings after the change.
        before: the settings before it.
        role: the role of the person who makes the change.

    Raises:
        NotPermittedError: the role is not sufficient.
        InputError: as for `check_maildrop`.
    """
    maildrop = find_maildrop(settings.maildrop)
    values = options_of(maildrop, settings)
    former: Mapping[str, Any] = {}
    with suppress(InputError):
        former = options_of(maildrop, before) if before.maildrop == settings.maildrop else {}
    for name, key in maildrop.options.items():
        if exceeds_role(needs := required_role(key, values[name], former.get(name)), role):
            raise NotPermittedError("SLOT", "maildrop_options", needs)


async def maildrop_of(settings: Settings) -> tuple[Maildrop, dict[str, Any]]:
    """Return the maildrop that settings choose, and its options.

    Raises:
        InputError: it is not installed, or its options are not allowed.
    """
    found = pop3 if settings.maildrop == "pop3" else await run_sync(find_maildrop, settings.maildrop)
    return found, options_of(found, settings)


@asynccontextmanager
async def open_maildrop(
    profile: ConnectionProfile, *, transcript: Transcript | None = None, on_stage: Callable[[Stage], None] | None = None
) -> AsyncGenerator[MaildropSession]:
    """Open a session with a record's maildrop.

    Args:
        profile: the profile of a POP record.
        transcript: as for `Maildrop.open`.
        on_stage: as for `Maildrop.open`.

    Raises:
        InputError: the maildrop is not installed, or its options are not allowed.
        MailError: on entering, as for `Maildrop.open`.
    """
    found, options = await maildrop_of(profile.settings)
    if found is pop3 and _POP3 not in sys.modules:
        await run_sync(import_module, _POP3)
    opened = open_plugin_session(
        f"{MAILDROPS.noun} {profile.settings.maildrop}",
        lambda entered: through_gate(
            profile.gate,
            profile.endpoint,
            found.open(profile, options, transcript=transcript, on_stage=entered),
        ),
        on_stage,
    )
    async with opened as session:
        yield session
