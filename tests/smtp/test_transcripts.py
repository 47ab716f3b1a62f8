"""Every transcript of ``fixtures/smtp``: the core and the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot import Transcript as Notes
from mailslot.wire.protocol_error import RemoteProtocolError
from smtp.play import play_core, play_session, whole
from transcripts import load, playing

if TYPE_CHECKING:
    import ssl
    from typing import Any

    from transcripts import Transcript

pytestmark = pytest.mark.virtual_time

TRANSCRIPTS = load("smtp")

every = pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript.name)


def outcome(transcript: Transcript, feed: Any, *, grouped: bool = False) -> list[Any]:
    """What the core makes of all connections: the answers, and the fault where there is one."""
    heard: list[Any] = []
    for steps in transcript.connections:
        try:
            heard += play_core(transcript, steps, feed, grouped=grouped)
        except RemoteProtocolError as error:
            heard.append(error.cause)
    return heard


def bytewise(octets: bytes, _: int) -> list[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


@every
def test_core_yields_the_same_events_octet_by_octet(transcript: Transcript) -> None:
    assert outcome(transcript, bytewise) == outcome(transcript, whole)


@every
@pytest.mark.parametrize("feed", [whole, bytewise], ids=["whole", "bytewise"])
def test_a_group_that_succeeds_is_read_as_by_the_table(transcript: Transcript, feed: Any) -> None:
    assert outcome(transcript, feed, grouped=True) == outcome(transcript, feed)


@every
@pytest.mark.parametrize("spare", [b"250 2.0.0 spare\r\n", b"2"], ids=["a reply", "an octet"])
@pytest.mark.parametrize("grouped", [False, True], ids=["by the table", "grouped"])
def test_core_keeps_surplus_octets(transcript: Transcript, spare: bytes, grouped: bool) -> None:
    for steps in transcript.connections:
        for at, step in enumerate(steps):
            asks_on = any(later.kind in {"expect", "starttls"} for later in steps[at:])
            if step.kind != "send" or not step.octets.endswith(b"\r\n") or not asks_on:
                continue

            def feed(octets: bytes, number: int, at: int = at) -> list[bytes]:
                return [octets + (spare if number == at else b"")]

            with pytest.raises(RemoteProtocolError):
                play_core(transcript, steps, feed, grouped=grouped)


@every
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
async def test_session(
    transcript: Transcript,
    client_context: ssl.SSLContext,
    server_context: ssl.SSLContext,
    cut: bool,
) -> None:
    if cut and transcript.header.get("cut") == "no":
        pytest.skip("it would be another dialogue")
    notes = Notes()
    async with playing(transcript, server_context, cut=cut) as peer:
        tokens = await play_session(transcript, peer.endpoint, client_context, notes)
    for secret in transcript.tokens if tokens else [transcript.auth.get("password", "")]:
        assert not secret or secret not in str(notes)
