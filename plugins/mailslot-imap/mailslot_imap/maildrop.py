"""IMAP as a maildrop of mailslot (RFC 9051, and RFC 3501 before it)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.net.endpoint import check_timeout
from mailslot.net.establish import establish
from mailslot.net.tls import tls_context_for
from mailslot.sasl.authentication import open_authenticated
from mailslot.sasl.credentials import check_credentials
from mailslot.wire.redact import Redactor
from mailslot_imap.authentication import authenticate
from mailslot_imap.dialogue import ImapDialogue
from mailslot_imap.idle import idle
from mailslot_imap.session import ImapSession
from mailslot_imap.settings import OPTIONS, Options

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from mailslot.errors import Stage
    from mailslot.net.channel import Channel
    from mailslot.sasl.authentication import ReconnectRequiredError
    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.slots.keys import Key
    from mailslot.wire.transcript import Transcript


class Imap:
    """IMAP; see `mailslot.slots.maildrop.PushingMaildrop`."""

    options: Mapping[str, Key] = OPTIONS

    def mailbox_id(self, options: Mapping[str, Any]) -> str:
        """Return the folder's name: UIDs are its own."""
        return Options.of(options).folder

    @asynccontextmanager
    async def open(
        self,
        profile: ConnectionProfile,
        options: Mapping[str, Any],
        *,
        transcript: Transcript | None = None,
        on_stage: Callable[[Stage], None] | None = None,
    ) -> AsyncGenerator[ImapSession]:
        """Connect, encrypt, authenticate, open the folder, and return a session.

        Raises:
            InputError: the settings cannot be used, or this is not asyncio.
            MailError: any step failed; its `stage` says which.
        """
        dialogue = await _open(profile, transcript, on_stage)
        session = ImapSession(dialogue, Options.of(options), deletes=profile.settings.after_fetch == "delete")
        try:
            if profile.auth is not None:
                await session.select()
            yield session
        except BaseException:
            await session.abort()
            raise
        else:
            await session.quit()

    async def watch(self, profile: ConnectionProfile, options: Mapping[str, Any], on_mail: Callable[[], None]) -> None:
        """Have the server report new mail (RFC 2177), until cancelled.

        Args:
            profile: as for `open`.
            options: as for `open`.
            on_mail: called when IDLE has begun, and whenever the server reports new mail.

        Returns:
            at once if the server does not offer IDLE, or ``push`` is off.

        Raises:
            InputError: as for `open`.
            MailError: the connection failed.
        """
        parsed = Options.of(options)
        if not parsed.push:
            return
        dialogue = await _open(profile, None, None)
        try:
            await idle(dialogue, parsed.folder, on_mail)
        finally:
            await dialogue.abort()


imap: Final = Imap()


async def _open(
    profile: ConnectionProfile, transcript: Transcript | None, on_stage: Callable[[Stage], None] | None
) -> ImapDialogue:
    """Return a dialogue, authenticated if there are credentials."""
    _check_backend()
    auth, timeout = profile.auth, profile.timeout
    check_credentials(auth)
    check_timeout(timeout)
    context = tls_context_for(profile.endpoint, profile.ssl_context, credentials=auth is not None)
    redactor = Redactor()

    async def greet(channel: Channel) -> ImapDialogue:
        dialogue = ImapDialogue(channel, timeout=timeout, transcript=transcript, redactor=redactor, on_stage=on_stage)
        await dialogue.await_greeting(context)
        return dialogue

    async def negotiate(dialogue: ImapDialogue, retry: ReconnectRequiredError | None) -> None:
        async with dialogue.exclusive_use("capabilities"):
            await dialogue.request_capabilities()
        if auth is None:
            return
        await authenticate(dialogue, auth, retry)
        async with dialogue.exclusive_use("sign_in"):
            # Capabilities may change with authentication (RFC 9051 section 6.2.2).
            await dialogue.request_capabilities()

    return await open_authenticated(lambda: establish(profile.endpoint, timeout, greet, on_stage), negotiate)


def _check_backend() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise InputError(
            "IMAP is spoken through aioimaplib here, which runs on asyncio alone, and this process runs on trio: set "
            "maildrop to pop3, or run it on asyncio.",
            stage="resolve",
        ) from None
