"""Maildrops: what a plugin of `mailslot.maildrops` is, and what a record's ``maildrop`` chooses."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from anyio.to_thread import run_sync

from mailslot.errors import InputError
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
"""The packages that bring what does not come with this one."""


class MaildropSession(Protocol):
    """A session with a maildrop.

    Leaving its context normally commits: mail that was marked by `delete` goes, and where the maildrop's options say
    so, mail that was retrieved whole is marked. Leaving it by an exception or cancellation closes the connection and
    changes nothing on the server. After a refusal it stays usable, after anything else it is closed. Whatever it
    raises is a `MailError`, of the stage ``transaction`` or, where committing fails, ``quit``.
    """

    @property
    def login_delay(self) -> float:
        """Seconds that the server wants between two sign-ins; 0.0 where it does not mind."""
        ...

    async def stat(self) -> tuple[int, int | None]:
        """Return how many mails there are, and how many octets where that is cheap to find out."""
        ...

    async def listing(self) -> Sequence[Entry]:
        """Return the entries of the maildrop. An entry's ``number`` is valid in this session only.

        Its ``uid`` is the same in every session, and never another mail's as long as the maildrop is the same: a server
        that renumbers, as IMAP shows by UIDVALIDITY, gives other ones. Empty where there is no reliable one.
        """
        ...

    def retrieve(self, entry: Entry) -> AsyncIterator[bytes]:
        """Return a mail's octets in chunks, in memory that does not grow with the mail.

        A mail that is no longer there is a refusal. Where the iteration is left early, the session ends or the rest is
        drained; it never passes for complete.
        """
        ...

    def top(self, entry: Entry) -> AsyncIterator[bytes]:
        """Return a mail's header in chunks; its end may be missing where it is long."""
        ...

    async def delete(self, *entries: Entry) -> None:
        """Mark mails for deletion when the session is left normally.

        Raises:
            DeletionsRefusedError: the server refuses some; the others are marked.
        """
        ...


@runtime_checkable
class Maildrop(Protocol):
    """A kind of maildrop, as an entry point of `mailslot.maildrops` names it."""

    @property
    def options(self) -> Mapping[str, Key]:
        """The keys that ``maildrop_options`` may have."""
        ...

    def mailbox_id(self, options: Mapping[str, Any]) -> str:
        """Return what tells this mailbox from others of the same account, such as a folder; empty for its only one."""
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

        Each wait takes ``profile.timeout`` at most. Without ``profile.auth`` nobody signs in, and the session is good
        for nothing but being left. A token that the server refuses is asked for once more with ``force=True``
        (`mailslot.sasl.authentication.authenticate` does all of that).

        Args:
            profile: the server, who signs in, TLS settings, ``after_fetch``.
            options: what is set for it, with defaults.
            transcript: where the dialogue is noted, without secrets and without mail.
            on_stage: called as each step begins, in the order of the wire.

        Raises:
            MailError: on entering; its stage says what failed. No exception group.
        """
        ...


@runtime_checkable
class PushingMaildrop(Maildrop, Protocol):
    """A maildrop that reports new mail."""

    async def watch(self, profile: ConnectionProfile, options: Mapping[str, Any], on_mail: Callable[[], None]) -> None:
        """Watch for new mail until cancelled.

        Args:
            profile: as for `open`.
            options: likewise.
            on_mail: called once nothing can be missed any more, and whenever mail may have come from then on.

        Returns:
            at once where the server, or a setting, does not allow it.

        Raises:
            MailError: the connection failed.
        """
        ...


class _Pop3:
    """This package's own POP3."""

    options: Mapping[str, Key] = {}

    def mailbox_id(self, options: Mapping[str, Any]) -> str:  # noqa: ARG002 - there is nothing to set
        return ""

    def open(
        self,
        profile: ConnectionProfile,
        options: Mapping[str, Any],  # noqa: ARG002 - likewise
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
"""The module that it needs for a session."""

MAILDROPS: Final[PluginGroup[Maildrop]] = PluginGroup(
    "mailslot.maildrops", noun="maildrop", check=lambda found: isinstance(found, Maildrop)
)
"""The ways to fetch mail that are installed."""


def find_maildrop(name: str) -> Maildrop:
    """Return the maildrop with this name; it blocks where that has to be imported.

    Raises:
        InputError: there is none, or it cannot be used.
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
        InputError: one of them is not known, or has a value that is not allowed.
    """
    values = {name: key.default for name, key in maildrop.options.items()}
    for option in settings.maildrop_options:
        name, _, value = option.partition("=")
        if not maildrop.options:
            raise InputError(f"The maildrop {settings.maildrop} has no options.", stage="resolve")
        values[name.strip()] = parse_value(maildrop.options, name.strip(), value.strip())
    return values


def check_maildrop(settings: Settings) -> None:
    """Refuse a maildrop that is not installed, and options that it does not know; it blocks as `find_maildrop` does.

    Raises:
        InputError: with what there is.
    """
    try:
        options_of(find_maildrop(settings.maildrop), settings)
    except InputError as error:
        # Whoever sets what cannot be used has entered something wrong, whatever is missing for it.
        raise InputError(str(error), stage=error.stage, detail=error.detail) from error


def check_option_permission(settings: Settings, before: Settings, role: SetterRole) -> None:
    """Refuse options of a maildrop that somebody may not set; it blocks as `find_maildrop` does.

    Args:
        settings: as they would be.
        before: as they are.
        role: who wants them to be so.

    Raises:
        NotPermittedError: he may not.
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
        InputError: it is not installed, or cannot be used so.
    """
    found = pop3 if settings.maildrop == "pop3" else await run_sync(find_maildrop, settings.maildrop)
    return found, options_of(found, settings)


@asynccontextmanager
async def open_maildrop(
    profile: ConnectionProfile, *, transcript: Transcript | None = None, on_stage: Callable[[Stage], None] | None = None
) -> AsyncGenerator[MaildropSession]:
    """Open a session with a record's maildrop.

    Args:
        profile: of a POP record.
        transcript: as for `Maildrop.open`.
        on_stage: likewise.

    Raises:
        InputError: the maildrop is not installed, or cannot be used so.
        MailError: on entering, as `Maildrop.open` does.
    """
    found, options = await maildrop_of(profile.settings)
    if found is pop3 and _POP3 not in sys.modules:
        await run_sync(import_module, _POP3)
    opened = open_plugin_session(
        f"{MAILDROPS.noun} {profile.settings.maildrop}",
        lambda entered: found.open(profile, options, transcript=transcript, on_stage=entered),
        on_stage,
    )
    async with opened as session:
        yield session
