"""The sandbox held against the transcripts of those whom it plays: what we say gets answers of the same codes."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.streams.tls import TLSStream

from mailslot import OAuth, Password, SignInError, connect_smtp
from mailslot import Transcript as Notes
from mailslot.message.attachment import Attachment
from mailslot.message.message import Message as OwnMessage
from mailslot.smtp.replies import ReplyParser
from mailslot_plugins import sandbox as sandboxes
from mailslot_plugins.conformance.doubles import ListedTokenSource
from transcripts import load, parse

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import ByteStream

    from mailslot import Reply
    from mailslot_plugins.sandbox import Sandbox
    from transcripts import Transcript

pytestmark = pytest.mark.virtual_time

TRANSCRIPTS = [transcript for transcript in load("smtp") if "sandbox" in transcript.header]


def with_real_tokens(transcript: Transcript, sandbox: Sandbox) -> Transcript:
    """Return the transcript with tokens of the sandbox's provider where the server takes one."""
    text = transcript.text
    for number, token in enumerate(transcript.tokens, 1):
        name = f":{number}" if number > 1 else ""
        lines = text.splitlines()
        sent = [at for at, line in enumerate(lines) if line in {f"C: {{xoauth2{name}}}", f"C: {{oauthbearer{name}}}"}]
        if sent and lines[sent[0] + 1].startswith("S: 235"):
            real = sandbox.provider.issue(transcript.auth["user"]).value.reveal()
            text = text.replace(token, real)
    endpoint = sandbox.smtps if transcript.security == "tls" else sandbox.smtp
    return parse(transcript.name, text, endpoint.port)


def codes(replies: list[Reply]) -> list[tuple[int | None, str | None]]:
    return [(reply.code, reply.enhanced) for reply in replies]


def replies_in(octets: bytes) -> list[Reply]:
    reader = ReplyParser()
    reader.feed(octets)
    return list(iter(reader.next, None))


def test_there_are_transcripts() -> None:
    assert {transcript.header["sandbox"] for transcript in TRANSCRIPTS} == {"DOVECOT", "EXCHANGE", "GMAIL"}


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript.name)
async def test_the_sandbox_gives_the_same_replies(transcript: Transcript) -> None:
    personality = getattr(sandboxes, transcript.header["sandbox"])
    async with sandboxes.run_sandbox(personality=personality) as sandbox:
        played = with_real_tokens(transcript, sandbox)
        context = sandbox.client_context()
        for steps in played.connections:
            stream: ByteStream = await anyio.connect_tcp("127.0.0.1", played.port)
            async with stream:
                for step in steps:
                    if step.kind == "send":
                        expected = replies_in(step.octets)
                        reader, heard = ReplyParser(), []
                        with anyio.fail_after(60):
                            while len(heard) < len(expected):
                                reader.feed(await stream.receive())
                                heard += iter(reader.next, None)
                        assert codes(heard) == codes(expected), heard
                        assert len(reader) == 0
                    elif step.kind == "expect":
                        await stream.send(step.octets.replace(b"{any}", b"[127.0.0.1]"))
                    elif step.kind in {"tls", "starttls"}:
                        stream = await TLSStream.wrap(
                            stream, hostname="localhost", ssl_context=context, standard_compatible=False
                        )
        assert not sandbox.errors
        assert not sandbox.violations


USER = "scanner@example.com"
MESSAGE = b"Subject: x\nBcc: secret@example.com\n\n.\n..\nend"


@pytest.mark.parametrize("security", ["smtp", "smtps"])
@pytest.mark.parametrize(
    ("personality", "mechanism"),
    [
        ("DOVECOT", "XOAUTH2"),
        ("DOVECOT", "OAUTHBEARER"),
        ("DOVECOT", "SCRAM-SHA-256"),
        ("DOVECOT", "PLAIN"),
        ("DOVECOT", "LOGIN"),
        ("EXCHANGE", "XOAUTH2"),
        ("GMAIL", "XOAUTH2"),
        ("GMAIL", "OAUTHBEARER"),
    ],
)
async def test_a_session_with_each_mechanism(personality: str, mechanism: str, security: str) -> None:
    character = getattr(sandboxes, personality)
    if mechanism in {"PLAIN", "LOGIN"}:
        offers = tuple(f"AUTH {mechanism}" if o.startswith("AUTH ") else o for o in character.smtp.capabilities_tls)
        character = replace(character, smtp=replace(character.smtp, capabilities_tls=offers))
    async with sandboxes.run_sandbox(personality=character) as sandbox:
        auth: OAuth | Password = Password(USER, "open sesame")
        if "OAUTH" in mechanism:
            auth = OAuth(USER, ListedTokenSource(sandbox.provider.issue(USER).value.reveal()), mechanism)
        notes = Notes()
        async with connect_smtp(
            getattr(sandbox, security), auth, ssl_context=sandbox.client_context(), timeout=5, transcript=notes
        ) as smtp:
            assert any(f"AUTH {mechanism}" in line for line in notes.lines)
            receipt = await smtp.submit(USER, ["alice@example.com"], MESSAGE)
            long = b"Subject: long\r\n\r\n" + b"0123456789\r\n" * 20_000
            assert (await smtp.submit(USER, ["alice@example.com"], long)).reply.code == 250
        assert receipt.accepted == ("alice@example.com",)
        assert not sandbox.violations
        assert [submission.content for submission in sandbox.submissions] == [
            b"Subject: x\r\n\r\n.\r\n..\r\nend\r\n",
            long,
        ]


async def test_our_own_message_and_the_standard_library_s(tmp_path: Path) -> None:
    """Streamed from a file, with dots at the beginnings of lines; and with a blind copy that must not leave."""
    scan = tmp_path / "scan.tif"
    scan.write_bytes(bytes(range(256)) * 2_000)
    own = OwnMessage(
        sender=USER,
        to=["alice@example.com"],
        subject="Grüße",
        text=".\n..\n",
        attachments=[Attachment.from_path(scan)],
    )
    old = EmailMessage()
    old["From"], old["To"], old["Bcc"] = USER, "alice@example.com", "secret@example.com"
    old.set_content("Grüße\n.\n")
    async with sandboxes.run_sandbox() as sandbox:
        auth = Password(USER, "open sesame")
        async with connect_smtp(sandbox.smtps, auth, ssl_context=sandbox.client_context(), timeout=5) as smtp:
            for message in (own, old, own):
                await smtp.submit(USER, ["alice@example.com"], message)
        assert not sandbox.violations
        first, second, third = (submission.content for submission in sandbox.submissions)
    assert first == third == b"".join([piece async for piece in own.chunks()])
    assert message_from_bytes(first).get_payload()[1].get_payload(decode=True) == scan.read_bytes()
    assert b"secret" not in second


async def test_a_wrong_password_by_scram() -> None:
    async with sandboxes.run_sandbox() as sandbox:
        with pytest.raises(SignInError) as caught:
            async with connect_smtp(
                sandbox.smtps, Password(USER, "wrong password"), ssl_context=sandbox.client_context(), timeout=5
            ):
                pass
        assert caught.value.cause == "password_refused"
        assert not sandbox.violations
