"""Transcripts played by the core and by a session."""

from __future__ import annotations

import base64
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from mailslot import (
    DeliveryStatus,
    MailError,
    OAuth,
    Password,
    RecipientsRefusedError,
    connect_smtp,
)
from mailslot.smtp.address import Address
from mailslot.smtp.protocol import ReplyReceived, SmtpProtocol
from mailslot.wire.dot_stuffing import WholeMessage
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot_plugins.conformance.doubles import ListedTokenSource

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence

    from mailslot import Receipt, SmtpSession
    from mailslot import Transcript as Notes
    from mailslot.net.endpoint import Endpoint
    from mailslot.sasl.credentials import Credentials
    from mailslot.testing import Step
    from transcripts import Call, Transcript


# The core.


def play_core(
    transcript: Transcript,
    steps: Sequence[Step],
    feed: Callable[[bytes, int], Iterable[bytes]],
    *,
    grouped: bool = False,
) -> list[tuple[str, int | None, str | None]]:
    """Put one connection's dialogue through the core.

    Args:
        transcript: to which it belongs.
        steps: the dialogue.
        feed: called with a server's octets and the number of the step; gives them as they are received.
        grouped: whether `next_success` is asked first.

    Returns:
        verb, code and enhanced code of each answer.

    Raises:
        RemoteProtocolError: as the core does.
    """
    core = SmtpProtocol()
    core.encrypted = transcript.security == "tls"
    heard: list[tuple[str, int | None, str | None]] = []

    def drain() -> None:
        if grouped:
            verbs = [verb.value for verb in core._pending_verbs]
            heard.extend(
                (verb, reply.code, reply.enhanced) for verb, reply in zip(verbs, core.next_success(), strict=False)
            )
        while (event := core.next_event()) is not None:
            verb = event.verb.value if isinstance(event, ReplyReceived) else "farewell"
            heard.append((verb, event.reply.code, event.reply.enhanced))

    remaining = iter(enumerate(steps))
    for number, step in remaining:
        if step.kind == "send":
            for octets in feed(step.octets, number):
                core.receive(octets)
                drain()
        elif step.kind == "expect":
            octets = _say(core, step, transcript)
            if step.octets.startswith(b"BDAT"):
                _, body = next(remaining)
                assert body.kind == "expect"
                command, _, content = octets.partition(b"\r\n")
                assert content == body.octets
                octets = command + b"\r\n"
            assert step.matches(octets), octets
        elif step.kind == "starttls":
            core.tls_started()
    return heard


def whole(octets: bytes, number: int) -> list[bytes]:
    """All at once."""
    return [octets]


def _say(core: SmtpProtocol, step: Step, transcript: Transcript) -> bytes:
    """Ask the core for a line that is written."""
    if step.text == "C: {message}":
        return core.message(WholeMessage(transcript.message))
    if step.octets == b".\r\n":
        return core.end_of_data()
    line = step.octets.decode().removesuffix("\r\n").replace("{any}", "client.example")
    verb, _, argument = line.partition(" ")
    if core.state.name == "AUTH":
        return core.cancel_auth() if line == "*" else core.respond_to_challenge(base64.b64decode(line, validate=True))
    match verb:
        case "EHLO":
            return core.ehlo(argument)
        case "HELO":
            return core.helo(argument)
        case "AUTH":
            mechanism, _, initial = argument.partition(" ")
            return core.auth(mechanism, base64.b64decode(initial) if initial else None)
        case "MAIL" | "RCPT":
            address, _, parameters = argument.partition(":<")[2].partition(">")
            command = core.mail if verb == "MAIL" else core.rcpt
            return command(Address(address, address), parameters)
        case "BDAT":
            return core.bdat(transcript.message, last=True)
        case _:
            plain: Callable[[], bytes] = getattr(core, verb.lower())
            return plain()


# The session.


async def play_session(
    transcript: Transcript, endpoint: Endpoint, context: ssl.SSLContext, notes: Notes | None = None
) -> ListedTokenSource | None:
    """Do what a transcript's calls say, and compare what comes of them; returns the token source."""
    auth, tokens = credentials(transcript)
    connect = _connect_arguments(transcript)
    calls = list(transcript.calls)
    async with AsyncExitStack() as stack:
        try:
            session = await stack.enter_async_context(
                connect_smtp(endpoint, auth, ssl_context=context, transcript=notes, **connect)
            )
        except MailError as error:
            check(calls.pop(0), error)
            assert not calls
            return tokens
        for call in calls:
            check(call, await _do(session, call, transcript))
    return tokens


def credentials(transcript: Transcript) -> tuple[Credentials | None, ListedTokenSource | None]:
    auth = transcript.auth
    if auth["kind"] == "oauth":
        tokens = ListedTokenSource(*transcript.tokens)
        return OAuth(auth["user"], tokens, auth.get("mechanism")), tokens
    if auth["kind"] == "password":
        return Password(auth["user"], auth["password"]), None
    return None, None


def _connect_arguments(transcript: Transcript) -> dict[str, Any]:
    given = dict(word.split("=") for word in transcript.header.get("connect", "").split())
    return {
        "timeout": float(given.get("timeout", 5)),
        "final_timeout": float(given.get("final_timeout", 5)),
        "chunking": given.get("chunking") == "yes",
    }


async def _do(session: SmtpSession, call: Call, transcript: Transcript) -> Receipt | MailError | None:
    try:
        if call.verb == "noop":
            await session.noop()
        elif call.verb == "submit":
            arguments = call.arguments
            delivery = None
            if "notify" in arguments:
                delivery = DeliveryStatus(
                    tuple(arguments["notify"].split(",")),  # type: ignore[arg-type]  # checked there
                    whole_message={"full": True, "headers": False}.get(arguments.get("return", "")),
                    envelope_id=arguments.get("envelope_id"),
                )
            return await session.submit(
                arguments["sender"], arguments["to"].split(","), transcript.message, delivery=delivery
            )
        else:
            assert call.verb == "connect", call
    except MailError as error:
        return error
    return None


def check(call: Call, result: Receipt | MailError | None) -> None:
    """Hold a result against what is written."""
    if (call.outcome == "error") is not isinstance(result, MailError):
        raise AssertionError(f"{result!r} instead of {call}") from (result if isinstance(result, MailError) else None)
    found = _facts(result)
    assert {key: found.get(key) for key in call.expected} == call.expected, repr(result)


def _facts(result: Receipt | MailError | None) -> dict[str, str]:
    if result is None:
        return {}
    reply = result.reply
    facts = {"code": str(reply and reply.code), "enhanced": str(reply and reply.enhanced)}
    if isinstance(result, MailError):
        facts |= {
            "error": type(result).__name__,
            "stage": result.stage,
            "cause": result.cause,
            "retryable": "yes" if result.retryable else "no",
            "in_doubt": "yes" if result.in_doubt else "no",
        }
        refused = result.refused if isinstance(result, RecipientsRefusedError) else {}
    else:
        facts["accepted"] = ",".join(result.accepted)
        refused = result.refused
    facts["refused"] = ",".join(f"{address}:{reply.code}" for address, reply in refused.items())
    return facts


__all__ = ["RemoteProtocolError", "check", "credentials", "play_core", "play_session", "whole"]
