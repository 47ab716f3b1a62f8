"""Opening an SMTP session: connect, encrypt and authenticate."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from mailslot.errors import InputError
from mailslot.net.endpoint import check_timeout
from mailslot.net.establish import establish
from mailslot.net.tls import tls_context_for
from mailslot.sasl.authentication import open_authenticated
from mailslot.sasl.credentials import check_credentials
from mailslot.smtp.authentication import authenticate
from mailslot.smtp.base_dialogue import BaseSmtpDialogue
from mailslot.smtp.dialogue import SmtpDialogue
from mailslot.smtp.limits import MAX_DOMAIN
from mailslot.smtp.session import SmtpSession
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

D = TypeVar("D", bound=BaseSmtpDialogue[Any])


@asynccontextmanager
async def connect_smtp(
    endpoint: Endpoint,
    auth: Credentials | None = None,
    *,
    ssl_context: ssl.SSLContext | None = None,
    timeout: float = 30.0,
    final_timeout: float = 600.0,
    chunking: bool = False,
    local_name: str | None = None,
    transcript: Transcript | None = None,
    on_stage: Callable[[Stage], None] | None = None,
) -> AsyncGenerator[SmtpSession]:
    """Open a session with a submission server: connect, encrypt, authenticate (RFC 6409, RFC 8314).

    Leaving the context normally sends QUIT; an exception or cancellation closes the connection.

    Args:
        endpoint: the server.
        auth: `OAuth` or `Password`; None to send without authentication.
        ssl_context: the TLS context; None for the system's authorities and TLS 1.2 or newer.
        timeout: seconds for each wait for a reply, and for each part of a transfer without progress.
        final_timeout: seconds to wait for the reply to a whole message (RFC 5321 section 4.5.3.2.6: 10 minutes).
        chunking: whether to use BDAT if the server offers CHUNKING (RFC 3030).
        local_name: the argument of EHLO, a domain or an address literal; None for our address on the connection.
        transcript: records the dialogue, without secrets.
        on_stage: called when each step begins. Steps may repeat: with STARTTLS the capabilities are requested before
            and after TLS starts, and a new connection or a retry with a new token begins some steps again.

    Raises:
        InputError: the combination cannot be used, such as credentials without TLS.
        MailError: any step failed; its `stage` says which.
    """
    check_timeout(final_timeout)
    if local_name is not None and not (
        isinstance(local_name, str) and re.fullmatch(rf"[!-~]{{1,{MAX_DOMAIN}}}", local_name)
    ):
        raise InputError("The local name must be a domain or an address literal.", stage="capabilities")

    def make_dialogue(channel: Channel, redactor: Redactor) -> SmtpDialogue:
        return SmtpDialogue(channel, timeout=timeout, transcript=transcript, redactor=redactor, on_stage=on_stage)

    dialogue = await open_smtp_dialogue(
        make_dialogue,
        endpoint,
        auth,
        ssl_context=ssl_context,
        timeout=timeout,
        local_name=local_name,
        on_stage=on_stage,
    )
    try:
        yield SmtpSession(dialogue, final_timeout=final_timeout, chunking=chunking)
    except BaseException:
        await dialogue.abort()
        raise
    else:
        await dialogue.quit()


async def open_smtp_dialogue(
    make_dialogue: Callable[[Channel, Redactor], D],
    endpoint: Endpoint,
    auth: Credentials | None,
    *,
    ssl_context: ssl.SSLContext | None,
    timeout: float,
    local_name: str | None = None,
    on_stage: Callable[[Stage], None] | None = None,
) -> D:
    """Connect, encrypt and authenticate, with any kind of dialogue.

    Args:
        make_dialogue: creates the dialogue on a new, unencrypted connection.
        endpoint: as for `connect_smtp`.
        auth: as for `connect_smtp`.
        ssl_context: as for `connect_smtp`.
        timeout: as for `connect_smtp`.
        local_name: as for `connect_smtp`.
        on_stage: as for `connect_smtp`.

    Returns:
        the authenticated dialogue; on failure none is left open.

    Raises:
        MailError: as `connect_smtp` does.
    """
    check_credentials(auth)
    check_timeout(timeout)
    context = tls_context_for(endpoint, ssl_context, credentials=auth is not None)
    redactor = Redactor()

    async def greet(channel: Channel) -> D:
        dialogue = make_dialogue(channel, redactor)
        await dialogue.await_greeting(context)
        return dialogue

    async def negotiate(dialogue: D, retry: ReconnectRequiredError | None) -> None:
        await dialogue.negotiate_capabilities(context, local_name, require_ehlo=auth is not None)
        if auth is not None:
            await authenticate(dialogue, auth, retry)

    return await open_authenticated(lambda: establish(endpoint, timeout, greet, on_stage), negotiate)
