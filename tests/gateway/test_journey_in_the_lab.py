"""The whole way: device → gateway → Postfix → Dovecot → gateway → device, with tokens from oidc-provider.

Neither device knows OAuth: one sends with a password, the other fetches with one.
"""

from __future__ import annotations

import poplib
import smtplib
import subprocess
from email import message_from_bytes, policy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.to_thread import run_sync

from gateway.gateway_device import GatewayDevice, serve_gateway, untrusting
from mailslot.message import Attachment, Message
from mailslot.plugin import Records, Secret, TokenHttp, poll_once
from mailslot.slots.accounts import add_account
from mailslot.slots.flows import choose_flow
from mailslot.slots.gateway.entries import add_device, add_listener
from mailslot_plugins.gateway import owner_notices
from mailslot_plugins.gateway.pipeline import pipeline
from mailslot_plugins.intake.report import TRACE_FIELD
from mailslot_plugins.sandbox.demo_person import ConsentingPerson
from pop3.server.clients import needs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import trustme

    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider
    from mailslot.plugin import Endpoint

pytestmark = pytest.mark.anyio

ALICE, BOB, CAROL = "alice@example.test", "bob@example.test", "carol@example.test"
HALL = "hall@copiers.example"
PAGE = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"


class Journey:
    """A gateway with an account that sends as Alice, and accounts that fetch Alice's and Bob's mail.

    Attributes:
        gateway: the gateway.
        passwords: those of the devices.
    """

    def __init__(self, gateway: GatewayDevice, passwords: dict[str, str]) -> None:
        self.gateway = gateway
        self.passwords = passwords

    async def poll(self, record: str) -> list[str]:
        """Poll an account; return what became of each mail."""
        report = await poll_once(self.gateway.device, record, pipeline)
        assert report.ok, report
        return [result.outcome for result in report.handled]


@pytest.fixture
async def journey(
    tmp_path: Path, provider: Provider, postfix: Postfix, dovecot: Dovecot, ca: trustme.CA
) -> AsyncIterator[Journey]:
    for user in (ALICE, BOB, CAROL):
        dovecot.empty(user)
    (tmp_path / "ca.pem").write_bytes(ca.cert_pem.bytes())
    records = Records(tmp_path / "home")
    for name, protocol, user, server in (
        ("office", "SMTP", ALICE, postfix.submission),
        ("returned", "POP", ALICE, dovecot.pop3s),
        ("box", "POP", BOB, dovecot.pop3s),
    ):
        await run_sync(add_account, records, name, protocol)
        await set_up(records, f"account.{name}", provider, user, server, tmp_path / "ca.pem")
    await run_sync(add_listener, records, "scan", {"listen": "127.0.0.1:0"})
    await run_sync(add_listener, records, "fetch", {"listen": "127.0.0.1:0", "protocol": "pop3"})
    devices: dict[str, dict[str, Any]] = {
        "hall": {"via": "account.office", "to": ["*"], "notify": CAROL},
        "desk": {"via": "account.box"},
    }
    passwords: dict[str, str] = {}
    for name, values in devices.items():
        made = await run_sync(add_device, records, name, {"user": name, **values})
        assert made is not None
        passwords[name] = made.reveal()
    async with serve_gateway(records) as device:
        yield Journey(GatewayDevice(device, None), passwords)  # type: ignore[arg-type]  # the server is no sandbox


async def set_up(
    records: Records, record: str, provider: Provider, user: str, server: Endpoint, authority: Path
) -> None:
    name = user.partition("@")[0]
    settings: dict[str, object] = {
        "server": "localhost",
        "port": server.port,
        "security": server.security.value,
        "ca_file": str(authority),
        "authentication": "oauth2",
        "provider": "custom",
        "issuer": provider.issuer,
        "client_id": name,
        "flow": "app",
        "scopes": "mail.pop mail.send",
        "account": user,
        "timeout": 60,
    }
    if record == "account.office":
        settings["sender_address"] = user
    else:
        # The gateway does not poll: a test does so by hand, and cannot while the gateway does.
        settings |= {"first_poll": "all", "check_interval": 0}
    await run_sync(records.change, record, settings, {"client_secret": Secret(f"{name}-secret")})
    current = (await run_sync(records.settings.load))[record]
    async with TokenHttp() as http:
        await records.tokens.source(record, current, choose_flow(current, "app"), http).obtain(ConsentingPerson(user))


async def scan(number: int, *to: str) -> bytes:
    """A scan as a copier sends it."""
    message = Message(
        sender=HALL,
        to=list(to),
        subject=f"Scan {number} – Ä page",
        text=".One page.\n",
        attachments=[Attachment.from_path(PAGE)],
        headers=[("X-Copier", "hall")],
    )
    return b"".join([bytes(piece) async for piece in message.chunks()])


def send_by_smtplib(port: int, password: str, message: bytes, to: str = BOB) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=300) as client:
        client.starttls(context=untrusting())
        client.login("hall", password)
        client.sendmail(HALL, [to], message)


def curl(*arguments: str, sent: bytes = b"") -> bytes:
    command = ["curl", "--silent", "--show-error", "--ssl-reqd", "--insecure", *arguments]
    ended = subprocess.run(command, input=sent, check=False, capture_output=True, timeout=300)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout


def send_by_curl(port: int, password: str, message: bytes) -> None:
    envelope = ["--mail-from", HALL, "--mail-rcpt", BOB, "--user", f"hall:{password}"]
    curl(*envelope, "--upload-file", "-", f"smtp://127.0.0.1:{port}/copier", sent=message)


def fetch_by_poplib(port: int, password: str) -> list[bytes]:
    client = poplib.POP3("127.0.0.1", port, timeout=300)
    client.stls(context=untrusting())
    client.user("desk")
    client.pass_(password)
    count, _ = client.stat()
    found = [b"\r\n".join([*client.retr(number)[1], b""]) for number in range(1, count + 1)]
    for number in range(1, count + 1):
        client.dele(number)
    client.quit()
    return found


async def arrive(dovecot: Dovecot, user: str, number: int = 1) -> None:
    with anyio.fail_after(120):
        while len(dovecot.messages(user)) < number:  # noqa: ASYNC110 - it is another process
            await anyio.sleep(0.05)


async def test_from_a_device_to_a_device(journey: Journey, dovecot: Dovecot) -> None:
    needs("curl")
    sent = [await scan(number, BOB) for number in (1, 2)]
    port, password = await journey.gateway.port("scan"), journey.passwords["hall"]
    await run_sync(send_by_smtplib, port, password, sent[0])
    await run_sync(send_by_curl, port, password, sent[1])
    await arrive(dovecot, BOB, 2)
    assert await journey.poll("account.box") == ["later", "later"]
    # They are in the spool here, and only here.
    assert dovecot.messages(BOB) == []
    port, password = await journey.gateway.port("fetch"), journey.passwords["desk"]
    first = await run_sync(partial(curl, "--user", f"desk:{password}", f"pop3://127.0.0.1:{port}/1"))
    fetched = await run_sync(fetch_by_poplib, port, password)
    assert fetched[0] == first
    assert await run_sync(fetch_by_poplib, port, password) == []
    by_subject = {message_from_bytes(each, policy=policy.default)["Subject"]: each for each in fetched}
    for number, original in enumerate(sent, start=1):
        compare(original, by_subject[f"Scan {number} – Ä page"])


def compare(sent: bytes, fetched: bytes) -> None:
    """Compare what a device has sent with what another has fetched: only what the gateway says has changed."""
    fields, _, body = sent.partition(b"\r\n\r\n")
    new_fields, _, new_body = fetched.partition(b"\r\n\r\n")
    assert new_body == body
    before, after = parsed(fields), parsed(new_fields)
    assert after.pop("From") == [f"hall <{ALICE}>"]
    assert after.pop("Reply-To") == [before.pop("From")[0]] == [HALL]
    assert len(after.pop(TRACE_FIELD)) == 1
    by_postfix, by_gateway = after.pop("Received")
    assert ("by mail.test" in by_postfix, "with ESMTPSA" in by_gateway) == (True, True)
    # Postfix adds these at delivery.
    assert after.pop("Return-Path") == [f"<{ALICE}>"]
    assert after.pop("X-Original-To") == after.pop("Delivered-To") == [BOB]
    assert after == before


def parsed(fields: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in message_from_bytes(fields, policy=policy.compat32).items():
        found.setdefault(name, []).append(str(value))
    return found


async def test_what_comes_back_is_told_to_the_owner(
    journey: Journey, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_notices, "CHECK_INTERVAL", 0.1)
    port, password = await journey.gateway.port("scan"), journey.passwords["hall"]
    # Postfix accepts it, and returns it to the account.
    to = "somebody@full.test"
    await run_sync(send_by_smtplib, port, password, await scan(1, to), to)
    await arrive(dovecot, ALICE)
    assert await journey.poll("account.returned") == ["done"]
    await arrive(dovecot, CAROL)
    [octets] = dovecot.messages(CAROL)
    mail = message_from_bytes(octets, policy=policy.default)
    assert mail["Subject"] == "Mail from hall was not delivered"
    text = mail.get_content()
    assert "Scan 1 – Ä page" in text
    assert f"{to}: A mail server reports that it could not be delivered." in text
    assert "5.2.2" in text
    # Anyone could have written the words of a report.
    assert "the mailbox is full" not in text
