"""Clients that submit mail: what a plugin of `mailslot.submitters` is, and what a record chooses by ``submitter``.

What sends through a record relies on the following, whatever the client; the suite of conformance for submitters
tests most of it:

- Every failure is one `MailError`, and never an exception group, with the `stage` that failed, the `cause` and the
  `reply` where the server gave one. Unreachable servers are a `NetworkError` of the stages ``resolve`` and
  ``connect``, since only these lead to the secondary server. `retryable` is what the server meant; `in_doubt` is true
  where the end of a message was out and no answer came, and nowhere else.
- Anything but a refusal closes the connection, a cancellation included. After a refusal the next message can follow.
- `Security` is obeyed as it is: STARTTLS is never skipped, nothing that came before TLS is believed in it, and
  credentials go to verified servers alone (`mailslot.net.tls.tls_context_for` refuses the rest).
- A bearer token that is refused is asked for once more with ``force=True``; the server's reasons are kept in
  `SignInError.challenge` (`mailslot.sasl.authentication.authenticate` does all of that).
- No secret is in an error, the transcript or a log, even where the server says it back.
- Every wait ends: ``timeout`` for each answer and each stretch of a transfer without progress, ``final_timeout`` for
  the answer to a message. Memory does not grow without a bound, whatever the server or the message is.
- Messages leave with CRLF line ends, dots stuffed, and a declared size that is true.
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
"""The name of the client that this package is itself."""


class SubmissionSession(Protocol):
    """A session that is ready to take messages; one task uses it at a time."""

    @property
    def capabilities(self) -> Capabilities:
        """The server's capabilities, as it announced them last; empty without EHLO."""
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

        `before_end` is awaited once, right before the octets leave that end the message, and not at all where the
        server refuses before; what it raises is raised, the session is closed, and nothing was delivered.

        Raises:
            InputError: an address or the message cannot be used.
            RecipientsRefusedError: every recipient is refused; no content was sent.
            RefusedError: the server refuses the sender or the message.
            MailError: anything else.
        """
        ...

    async def probe(self, sender: str, recipients: Sequence[str]) -> None:
        """Ask whether a short message would be accepted, without sending one; raises as `submit` does."""
        ...


class Submitter(Protocol):
    """A client, as an entry point of `mailslot.submitters` names it; `mailslot.connect_smtp` is one."""

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
            endpoint: where to connect to.
            auth: who signs in, and with what; None for nobody.
            ssl_context: TLS settings; None for the system's authorities and TLS 1.2 or newer.
            timeout: seconds for each wait.
            final_timeout: seconds to wait for the answer to a whole message.
            transcript: where the dialogue is noted, without secrets and without messages.
            on_stage: called as each step begins, in the order of the wire.

        Raises:
            MailError: on entering; its stage says what failed.
        """
        ...


SUBMITTERS: Final[PluginGroup[Submitter]] = PluginGroup("mailslot.submitters", noun="submitter", check=callable)
"""The clients that are installed."""


def find_submitter(name: str) -> Submitter:
    """Return the submitter with this name; it blocks where that has to be imported.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    if name != BUILT_IN:
        return SUBMITTERS.find(name)
    from mailslot.smtp.connect import connect_smtp  # noqa: PLC0415 - most commands send nothing

    return connect_smtp


async def submitter_of(settings: Settings) -> Submitter:
    """Return the submitter that settings choose.

    Raises:
        InputError: it is not installed, or cannot be used.
    """
    if settings.submitter == BUILT_IN and "mailslot.smtp.connect" in sys.modules:
        # It is not to wait for a thread.
        return find_submitter(BUILT_IN)
    return await run_sync(find_submitter, settings.submitter)
