"""From an endpoint to a signed-in session."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mailslot.net.endpoint import check_timeout
from mailslot.net.establish import establish
from mailslot.net.tls import context_for
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
    """Connect to a POP3 server, encrypt, sign in, and give a session (RFC 1939, RFC 8314).

    Leaving the context normally says QUIT, which deletes what was marked. Leaving it by an exception or
    cancellation closes the connection without QUIT, so that nothing is deleted.

    Args:
        endpoint: where to connect to.
        auth: `OAuth` or `Password`; None not to sign in, which shows no more than what the server offers.
        ssl_context: TLS settings; None for the system's authorities and TLS 1.2 or newer.
        timeout: seconds for each wait for a reply, and for each stretch of a transfer without progress.
        transcript: where the dialogue is noted, without secrets.
        on_stage: called as each step begins, in the order of the wire: with STARTTLS the capabilities are asked for
            before TLS and again in it, and a second connection or a second try of a sign-in begins steps anew.

    Raises:
        InputError: the combination cannot be used, such as credentials without TLS.
        MailError: any step failed; its `stage` says which.
    """
    check_credentials(auth)
    check_timeout(timeout)
    context = context_for(endpoint, ssl_context, credentials=auth is not None)

    redactor = Redactor()

    async def greet(channel: Channel) -> Pop3Dialogue:
        dialogue = Pop3Dialogue(channel, timeout=timeout, transcript=transcript, redactor=redactor, on_stage=on_stage)
        await dialogue.greet(context)
        return dialogue

    async def begin(dialogue: Pop3Dialogue, again: ReconnectRequiredError | None) -> None:
        await dialogue.introduce(context)
        if auth is not None:
            await authenticate(dialogue, auth, again)

    dialogue = await open_authenticated(lambda: establish(endpoint, timeout, greet, on_stage), begin)
    session = Pop3Session(dialogue, ask_again=auth is not None)
    try:
        yield session
    except BaseException:
        await session.abort()
        raise
    else:
        await session.leave()
