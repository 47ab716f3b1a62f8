"""An IMAP server that sends scripted replies, also wrong ones."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener, TLSStream

from mailslot.net.endpoint import Endpoint, Security
from mailslot.slots.connector import Connector
from mailslot.slots.maildrop import maildrop_of
from mailslot.slots.records import Records
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import trustme
    from anyio.abc import AnyByteStream

    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot_imap.maildrop import Imap
    from mailslot_imap.session import ImapSession

RECORD, PASSWORD = "fax-pop", "correct-horse-battery"
CLOSE = b"%close"
"""Where an answer ends with it, the connection is closed."""
NOISE = b"%noise"
"""Where an answer ends with it, the server tells now and then, without end, that it is still there."""

Answer = bytes | list[bytes]

DEFAULT_REPLIES: dict[str, Answer] = {
    "greeting": b"* OK ready\r\n",
    "CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=PLAIN UIDPLUS MOVE IDLE\r\n%t OK done\r\n",
    "STARTTLS": b"%t OK go on\r\n",
    "AUTHENTICATE": [b"+ \r\n", b"%t OK done\r\n"],
    "LOGIN": [b"+ \r\n", b"+ \r\n", b"%t OK done\r\n"],
    "SELECT": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] lasts\r\n%t OK [READ-WRITE] done\r\n",
    "EXAMINE": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] lasts\r\n%t OK [READ-ONLY] done\r\n",
    "listing": b"* 1 FETCH (UID 5 RFC822.SIZE 5)\r\n%t OK done\r\n",
    "FETCH": b"* 1 FETCH (UID 5 BODY[] {5}\r\nabc\r\n)\r\n%t OK done\r\n",
    "STORE": b"%t OK done\r\n",
    "EXPUNGE": b"* 1 EXPUNGE\r\n%t OK done\r\n",
    "MOVE": b"%t OK done\r\n",
    "IDLE": [b"+ idling\r\n", b"%t OK done\r\n"],
    "LOGOUT": b"* BYE bye\r\n%t OK done\r\n",
}
"""What a server says to each command; a list's second answer and those behind it are to the lines that follow."""


@dataclass
class ScriptedImapServer:
    """A server, and a device's connection profile for it.

    Attributes:
        profile: the connection profile.
        maildrop: IMAP.
        options: its options.
        heard: the received lines.
    """

    answers: Mapping[str, Answer]
    context: ssl.SSLContext
    heard: list[bytes] = field(default_factory=list)
    profile: ConnectionProfile = field(init=False)
    maildrop: Imap = field(init=False)
    options: dict[str, object] = field(init=False)

    def open(self, **watched: object) -> AbstractAsyncContextManager[ImapSession]:
        return self.maildrop.open(self.profile, self.options, **watched)

    @property
    def verbs(self) -> list[str]:
        return [verb(line) for line in self.heard if line.count(b" ") or line == b"DONE"]

    async def serve(self, stream: AnyByteStream) -> None:
        buffer, tag, following = b"", b"", []
        try:
            await self._say(stream, self.answers["greeting"], tag)
            while True:
                while b"\r\n" not in buffer:
                    buffer += await stream.receive()
                line, buffer = buffer.split(b"\r\n", 1)
                self.heard.append(line)
                if following:
                    await self._say(stream, following.pop(0), tag)
                    continue
                tag = line.split(b" ")[0]
                answer = self.answers[verb(line)]
                if isinstance(answer, list):
                    answer, *following = answer
                await self._say(stream, answer, tag)
                if verb(line) == "STARTTLS" and (said := self.answers.get("ClientHello")):
                    await stream.receive()
                    await self._say(stream, said, tag)
                if verb(line) == "STARTTLS" and b" OK " in answer:
                    stream = await TLSStream.wrap(
                        stream, server_side=True, ssl_context=self.context, standard_compatible=False
                    )
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        finally:
            await anyio.aclose_forcefully(stream)

    async def _say(self, stream: AnyByteStream, answer: Answer, tag: bytes) -> None:
        assert isinstance(answer, bytes)
        said = answer.removesuffix(CLOSE).removesuffix(NOISE).replace(b"%t", tag)
        if said:
            await stream.send(said)
        while answer.endswith(NOISE):
            await stream.send(b"* OK Still here\r\n")
            await anyio.sleep(0.05)
        if answer.endswith(CLOSE):
            raise anyio.EndOfStream


def verb(line: bytes) -> str:
    """Return the command on a line; ``listing`` for the FETCH that lists the folder."""
    words: Sequence[str] = line.decode("latin-1").upper().split(" ")
    if "RFC822.SIZE" in line.decode("latin-1"):
        return "listing"
    return words[0] if len(words) == 1 else words[2] if words[1] == "UID" else words[1]


@asynccontextmanager
async def run_scripted_imap(
    home: Path,
    ca: trustme.CA,
    context: ssl.SSLContext,
    answers: Mapping[str, Answer] = DEFAULT_REPLIES,
    **settings: object,
) -> AsyncIterator[ScriptedImapServer]:
    """Run a server while the block runs.

    Args:
        home: a folder for the device.
        ca: the authority that the device trusts.
        context: the server's certificate.
        answers: what it says otherwise than usual.
        settings: of the device, besides the usual ones.
    """
    ca.cert_pem.write_to_path(str(home / "ca.pem"))
    records = Records(home)
    server = ScriptedImapServer({**DEFAULT_REPLIES, **answers}, context)
    failure: BaseException | None = None
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(SocketAttribute.local_port)
        values = {
            "server": "127.0.0.1",
            "port": port,
            "security": "tls",
            "maildrop": "imap",
            "authentication": "password",
            "account": "alice",
            "ca_file": str(home / "ca.pem"),
            "timeout": 2,
        }
        records.change(RECORD, {**values, **settings}, {"password": Secret(PASSWORD)})
        secured = TLSListener(listener, context, standard_compatible=False)
        async with anyio.create_task_group() as group, Connector(records) as connector:
            server.profile = await connector.profile(RECORD)
            server.maildrop, server.options = await maildrop_of(server.profile.settings)
            tls_first = server.profile.endpoint == Endpoint("127.0.0.1", port, Security.TLS)
            group.start_soon((secured if tls_first else listener).serve, server.serve)
            try:
                yield server
            except BaseException as error:  # noqa: BLE001 - raised below, so that the task group does not wrap it
                failure = error
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure
