"""From a device's client through the gateway to the server upstream."""

from __future__ import annotations

import smtplib
import socket
from email import message_from_bytes, policy
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from anyio import from_thread
from anyio.to_thread import run_sync

from gateway.gateway_device import ACCOUNT, BOB, MESSAGE, GatewayDevice, run_gateway, send, serve_gateway
from mailslot.slots.gateway.entries import add_listener, remove_device, set_device_password
from mailslot.slots.gateway.gateway_settings import GatewaySettings
from mailslot.wire.secret import Secret
from mailslot_plugins.addressbook.book import save_entries
from mailslot_plugins.addressbook.entry import make_entry
from mailslot_plugins.addressbook.section import SECTION as ADDRESS_BOOK
from mailslot_plugins.gateway.undelivered import DUE_NOTE
from mailslot_plugins.rules.section import SECTION as RULES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mailslot.spool.job import Job

pytestmark = pytest.mark.anyio


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayDevice]:
    async with run_gateway(tmp_path / "home") as running:
        yield running


async def test_a_scan_arrives_as_the_account_may_send_it(gateway: GatewayDevice) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"])
    assert await gateway.client(send) == {}
    await gateway.until(lambda: gateway.sandbox.submissions)
    [submission] = gateway.sandbox.submissions
    assert submission.sender.address == ACCOUNT
    assert [path.address for path in submission.recipients] == [BOB]
    arrived = message_from_bytes(submission.content, policy=policy.default)
    assert (arrived["From"], arrived["Reply-To"]) == (f"hall <{ACCOUNT}>", "hall@copiers.example")
    assert (arrived["Subject"], arrived.get_content()) == ("a scan", "page one\r\n")
    assert arrived["Date"]
    assert arrived["Message-ID"]
    assert not submission.violations
    [job] = await gateway.jobs()
    assert (job.pipeline, job.notes["device"], job.via) == ("gateway", "hall", "account.office")


async def test_a_device_signs_in_with_the_password_that_was_made(gateway: GatewayDevice) -> None:
    password = await gateway.add_device("hall", user="hall")
    assert password is not None

    def sign_in(client: smtplib.SMTP, secret: str = "") -> int:
        try:
            return client.login("hall", secret or password.reveal())[0]
        except smtplib.SMTPAuthenticationError as error:
            return error.smtp_code

    def send_without(client: smtplib.SMTP) -> int:
        try:
            send(client)
        except smtplib.SMTPSenderRefused as error:
            return error.smtp_code
        return 250

    def sign_in_and_send(client: smtplib.SMTP) -> dict[str, tuple[int, bytes]]:
        assert sign_in(client) == 235
        return send(client)

    assert await gateway.client(send_without) == 530
    assert await gateway.client(lambda client: sign_in(client, "guessed")) == 535
    assert await gateway.client(sign_in_and_send) == {}
    # A new password holds at once, and the old one no longer.
    new = await run_sync(set_device_password, gateway.device.records, "hall")
    assert await gateway.client(sign_in) == 535
    assert await gateway.client(lambda client: sign_in(client, new.reveal() if new else "")) == 235


async def test_a_password_that_a_person_chose(gateway: GatewayDevice) -> None:
    await gateway.add_device("hall", user="Hall", password=Secret("geheim-123"))
    assert await gateway.client(lambda client: client.login("hall", "geheim-123")[0]) == 235


async def test_user_and_address_must_both_fit(gateway: GatewayDevice) -> None:
    password = await gateway.add_device("far", near=False, user="far", address=["10.9.9.9"])
    await gateway.add_device("hall", user="hall")
    assert password is not None

    def sign_in(client: smtplib.SMTP) -> int:
        try:
            return client.login("far", password.reveal())[0]
        except smtplib.SMTPAuthenticationError as error:
            return error.smtp_code

    assert await gateway.client(sign_in) == 535


async def test_nothing_is_accepted_from_a_stranger(gateway: GatewayDevice) -> None:
    await gateway.add_device("far", near=False, address=["10.9.9.9"])
    port = await gateway.port()

    def knock() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            greeting = client.recv(1000)
            client.sendall(b"EHLO NPIF65E56\r\n")
            return greeting

    assert (await run_sync(knock)).startswith(b"554 5.7.1 ")
    strangers = await gateway.until_some(gateway.log.unknown_devices)
    assert (strangers[0].address, strangers[0].helo) == ("127.0.0.1", "NPIF65E56")
    assert strangers[0].verdict == "This device has no entry here, so nothing is accepted from it."


@pytest.mark.parametrize(
    ("values", "sender", "to", "code"),
    [
        ({}, "hall@copiers.example", "bob@elsewhere.example", 550),
        ({}, "hall@copiers.example", "BOB@EXAMPLE.COM", 250),
        ({"to": ["*"]}, "hall@copiers.example", "bob@elsewhere.example", 250),
        ({"to": ["carol@example.com"]}, "hall@copiers.example", BOB, 550),
        ({"to": ["*@elsewhere.example"]}, "hall@copiers.example", "bob@elsewhere.example", 250),
        ({"to": ["*@elsewhere.example"]}, "hall@copiers.example", "bob@elsewhere.example.evil.example", 550),
        ({"from": ["hall@copiers.example"]}, "attic@copiers.example", BOB, 550),
        ({"from": ["*@copiers.example"]}, "attic@copiers.example", BOB, 250),
        ({"from": ["*@copiers.example"]}, "", BOB, 250),
        ({"size": 10}, "hall@copiers.example", BOB, 552),
    ],
)
async def test_what_a_device_may_send(
    gateway: GatewayDevice, values: dict[str, object], sender: str, to: str, code: int
) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"], **values)

    def attempt(client: smtplib.SMTP) -> int:
        try:
            client.ehlo()
            for command in (client.mail(sender, [f"SIZE={len(MESSAGE)}"]), client.rcpt(to)):
                if command[0] >= 400:
                    return command[0]
            return client.data(MESSAGE)[0]
        finally:
            client.rset()

    assert await gateway.client(attempt) == code
    jobs = await gateway.jobs()
    assert len(jobs) == (code == 250)
    if jobs:
        assert jobs[0].sender == (ACCOUNT if sender else "")


async def test_the_rules_for_sending_hold_for_devices(gateway: GatewayDevice) -> None:
    rules = {"deny": ["carol@example.com"], "archive": ["archive@example.com"], "delay": "2h"}
    await run_sync(partial(gateway.device.records.settings.change_section, RULES, rules))
    await gateway.add_device("hall", address=["127.0.0.1"])

    def attempt(client: smtplib.SMTP) -> tuple[int, bytes]:
        client.ehlo()
        client.mail("hall@copiers.example")
        refused = client.rcpt("carol@example.com")
        client.rcpt(BOB)
        assert client.data(b"Subject: without To\r\n\r\n")[0] == 250
        return refused

    assert await gateway.client(attempt) == (
        550,
        b"5.7.1 carol@example.com is refused by the rule deny=carol@example.com of this device.",
    )
    [job] = await gateway.jobs()
    assert (job.state, job.attempts) == ("deferred", 0)
    assert job.next_attempt is not None
    assert abs(float(job.notes[DUE_NOTE]) - job.next_attempt) <= 1
    assert [each.address for each in job.recipients] == [BOB, "archive@example.com"]
    octets = b"".join([piece async for piece in gateway.device.spool.content(job).chunks()])
    assert b"To: bob@example.com\r\n" in octets
    assert b"archive" not in octets


async def test_a_recipient_that_only_an_unreachable_directory_may_know(gateway: GatewayDevice) -> None:
    directory = {"ldap_server": "127.0.0.1", "ldap_port": 1, "ldap_base": "dc=example,dc=com"}
    for section, values in ((RULES, {"destinations": "book"}), (ADDRESS_BOOK, directory)):
        await run_sync(partial(gateway.device.records.settings.change_section, section, values))
    await save_entries(gateway.device, [make_entry("bob", "", [BOB])])
    await gateway.add_device("hall", address=["127.0.0.1"])

    def attempt(client: smtplib.SMTP) -> list[tuple[int, bytes]]:
        client.ehlo()
        client.mail("hall@copiers.example")
        return [client.rcpt("carol@example.com"), client.rcpt(BOB)]

    unknown, known = await gateway.client(attempt)
    assert (unknown[0], unknown[1][:5], known[0]) == (451, b"4.4.3", 250)


async def test_a_device_that_keeps_its_sender(gateway: GatewayDevice) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"], sender="keep")
    await gateway.client(send)
    [job] = await gateway.jobs()
    assert job.sender == "hall@copiers.example"


async def test_a_device_that_sends_too_fast(gateway: GatewayDevice) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"], limit=["2/hour"])

    def attempt(client: smtplib.SMTP) -> list[int]:
        codes = []
        for number in range(3):
            client.ehlo()
            code = client.mail("hall@copiers.example")[0]
            if code == 250:
                client.rcpt(BOB)
                code = client.data(MESSAGE + b"%d\r\n" % number)[0]
            codes.append(code)
        return codes

    assert await gateway.client(attempt) == [250, 250, 451]


async def test_the_upstream_being_down_is_no_reason_to_refuse(gateway: GatewayDevice) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"])
    change = {"port": 1}
    await run_sync(gateway.device.records.change, "account.office", change, {})
    assert await gateway.client(send) == {}

    async def deferred() -> list[Job]:
        return [job for job in await gateway.jobs() if job.state == "deferred"]

    assert await gateway.until_some(deferred)


async def test_the_same_message_again_is_sent_once(gateway: GatewayDevice) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"])

    def twice(client: smtplib.SMTP) -> list[tuple[int, bytes]]:
        replies = []
        for _ in range(2):
            client.ehlo()
            client.mail("hall@copiers.example")
            client.rcpt(BOB)
            replies.append(client.data(MESSAGE))
        return replies

    first, second = await gateway.client(twice)
    assert first == second
    assert first[1].startswith(b"2.0.0 queued as ")
    assert len(await gateway.jobs()) == 1


async def test_changes_take_effect_at_once(gateway: GatewayDevice) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"])
    await gateway.client(send)
    await run_sync(add_listener, gateway.device.records, "plain", {"listen": "127.0.0.1:0", "security": "none"})
    await run_sync(remove_device, gateway.device.records, "hall")
    await gateway.device.refresh()
    port = await gateway.port("plain")

    def greeting() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            return client.recv(1000)

    assert (await run_sync(greeting)).startswith(b"554 ")


async def test_devices_are_looked_for_anew_only_after_changes(
    gateway: GatewayDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"])
    candidates, looked = GatewaySettings.candidates, 0

    def counted(settings: GatewaySettings, *arguments: Any) -> Any:
        nonlocal looked
        looked += 1
        return candidates(settings, *arguments)

    monkeypatch.setattr(GatewaySettings, "candidates", counted)

    def session(client: smtplib.SMTP) -> tuple[list[int], int]:
        codes = []
        for _ in range(3):
            client.ehlo()
            codes.append(client.mail("hall@copiers.example")[0])
            client.rset()
        before = looked
        remove_device(gateway.device.records, "hall")
        from_thread.run(gateway.device.refresh)
        return [*codes, client.mail("hall@copiers.example")[0]], before

    assert await gateway.client(session) == ([250, 250, 250, 550], 1)


async def test_the_dialogue_is_noted_without_the_password(gateway: GatewayDevice) -> None:
    password = await gateway.add_device("hall", user="hall")
    assert password is not None

    def sign_in_and_send(client: smtplib.SMTP) -> None:
        client.login("hall", password.reveal())
        send(client)

    await gateway.client(sign_in_and_send)
    dialogues = await gateway.until_some(partial(gateway.log.dialogues, "hall"))
    assert (dialogues[0].ok, dialogues[0].cause, dialogues[0].verdict) == (True, "ok", "One message was accepted.")
    assert password.reveal() not in "\n".join(dialogues[0].lines)
    assert "page one" not in "\n".join(dialogues[0].lines)


async def test_what_a_removed_device_said_is_not_shown_to_a_later_one(gateway: GatewayDevice) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"])
    await gateway.client(send)
    assert await gateway.until_some(partial(gateway.log.dialogues, "hall"))
    port = await gateway.port()
    begun = await run_sync(partial(socket.create_connection, ("127.0.0.1", port), timeout=60))
    await run_sync(begun.recv, 1000)
    await run_sync(remove_device, gateway.device.records, "hall")
    await gateway.device.refresh()

    async def is_forgotten() -> bool:
        return not await gateway.log.dialogues("hall")

    assert await gateway.until_some(is_forgotten)
    await gateway.add_device("hall", address=["127.0.0.1"])

    def end() -> None:
        with begun:
            begun.sendall(b"HELO former\r\n")
            assert begun.recv(1000).startswith(b"250 ")
            begun.sendall(b"QUIT\r\n")
            while begun.recv(1000):
                pass

    await run_sync(end)
    await gateway.client(lambda client: client.helo("later"))

    async def is_noted() -> str:
        said = "\n".join(line for each in await gateway.log.dialogues("hall") for line in each.lines)
        return said if "later" in said else ""

    assert "former" not in await gateway.until_some(is_noted)


async def test_a_device_that_is_removed_while_no_service_runs_leaves_no_dialogues(tmp_path: Path) -> None:
    """As by somebody who edits the settings."""
    async with run_gateway(tmp_path / "home", security="none") as gateway:
        await gateway.add_device("hall", address=["127.0.0.1"])
        await gateway.client(send, tls=False)
        assert await gateway.until_some(partial(gateway.log.dialogues, "hall"))
        records = gateway.device.records
    await run_sync(remove_device, records, "hall")
    async with serve_gateway(records) as device:
        later = GatewayDevice(device, gateway.sandbox)

        async def is_forgotten() -> bool:
            return not await later.log.dialogues("hall")

        assert await later.until_some(is_forgotten)


async def test_messages_under_way_are_received_when_the_service_stops(tmp_path: Path) -> None:
    async with run_gateway(tmp_path / "home", security="none") as gateway:
        await gateway.add_device("hall", address=["127.0.0.1"])
        port = await gateway.port()
        idle = await run_sync(partial(socket.create_connection, ("127.0.0.1", port), timeout=60))
        await run_sync(idle.recv, 1000)
        busy = await run_sync(partial(smtplib.SMTP, "127.0.0.1", port, timeout=60))

        def begin() -> None:
            busy.ehlo()
            busy.mail("hall@copiers.example")
            busy.rcpt(BOB)
            busy.docmd("DATA")
            busy.send(MESSAGE)

        await run_sync(begin)
        gateway.device.stopping.set()
        assert (await run_sync(idle.recv, 1000)).startswith(b"421 4.3.2 ")
        busy.send(b".\r\n")
        code, text = await run_sync(busy.getreply)
        assert (code, text.startswith(b"2.0.0 queued as ")) == (250, True)
        assert (await run_sync(busy.getreply))[0] == 421
        assert len(await gateway.jobs()) == 1
        for client in (idle, busy):
            client.close()


async def test_the_size_announced_is_what_the_server_upstream_said_last(gateway: GatewayDevice) -> None:
    await gateway.add_device("hall", address=["127.0.0.1"])

    def announced(client: smtplib.SMTP) -> int:
        client.ehlo()
        return int(client.esmtp_features["size"])

    largest = await gateway.client(announced)
    await gateway.client(send)
    await gateway.until(lambda: gateway.sandbox.submissions)
    # The session upstream told it, with no change of the settings since.
    assert await gateway.client(announced) < largest
