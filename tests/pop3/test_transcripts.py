"""Every transcript of ``fixtures/pop3``: the core, the session, and the sandbox that plays the same service."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

import mailslot_plugins.sandbox as sandboxes
from mailslot import OAuth, Password
from mailslot import Transcript as Notes
from mailslot.pop3.protocol import OctetsReceived
from mailslot.pop3.states import MESSAGES
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot_plugins.conformance.doubles import ListedTokenSource
from mailslot_plugins.sandbox import run_sandbox
from pop3.play import play_core, play_session
from transcripts import load, playing

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from mailslot.pop3.protocol import Pop3Protocol
    from mailslot.sasl.credentials import Credentials
    from transcripts import Transcript

pytestmark = pytest.mark.virtual_time

TRANSCRIPTS = load("pop3")

every = pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript.name)


def whole(core: Pop3Protocol, octets: bytes, _: int) -> None:
    core.receive(octets)


def outcome(
    transcript: Transcript, feed: Callable[[Pop3Protocol, bytes, int], None], *, at_once: bool = False
) -> list[Any]:
    """What the core makes of all connections: the events, and the fault where there is one."""
    received: list[Any] = []
    for steps in transcript.connections:
        try:
            received += play_core(transcript, steps, feed, at_once=at_once)
        except RemoteProtocolError as error:
            received.append(error.cause)
    return received


def bytewise(core: Pop3Protocol, octets: bytes, _: int) -> None:
    for at in range(len(octets)):
        core.receive(octets[at : at + 1])


def with_whole_messages(received: list[Any]) -> list[Any]:
    """Put the events of each message into one."""
    events: list[Any] = []
    for event in received:
        if event[0] == "end" and event[1] in MESSAGES:
            octets = events.pop()[1] if events[-1][0] == "octets" else b""
            events[-1] = ("message", octets)
        else:
            events.append(event)
    return events


@every
@pytest.mark.parametrize("feed", [whole, bytewise], ids=["whole", "bytewise"])
def test_whole_messages_and_lines_at_once_are_the_same(transcript: Transcript, feed: Any) -> None:
    in_parts, at_once = outcome(transcript, feed), outcome(transcript, feed, at_once=True)
    assert with_whole_messages(at_once) == with_whole_messages(in_parts)


@every
def test_core_yields_the_same_events_octet_by_octet(transcript: Transcript) -> None:
    assert outcome(transcript, bytewise) == outcome(transcript, whole)


@every
def test_core_yields_the_same_events_one_at_a_time(transcript: Transcript) -> None:
    """As a session does: it takes every event before more octets come."""

    def faults(feed: Callable[[Pop3Protocol, bytes, int], None]) -> list[str]:
        # Who it was that spoke may show later than that it is no answer.
        found = [fault for fault in outcome(transcript, feed) if isinstance(fault, str)]
        return [fault.replace("not_a_mail_server", "protocol_error") for fault in found]

    content = b"".join(event[1] for event in outcome(transcript, whole) if event[0] == "octets")
    for cut in (1, 2, 3, 5, 16):
        received: list[bytes] = []

        def piecewise(
            core: Pop3Protocol, octets: bytes, _: int, cut: int = cut, received: list[bytes] = received
        ) -> None:
            for at in range(0, len(octets), cut):
                core.receive(octets[at : at + cut])
                while (event := core.next_event()) is not None:
                    received.append(event.data if isinstance(event, OctetsReceived) else b"")

        assert faults(piecewise) == faults(whole)
        assert b"".join(received) == content


@every
@pytest.mark.parametrize("spare", [b"+OK spare\r\n", b"+"], ids=["an answer", "an octet"])
@pytest.mark.parametrize("at_once", [False, True], ids=["in parts", "whole messages"])
def test_core_keeps_surplus_octets(transcript: Transcript, spare: bytes, at_once: bool) -> None:
    for steps in transcript.connections:
        for at, step in enumerate(steps):
            asks_on = any(later.kind in {"expect", "starttls"} for later in steps[at:])
            if step.kind != "send" or not step.octets.endswith(b"\r\n") or not asks_on:
                continue

            def feed(core: Pop3Protocol, octets: bytes, number: int, at: int = at) -> None:
                core.receive(octets + (spare if number == at else b""))

            with pytest.raises(RemoteProtocolError):
                play_core(transcript, steps, feed, at_once=at_once)


def traces(secret: str) -> list[str]:
    """A secret in clear, in capitals, and in base64 at each alignment."""
    coded = [base64.b64encode(bytes(lead) + secret.encode()).decode()[4:-4] for lead in range(3)]
    return [secret, secret.upper(), *coded]


@pytest.mark.parametrize(
    ("transcript", "cut"),
    [
        pytest.param(transcript, cut, id=f"{transcript.name}, cut" if cut else transcript.name)
        for transcript in TRANSCRIPTS
        for cut in (False, True)
        if not cut or transcript.header.get("cut") != "no"
    ],
)
async def test_session(
    transcript: Transcript, cut: bool, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    notes = Notes()
    async with playing(transcript, server_context, cut=cut) as peer:
        await play_session(transcript, peer.endpoint, client_context, notes)
    for secret in [*transcript.tokens, transcript.auth.get("password", "")]:
        # A short one is a word of the dialogue as well.
        assert len(secret) < 8 or not [trace for trace in traces(secret) if trace in str(notes)]


# The sandbox.


def personality(transcript: Transcript) -> sandboxes.Personality:
    return getattr(sandboxes, transcript.header["sandbox"])


@pytest.mark.parametrize(
    "transcript", [t for t in TRANSCRIPTS if "sandbox" in t.header], ids=lambda transcript: transcript.name
)
async def test_sandbox_gives_the_same_replies(transcript: Transcript) -> None:
    """The same calls meet the same outcome in the sandbox that plays the service."""
    async with run_sandbox(personality=personality(transcript)) as sandbox:
        endpoint = sandbox.pop3 if transcript.security == "starttls" else sandbox.pop3s
        user, auth = transcript.auth["user"], transcript.auth
        credentials: Credentials
        if auth["kind"] == "password":
            credentials = Password(user, auth["password"])
        else:
            tokens = transcript.tokens
            if all(call.outcome == "ok" for call in transcript.calls):
                # The last token that the transcript's client sends is the one that is taken.
                good = 1 if "{xoauth2:2}" in transcript.text or "{oauthbearer:2}" in transcript.text else 0
                tokens[good] = sandbox.provider.issue(user).value.reveal()
            credentials = OAuth(user, ListedTokenSource(*tokens), auth.get("mechanism"))
        await play_session(transcript, endpoint, sandbox.client_context(), auth=credentials)
        assert sandbox.violations == []
        assert sandbox.errors == []
