"""Attempts to send what no entry allows, or to keep the gateway from its work."""

from __future__ import annotations

import base64
import socket
from functools import partial
from typing import TYPE_CHECKING, Self

import pytest
from anyio.to_thread import run_sync

from gateway.gateway_device import BOB, GatewayDevice, run_gateway
from mailslot.slots.gateway.entries import add_device, remove_device, set_device_password
from shortage import no_descriptors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mailslot.wire.secret import Secret

pytestmark = pytest.mark.anyio

HALL = b"MAIL FROM:<hall@copiers.example>"


class Telnet:
    """A client that says whatever it is told to."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._replies = self._socket.makefile("rb")
        self.greeting = self._reply()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._replies.close()
        self._socket.close()

    def say(self, *lines: bytes) -> int:
        """Say lines one by one, and return the code of the last reply."""
        code = 0
        for line in lines:
            self._socket.sendall(line + b"\r\n")
            code = self._reply()
        return code

    def sign_in(self, user: str, password: Secret | None) -> int:
        assert password is not None
        response = f"\0{user}\0{password.reveal()}".encode()
        return self.say(b"EHLO x", b"AUTH PLAIN " + base64.b64encode(response))

    def send(self, content: bytes, *, sender: bytes = HALL, to: str = BOB) -> int:
        """Send a message; return the code of the first refusal, or of the last reply."""
        for line in (sender, b"RCPT TO:<%s>" % to.encode(), b"DATA", content + b"\r\n."):
            if (code := self.say(line)) >= 400:
                break
        return code

    def _reply(self) -> int:
        """Return the code of a reply; 0 if the connection has ended."""
        while line := self._replies.readline():
            if line[3:4] != b"-":
                return int(line[:3])
        return 0


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayDevice]:
    async with run_gateway(tmp_path / "home", security="none") as running:
        yield running


async def attack(gateway: GatewayDevice, steps: Callable[[Telnet], object]) -> object:
    port = await gateway.port()

    def run() -> object:
        with Telnet(port) as client:
            client.say(b"EHLO copier")
            return steps(client)

    return await run_sync(run)


DETOURS = [
    # Servers such as Postfix send these on to elsewhere.example, for a client that has signed in.
    b"<victim%elsewhere.example@example.com>",
    b"<elsewhere.example!victim@example.com>",
    b'<"victim@elsewhere.example"@example.com>',
    b'<"victim%elsewhere.example"@example.com>',
    b'<"victim\\@elsewhere.example"@example.com>',
    b"<@example.com:victim@elsewhere.example>",
    b"<@a.example,@example.com:victim@elsewhere.example>",
    b"<@example.com:@example.com:victim@elsewhere.example>",
    b"<victim@elsewhere.example@example.com>",
    b"<victim@elsewhere.example>,<bob@example.com>",
    b"<victim@elsewhere.example> <bob@example.com>",
    b"<victim@elsewhere.example>bob@example.com",
    b"<victim@elsewhere.example> ORCPT=rfc822;bob@example.com",
    b"<bob@example.com.elsewhere.example>",
    b"<bob@example.com.>",
    b"<bob@.example.com>",
    b"<bob@sub.example.com>",
    b"<bob@[127.0.0.1]>",
    b"<bob@>",
    b"<@example.com>",
    b"<bob>",
    b"<>",
    b"<postmaster>",
    b"bob(@elsewhere.example)@example.com",
    b"<bob(comment)@example.com>",
    b"<victim@elsewhere.example(@example.com)>",
    b"<victim@elsewhere.example\x00@example.com>",
    b"<bob@ex\xc3\xa4mple.com>",
    b"<bob@xn--exmple-cua.com>",
    b"<b\xc3\xb6b@example.com>",
    b"<bob@example.com\xe2\x80\x8b.elsewhere.example>",
]


@pytest.mark.parametrize("to", [None, ["*@example.com"]], ids=["domain of the account", "pattern"])
async def test_no_recipient_is_reached_by_a_detour(gateway: GatewayDevice, to: list[str] | None) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"], to=to)
    for recipient in DETOURS:
        assert await attack(gateway, partial(try_recipient, recipient)), recipient


def try_recipient(recipient: bytes, client: Telnet) -> bool:
    """Whether a recipient is refused, and a message without others as well."""
    client.say(HALL)
    return client.say(b"RCPT TO:" + recipient) >= 500 and client.say(b"DATA") >= 500


async def test_recipients_of_a_detour_that_are_named_may_be_used(gateway: GatewayDevice) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"], to=["fax%49123@example.com"])
    assert await attack(gateway, lambda client: client.send(b"x", to="fax%49123@example.com")) == 250


@pytest.mark.parametrize(("mode", "code"), [("account", 250), ("keep", 550)])
async def test_a_sender_without_a_domain(gateway: GatewayDevice, mode: str, code: int) -> None:
    """Some devices send their name; upstream, it can only stand where the account's address is used instead."""
    await gateway.add_device("hall", address=["127.0.0.1"], sender=mode)
    assert await attack(gateway, lambda client: client.send(b"x", sender=b"MAIL FROM:<HALL-COPIER>")) == code


SENDERS = [
    (b"From: hall@copiers.example", 250),
    (b"From: Hall <HALL@copiers.example>", 250),
    (b"Subject: no From", 250),
    (b"From: the boss <boss@example.com>", 550),
    (b"From: hall@copiers.example, boss@example.com", 550),
    (b"From: hall@copiers.example\r\nFrom: boss@example.com", 550),
    (b"From: hall@copiers.example\r\nSender: boss@example.com", 550),
    (b"From: boss@example.com (hall@copiers.example)", 550),
    (b'From: "hall@copiers.example" <boss@example.com>', 550),
    (b"From: =?utf-8?q?boss=40example=2Ecom?=", 550),
    (b"From: boss", 550),
    (b"From: " + b"(" * 5000 + b"boss@example.com", 550),
]


@pytest.mark.parametrize("sender", [HALL, b"MAIL FROM:<>"], ids=["envelope", "null"])
async def test_from_names_no_sender_that_the_entry_does_not_allow(gateway: GatewayDevice, sender: bytes) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"], sender="keep", **{"from": ["hall@copiers.example"]})
    for header, code in SENDERS:
        content = header + b"\r\nTo: bob@example.com\r\n\r\npage\r\n"
        assert await attack(gateway, partial(Telnet.send, content=content, sender=sender)) == code, header[:80]
    assert len(await gateway.jobs()) == sum(code == 250 for _, code in SENDERS)


async def test_a_size_that_another_device_may_send_is_not_everybodys(gateway: GatewayDevice) -> None:
    await gateway.add_device("large", user="large")
    await gateway.add_device("small", address=["127.0.0.1"], size=1000)
    assert await attack(gateway, lambda client: client.say(HALL + b" SIZE=1001")) == 552
    assert await attack(gateway, lambda client: client.send(b"x\r\n" * 400)) == 552
    assert await attack(gateway, lambda client: client.send(b"x\r\n" * 300)) == 250


async def test_a_new_password_ends_what_the_old_one_began(gateway: GatewayDevice) -> None:
    password = await gateway.add_device("hall", user="hall")
    records = gateway.device.records

    async def changed(change: Callable[[], object]) -> tuple[int, int]:
        port = await gateway.port()
        client = await run_sync(Telnet, port)
        with client:
            assert await run_sync(client.sign_in, "hall", current) == 235
            assert await run_sync(client.say, HALL, b"RSET") == 250
            await run_sync(change)
            await gateway.device.refresh()
            return await run_sync(client.say, HALL), await run_sync(client.say, b"NOOP")

    current = password
    assert await changed(lambda: set_device_password(records, "hall")) == (421, 0)

    def replace() -> None:
        remove_device(records, "hall")
        add_device(records, "hall", {"user": "hall", "via": "account.office"})

    current = await run_sync(set_device_password, records, "hall")
    assert await changed(replace) == (421, 0)


async def test_a_flood_that_takes_all_descriptors_locks_no_device_out(gateway: GatewayDevice) -> None:
    password = await gateway.add_device("hall", user="hall")

    def sign_in(client: Telnet) -> tuple[int, int]:
        with no_descriptors():
            short = client.sign_in("hall", password)
        return short, client.sign_in("hall", password)

    assert await attack(gateway, sign_in) == (454, 235)
    assert await attack(gateway, lambda client: client.sign_in("hall", password)) == 235


async def test_nothing_that_a_device_says_reaches_a_terminal_or_another_line(gateway: GatewayDevice) -> None:
    password = await gateway.add_device("hall", user="hall")
    evil = "\x1b[2J\u202e\u009b31m\u2028"

    def say(client: Telnet) -> int:
        client.say(b"EHLO " + evil.encode(), b"EHLO \x9b\xff\xfe x", b"EHLO a;b\x85Received: x")
        client.say(b"AUTH LOGIN", base64.b64encode(f"{evil}\r\nx".encode()), base64.b64encode(b"\r\n\0"))
        assert client.sign_in("hall", password) == 235
        client.say(b"HELO " + "a\u2028b".encode())
        word = b"=?utf-8?b?%s?=" % base64.b64encode(f"a{evil}\r\nBcc: x@y.example".encode())
        return client.send(b"Subject: %s\r\nFrom: %s <a@b.example>\r\n\r\nx" % (word, word))

    assert await attack(gateway, say) == 250
    [job] = await gateway.jobs()
    assert job.subject.isprintable()
    await gateway.until(lambda: gateway.sandbox.submissions)
    [submission] = gateway.sandbox.submissions
    assert submission.content.isascii()
    assert b"\r\nBcc" not in submission.content
    assert b"\x1b" not in submission.content
    dialogues = await gateway.until_some(partial(gateway.log.dialogues, "hall"))
    assert all(line.isprintable() for line in dialogues[0].lines)
