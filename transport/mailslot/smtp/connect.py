"""From an endpoint to a signed-in session."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from mailslot.errors import InputError
from mailslot.net.endpoint import check_timeout
from mailslot.net.establish import establish
from mailslot.net.tls import context_for
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
    """Connect to a submission server, encrypt, sign in, and give a session (RFC 6409, RFC 8314).

    Leaving the context normally says QUIT; leaving it by an exception or cancellation closes the connection.

    Args:
        endpoint: where to connect to.
        auth: `OAuth` or `Password`; None to send without signing in.
        ssl_context: TLS settings; None for the system's authorities and TLS 1.2 or newer.
        timeout: seconds for each wait for a reply, and for each stretch of a transfer without progress.
        final_timeout: seconds to wait for the answer to a whole message (RFC 5321 section 4.5.3.2.6: 10 minutes).
        chunking: whether to send by BDAT where the server offers CHUNKING (RFC 3030).
        local_name: what EHLO says: a domain or an address literal; None for our address on the connection.
        transcript: where the dialogue is noted, without secrets.
        on_stage: called as each step begins, in the order of the wire: with STARTTLS the capabilities are asked for
            before TLS and again in it, and a second connection or a second try of a sign-in begins steps anew.

    Raises:
        InputError: the combination cannot be used, such as credentials without TLS.
        MailError: any step failed; its `stage` says which.
    """
    check_timeout(final_timeout)
    if local_name is not None and not (
        isinstance(local_name, str) and re.fullmatch(rf"[!-~]{{1,{MAX_DOMAIN}}}", local_name)
    ):
        raise InputError("The local name must be a domain or an address literal.", stage="capabilities")

    def speak(channel: Channel, redactor: Redactor) -> SmtpDialogue:
        return SmtpDialogue(channel, timeout=timeout, transcript=transcript, redactor=redactor, on_stage=on_stage)

    dialogue = await begin(
        speak, endpoint, auth, ssl_context=ssl_context, timeout=timeout, local_name=local_name, on_stage=on_stage
    )
    try:
        yield SmtpSession(dialogue, final_timeout=final_timeout, chunking=chunking)
    except BaseException:
        await dialogue.abort()
        raise
    else:
        await dialogue.leave()


async def begin(
    speak: Callable[[Channel, Redactor], D],
    endpoint: Endpoint,
    auth: Credentials | None,
    *,
    ssl_context: ssl.SSLContext | None,
    timeout: float,
    local_name: str | None = None,
    on_stage: Callable[[Stage], None] | None = None,
) -> D:
    """Connect, encrypt and sign in, by any kind of dialogue.

    Args:
        speak: makes the dialogue on a connection that is up and not encrypted.
        endpoint: as for `connect_smtp`, as are the others.
        auth: likewise.
        ssl_context: likewise.
        timeout: likewise.
        local_name: likewise.
        on_stage: likewise.

    Returns:
        the dialogue, signed in; where that fails, none is left open.

    Raises:
        MailError: as `connect_smtp` does.
    """
    check_credentials(auth)
    check_timeout(timeout)
    context = context_for(endpoint, ssl_context, credentials=auth is not None)
    redactor = Redactor()

    async def greet(channel: Channel) -> D:
        dialogue = speak(channel, redactor)
        await dialogue.greet(context)
        return dialogue

    async def introduce(dialogue: D, again: ReconnectRequiredError | None) -> None:
        await dialogue.introduce(context, local_name, must_extend=auth is not None)
        if auth is not None:
            await authenticate(dialogue, auth, again)

    return await open_authenticated(lambda: establish(endpoint, timeout, greet, on_stage), introduce)
