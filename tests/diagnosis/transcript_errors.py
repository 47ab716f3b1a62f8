"""The errors of transcripts that are played by a real session, with the context for their diagnosis."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from mailslot import MailError, Security, connect_pop3, connect_smtp
from mailslot.diagnosis.context import DiagnosisContext
from mailslot.oauth.presets import preset
from mailslot.wire.secret import Secret
from pop3 import play as pop3
from smtp import play as smtp
from transcripts import playing

if TYPE_CHECKING:
    import ssl

    from mailslot.oauth.providers import Provider
    from transcripts import Transcript

_AUTHENTICATIONS = {"oauth": "oauth2", "password": "password", "none": "none"}


async def errors_of_transcript(
    transcript: Transcript, client: ssl.SSLContext, server: ssl.SSLContext
) -> list[MailError]:
    """Return the errors of a session that plays a transcript, in order."""
    async with playing(transcript, server) as peer:
        if transcript.header["protocol"] == "smtp":
            auth, _ = smtp.credentials(transcript)
            arguments: dict[str, Any] = smtp._connect_arguments(transcript)
            connection: Any = connect_smtp(peer.endpoint, auth, ssl_context=client, **arguments)
            do: Any = smtp._do
        else:
            given = dict(word.split("=") for word in transcript.header.get("connect", "").split())
            timeout = float(given.get("timeout", 5))
            connection = connect_pop3(peer.endpoint, pop3.credentials(transcript), ssl_context=client, timeout=timeout)
            do = pop3._do
        found: list[MailError] = []
        try:
            async with AsyncExitStack() as stack:
                session = await stack.enter_async_context(connection)
                for call in transcript.calls:
                    if call.verb != "leave":
                        result = await do(session, call, transcript)
                        found += [result] if isinstance(result, MailError) else []
        except MailError as error:
            found.append(error)
        return found


def context_of_transcript(transcript: Transcript) -> DiagnosisContext:
    """Return the context that a transcript's header gives."""
    auth = transcript.auth
    senders = [call.arguments["sender"] for call in transcript.calls if "sender" in call.arguments]
    return DiagnosisContext(
        "SMTP" if transcript.header["protocol"] == "smtp" else "POP",
        "127.0.0.1",
        587,
        Security(transcript.security),
        _AUTHENTICATIONS[auth["kind"]],
        account=auth.get("user"),
        sender=senders[0] if senders else None,
        provider=_provider(transcript.name),
        token=Secret(transcript.tokens[0]) if auth["kind"] == "oauth" else None,
        fresh=True,
    )


def _provider(name: str) -> Provider | None:
    service = name.partition("-")[0]
    known = {"exchange": "microsoft365", "google": "google", "gmail": "google", "yahoo": "yahoo"}
    return preset(known[service]) if service in known else None
