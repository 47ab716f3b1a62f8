"""Transcripts played by the core and by a session."""

from __future__ import annotations

import base64
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from mailslot import Entry, MailError, OAuth, Password, RefusedError, connect_pop3
from mailslot.pop3.protocol import (
    ChallengeReceived,
    LineReceived,
    OctetsReceived,
    Pop3Protocol,
    ResponseComplete,
    StatusReceived,
)
from mailslot_plugins.conformance.doubles import ListedTokenSource

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from mailslot import Endpoint, Pop3Session
    from mailslot import Transcript as Notes
    from mailslot.sasl.credentials import Credentials
    from mailslot.testing import Step
    from transcripts import Call, Transcript


# The core.


def play_core(
    transcript: Transcript,
    steps: Sequence[Step],
    feed: Callable[[Pop3Protocol, bytes, int], None],
    *,
    at_once: bool = False,
) -> list[tuple[Any, ...]]:
    """Put one connection's dialogue through the core.

    Args:
        transcript: to which it belongs.
        steps: the dialogue.
        feed: called with the core, a server's octets and the number of the step; feeds them.
        at_once: whether `next_message` and `next_lines` are asked first.

    Returns:
        what each event says, with the octets of a message in one piece.

    Raises:
        RemoteProtocolError: as the core does.
    """
    core = Pop3Protocol()
    core.encrypted = transcript.security == "tls"
    received: list[tuple[Any, ...]] = []

    def drain() -> None:
        while at_once and (message := core.next_message()) is not None:
            received.append(("message", message))
        while (event := core.next_event()) is not None:
            match event:
                case StatusReceived(verb, reply):
                    received.append((verb, reply))
                case ChallengeReceived(text):
                    received.append(("challenge", text))
                case LineReceived(verb, text):
                    received.append((verb, text))
                    if at_once:
                        received.extend((verb, line) for line in core.next_lines())
                case OctetsReceived(data):
                    if received and received[-1][0] == "octets":
                        data = received.pop()[1] + data
                    received.append(("octets", data))
                case ResponseComplete(verb):
                    received.append(("end", verb))

    for number, step in enumerate(steps):
        if step.kind == "send":
            feed(core, step.octets, number)
            drain()
        elif step.kind == "expect":
            octets = _say(core, step)
            assert step.matches(octets), octets
        elif step.kind == "starttls":
            core.tls_started()
    return received


def _say(core: Pop3Protocol, step: Step) -> bytes:
    """Ask the core for a line that is written."""
    line = step.octets.decode().removesuffix("\r\n").replace("{any}", "biwsbj11LHI9bg==")
    if core.state.name == "AUTH":
        return core.cancel_auth() if line == "*" else core.respond_to_challenge(base64.b64decode(line, validate=True))
    verb, _, argument = line.partition(" ")
    match verb:
        case "AUTH":
            mechanism, _, initial = argument.partition(" ")
            return core.auth(mechanism, base64.b64decode(initial) if initial else None)
        case "USER":
            return core.user(argument)
        case "PASS":
            return core.password(argument)
        case _:
            command: Callable[..., bytes] = getattr(core, verb.lower())
            return command(*map(int, argument.split()))


# The session.


async def play_session(
    transcript: Transcript,
    endpoint: Endpoint,
    context: ssl.SSLContext,
    notes: Notes | None = None,
    auth: Credentials | None = None,
) -> None:
    """Do what a transcript's calls say, and compare what comes of them."""
    arguments = dict(word.split("=") for word in transcript.header.get("connect", "").split())
    calls = list(transcript.calls)
    leaving = calls.pop() if calls[-1].verb == "leave" else None
    async with AsyncExitStack() as stack:
        connection = connect_pop3(
            endpoint,
            auth or credentials(transcript),
            ssl_context=context,
            timeout=float(arguments.get("timeout", 5)),
            transcript=notes,
        )
        try:
            session = await stack.enter_async_context(connection)
        except MailError as error:
            check(calls.pop(0), error)
            assert not calls
            return
        for call in calls:
            check(call, await _do(session, call, transcript))
        try:
            await stack.aclose()
        except MailError as error:
            if leaving is None:
                raise
            check(leaving, error)
        else:
            assert leaving is None or leaving.outcome == "ok"


def credentials(transcript: Transcript) -> Credentials | None:
    auth = transcript.auth
    if auth["kind"] == "oauth":
        return OAuth(auth["user"], ListedTokenSource(*transcript.tokens), auth.get("mechanism"))
    if auth["kind"] == "password":
        return Password(auth["user"], auth["password"])
    return None


async def _do(session: Pop3Session, call: Call, transcript: Transcript) -> dict[str, str] | MailError:
    """Return what a call gave, as an ``Expect`` writes it."""
    try:
        return await _ask(session, call, transcript)
    except MailError as error:
        return error


async def _ask(session: Pop3Session, call: Call, transcript: Transcript) -> dict[str, str]:
    arguments = call.arguments
    entries = [
        Entry(int(number), "", 0)
        for number in arguments.get("numbers", arguments.get("number", "")).split(",")
        if number
    ]
    match call.verb:
        case "connect":
            return {}
        case "stat":
            messages, octets = await session.stat()
            return {"messages": str(messages), "octets": str(octets)}
        case "listing":
            found = await session.listing()
            columns = {"numbers": "number", "uids": "uid", "sizes": "size"}
            return {key: ",".join(str(getattr(entry, name)) for entry in found) for key, name in columns.items()}
        case "capabilities":
            delay = session.capabilities.login_delay
            return {"tags": ",".join(sorted(session.capabilities)), "login_delay": str(delay)}
        case "retrieve" | "top":
            retrieval = session.retrieve(entries[0])
            if call.verb == "top":
                retrieval = session.top(entries[0], int(arguments["lines"]))
            assert retrieval.entry == entries[0]
            content = b"".join([chunk async for chunk in retrieval])
            assert content == transcript.message or "octets" in call.expected
            return {"octets": str(len(content))}
        case "retrieve_many":
            refused = []
            async for retrieval in session.retrieve_many(entries):
                try:
                    assert b"".join([chunk async for chunk in retrieval]) == transcript.message
                except RefusedError:
                    refused.append(str(retrieval.entry.number))
            return {"refused": ",".join(refused)}
        case "delete":
            await session.delete(*entries)
            return {}
        case "noop":
            await session.noop()
            return {}
    raise AssertionError(call)


def check(call: Call, result: dict[str, str] | MailError) -> None:
    """Hold a result against what is written."""
    if isinstance(result, MailError):
        assert call.outcome == "error", repr(result)
        reply = result.reply
        facts = {
            "error": type(result).__name__,
            "stage": result.stage,
            "cause": result.cause,
            "enhanced": str(reply and reply.enhanced),
            "retryable": "yes" if result.retryable else "no",
            "in_doubt": "yes" if result.in_doubt else "no",
        }
    else:
        assert call.outcome == "ok", f"{result} instead of {call}"
        facts = result
    assert {key: facts.get(key) for key in call.expected} == call.expected, repr(result)
