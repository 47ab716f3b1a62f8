"""Opening a POP3 session: connect, encrypt and authenticate."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mailslot.net.endpoint import check_timeout
from mailslot.net.establish import establish
from mailslot.net.tls import tls_context_for
from mailslot.pop3.authentication import authenticate
from mailslot.pop3.dialogue import Pop3Dialogue
from mailslot.pop3.session import Pop3Session
from mailslot.sasl.authentication import open_authenticated
from mailslot.sasl.credentials import check_credentials
from mailslot.wire.redact import Redactor

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable

    from mailslot.errors import Stage
    from mailslot.net.channel import Channel
    from mailslot.net.endpoint import Endpoint
    from mailslot.sasl.authentication import ReconnectRequiredError
    from mailslot.sasl.credentials import Credentials
    from mailslot.wire.transcript import Transcript


@asynccontextmanager
async def connect_pop3(
    endpoint: Endpoint,
    auth: Credentials | None = None,
    *,
    ssl_context: ssl.SSLContext | None = None,
    timeout: float = 30.0,
    transcript: Transcript | None = None,
    on_stage: Callable[[Stage], None] | None = None,
) -> AsyncGenerator[Pop3Session]:
    """Open a session with a POP3 server: connect, encrypt, authenticate (RFC 1939, RFC 8314).

    Leaving the context normally sends QUIT, which deletes the marked messages. An exception or cancellation closes the
    connection without QUIT, so that nothing is deleted.

    Args:
        endpoint: the server.
        auth: `OAuth` or `Password`; None for no authentication, which only allows to read the capabilities.
        ssl_context: the TLS context; None for the system's authorities and TLS 1.2 or newer.
        timeout: seconds for each wait for a response, and for each part of a transfer without progress.
        transcript: records the dialogue, without secrets.
        on_stage: called when each step begins. Steps may repeat: with STARTTLS the capabilities are requested before
            and after TLS starts, and a new connection or a retry with a new token begins some steps again.

    Raises:
        InputError: the combination cannot be used, such as credentials without TLS.
        MailError: any step failed; its `stage` says which.
    """
    check_credentials(auth)
    check_timeout(timeout)
    context = tls_context_for(endpoint, ssl_context, credentials=auth is not None)

    redactor = Redactor()

    async def greet(channel: Channel) -> Pop3Dialogue:
        dialogue = Pop3Dialogue(channel, timeout=timeout, transcript=transcript, redactor=redactor, on_stage=on_stage)
        await dialogue.await_greeting(context)
        return dialogue

    async def negotiate(dialogue: Pop3Dialogue, retry: ReconnectRequiredError | None) -> None:
        await dialogue.negotiate_capabilities(context)
        if auth is not None:
            await authenticate(dialogue, auth, retry)

    dialogue = await open_authenticated(lambda: establish(endpoint, timeout, greet, on_stage), negotiate)
    session = Pop3Session(dialogue, refresh_capabilities=auth is not None)
    try:
        yield session
    except BaseException:
        await session.abort()
        raise
    else:
        await session.quit()
