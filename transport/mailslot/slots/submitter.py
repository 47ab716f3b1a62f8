"""Submitters: the interface of the plugins in `mailslot.submitters`, one of which a record chooses by ``submitter``.

Every submitter must keep the following rules, most of which the conformance tests check:

- Every failure is a single `MailError`, never an exception group, with the `stage` that failed, the `cause`, and the
  `reply` if the server sent one. If a server cannot be reached, it is a `NetworkError` of the stage ``resolve`` or
  ``connect``; only these lead to the secondary server. `retryable` says whether the server's reply was temporary.
  `in_doubt` is true only if the end of a message was sent and no reply came.
- Any failure other than a refusal closes the connection, and so does cancellation. After a refusal, the next message
  can follow.
- `Security` is followed strictly: STARTTLS is never skipped, nothing received before TLS is trusted after it, and
  credentials are sent only to verified servers (`mailslot.net.tls.tls_context_for` refuses anything else).
- If a bearer token is refused, another one is requested once with ``force=True``. The server's reason is in
  `SignInError.challenge` (`mailslot.sasl.authentication.authenticate` does all of that).
- No secret is in an error, the transcript or a log, even if the server repeats it.
- Every wait ends: after ``timeout`` for each reply and for a transfer without progress, after ``final_timeout`` for the
  reply to a message. Memory is bounded, whatever the server sends and however large the message is.
- Messages are sent with CRLF line ends and dot-stuffed, and their declared size is right.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, Protocol

from anyio.to_thread import run_sync

from mailslot.registry import PluginGroup

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from mailslot.errors import Stage
    from mailslot.net.endpoint import Endpoint
    from mailslot.sasl.credentials import Credentials
    from mailslot.slots.settings import Settings
    from mailslot.smtp.capabilities import Capabilities
    from mailslot.smtp.content import Content
    from mailslot.smtp.envelope import DeliveryStatus
    from mailslot.smtp.receipt import Receipt
    from mailslot.wire.transcript import Transcript

BUILT_IN: Final = "mailslot"
"""The name of the built-in submitter."""


class SubmissionSession(Protocol):
    """A session that is ready to take messages; one task uses it at a time."""

    @property
    def capabilities(self) -> Capabilities:
        """The server's capabilities from its last EHLO; empty without EHLO."""
        ...

    @property
    def usable(self) -> bool:
        """Whether another message can be submitted."""
        ...

    async def submit(
        self,
        sender: str,
        recipients: Sequence[str],
        message: bytes | Content,
        *,
        delivery: DeliveryStatus | None = None,
        before_end: Callable[[], Awaitable[None]] | None = None,
    ) -> Receipt:
        """Submit one message, as `mailslot.SmtpSession.submit` does.

        `before_end` is awaited once, right before the end of the message is sent. It is not called if the server
        refuses earlier. If it raises, nothing is delivered, the session is closed, and the exception is passed on.

        Raises:
            InputError: an address or the message cannot be used.
            RecipientsRefusedError: the server refuses every recipient; no content was sent.
            RefusedError: the server refuses the sender or the message.
            MailError: anything else.
        """
        ...

    async def probe(self, sender: str, recipients: Sequence[str]) -> None:
        """Test whether the server would accept a message, without sending one; raises what `submit` raises."""
        ...


class Submitter(Protocol):
    """A submitter: the function that an entry point in `mailslot.submitters` names; `mailslot.connect_smtp` is one."""

    def __call__(
        self,
        endpoint: Endpoint,
        auth: Credentials | None = None,
        /,
        *,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 30.0,
        final_timeout: float = 600.0,
        transcript: Transcript | None = None,
        on_stage: Callable[[Stage], None] | None = None,
    ) -> AbstractAsyncContextManager[SubmissionSession]:
        """Open a session, for ``async with``; leaving it by an exception or a cancellation closes the connection.

        Args:
            endpoint: the server.
            auth: the credentials; None to send without signing in.
            ssl_context: TLS settings; None for the system's authorities and TLS 1.2 or newer.
            timeout: seconds for each wait.
            final_timeout: seconds to wait for the reply to a message.
            transcript: records the dialogue, without secrets and messages.
            on_stage: called when each stage begins, in order.

        Raises:
            MailError: on entering; its stage says what failed.
        """
        ...


SUBMITTERS: Final[PluginGroup[Submitter]] = PluginGroup("mailslot.submitters", noun="submitter", check=callable)
"""The installed submitters."""


def find_submitter(name: str) -> Submitter:
    """Return the submitter with this name; it blocks while a plugin is imported.

    Raises:
        InputError: there is no such submitter, or it cannot be loaded.
    """
    if name != BUILT_IN:
        return SUBMITTERS.find(name)
    from mailslot.smtp.connect import connect_smtp  # noqa: PLC0415 - most commands send nothing

    return connect_smtp


async def submitter_of(settings: Settings) -> Submitter:
    """Return the submitter that settings choose.

    Raises:
        InputError: it is not installed, or cannot be loaded.
    """
    if settings.submitter == BUILT_IN and "mailslot.smtp.connect" in sys.modules:
        # The built-in one is already imported, so no thread is needed.
        return find_submitter(BUILT_IN)
    return await run_sync(find_submitter, settings.submitter)
