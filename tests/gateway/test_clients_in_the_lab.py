"""The mail programs of devices and servers send through the gateway to Postfix, with a token from oidc-provider."""

from __future__ import annotations

import shutil
import smtplib
import subprocess
import sys
from email import message_from_bytes, policy
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.to_thread import run_sync

from gateway.gateway_device import serve_gateway, untrusting
from lab import provider as provider_
from lab.fixtures import need
from mailslot.diagnosis.gateway_log import STORE, GatewayLog
from mailslot.slots.records import Records
from test_token_commands import Shell

if TYPE_CHECKING:
    from collections.abc import Callable

    import trustme

    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider

pytestmark = pytest.mark.anyio

ALICE, BOB, HALL = "alice@example.test", "bob@example.test", "hall@copiers.example"
LAB = Path(provider_.__file__).parent / "node"
UNPACKED = Path(sys.prefix) / "debian"
"""Where script/setup unpacks what cannot be installed beside Postfix."""
NODEMAILER = """
const [port, user, pass, from, to] = process.argv.slice(1);
const {createTransport} = require("nodemailer");
const transport = createTransport({host: "127.0.0.1", port, auth: {user, pass}, tls: {rejectUnauthorized: false}});
transport.sendMail({from, to, subject: "nodemailer", text: "A page\\n.\\nends."}).then(() => transport.close());
"""


def message(name: str) -> bytes:
    lines = [f"From: {HALL}", f"To: {BOB}", f"Subject: {name}", "", "A page", ".", "ends.", ""]
    return "\r\n".join(lines).encode()


def run(*command: str | Path, text: bytes = b"") -> None:
    ended = subprocess.run(command, input=text, check=False, capture_output=True, cwd=LAB, timeout=300)
    assert ended.returncode == 0, (ended.stdout + ended.stderr).decode()


def by_smtplib(port: int, password: str) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=300) as client:
        client.starttls(context=untrusting())
        client.login("hall", password)
        client.sendmail(HALL, [BOB], message("smtplib"))


def by_curl(port: int, password: str) -> None:
    envelope = ["--mail-from", HALL, "--mail-rcpt", BOB, "--user", f"hall:{password}"]
    url = f"smtp://127.0.0.1:{port}/copier"
    run(
        "curl",
        "--silent",
        "--show-error",
        "--ssl-reqd",
        "--insecure",
        *envelope,
        "--upload-file",
        "-",
        url,
        text=message("curl"),
    )


def by_swaks(port: int, password: str) -> None:
    where = ["--server", "127.0.0.1", "--port", str(port), "--tls", "--auth", "LOGIN"]
    sign_in = ["--auth-user", "hall", "--auth-password", password]
    run("swaks", *where, *sign_in, "--from", HALL, "--to", BOB, "--data", "-", text=message("swaks"))


def by_msmtp(port: int, password: str) -> None:
    sign_in = ["--auth=plain", "--user=hall", f"--passwordeval=echo {password}"]
    tls = ["--tls=on", "--tls-starttls=on", "--tls-certcheck=off"]
    where = ["--host=127.0.0.1", f"--port={port}", f"--from={HALL}"]
    run("msmtp", "--file=/dev/null", *where, *tls, *sign_in, BOB, text=message("msmtp").replace(b"\r\n", b"\n"))


def by_nodemailer(port: int, password: str) -> None:
    run(provider_.node() or "", "-e", NODEMAILER, str(port), "hall", password, HALL, BOB)


def by_ssmtp(port: int, password: str) -> None:
    with TemporaryDirectory() as folder:
        settings = Path(folder) / "ssmtp.conf"
        settings.write_text(
            f"mailhub=127.0.0.1:{port}\nhostname=copiers.example\nFromLineOverride=YES\nUseSTARTTLS=YES\n"
            f"AuthUser=hall\nAuthPass={password}\n"
        )
        text = message("ssmtp").replace(b"\r\n", b"\n")
        run(UNPACKED / "usr/sbin/ssmtp", "-C", settings, "-f", HALL, "-oi", BOB, text=text)


def by_nullmailer(port: int, password: str) -> None:
    # It reads a file of its queue from the file descriptor 3: the envelope, an empty line, the message.
    queued = f"{HALL}\n{BOB}\n\n".encode() + message("nullmailer").replace(b"\r\n", b"\n")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "queued"
        file.write_bytes(queued)
        where = ["--host=127.0.0.1", f"--port={port}", "--starttls", "--insecure"]
        command = [UNPACKED / "usr/lib/nullmailer/smtp", *where, "--user=hall", f"--pass={password}"]
        run("sh", "-c", 'HELOHOST=copiers.example "$@" 3<"$0"', file, *command)


CLIENTS: dict[str, Callable[[int, str], None]] = {
    "smtplib": by_smtplib,
    "curl": by_curl,
    "swaks": by_swaks,
    "msmtp": by_msmtp,
    "nodemailer": by_nodemailer,
    "ssmtp": by_ssmtp,
    "nullmailer": by_nullmailer,
}
OPTIONAL = {"ssmtp": UNPACKED / "usr/sbin/ssmtp", "nullmailer": UNPACKED / "usr/lib/nullmailer/smtp"}
"""Clients that newer releases of Debian do not have."""


@pytest.fixture
def shell(tmp_path: Path, provider: Provider, postfix: Postfix, dovecot: Dovecot, ca: trustme.CA) -> Shell:
    """A home folder in which everything is set up by the commands that people type, except for the devices."""
    dovecot.empty(BOB)
    (tmp_path / "ca.pem").write_bytes(ca.cert_pem.bytes())
    shell = Shell(tmp_path / "home")
    known = {
        "server": "localhost",
        "port": postfix.submission.port,
        "security": "starttls",
        "ca_file": tmp_path / "ca.pem",
        "authentication": "oauth2",
        "provider": "custom",
        "issuer": provider.issuer,
        "client_id": "alice",
        "flow": "app",
        "scopes": "mail.pop mail.send",
        "account": ALICE,
        "sender_address": ALICE,
        "timeout": 60,
    }
    shell.run("account", "add", "office")
    shell.run("set", "account.office", *(f"{key}={value}" for key, value in known.items()))
    shell.run("set", "account.office", "client_secret=-", typed="alice-secret\n")
    shell.run("token", "get", "account.office")
    shell.run("listener", "add", "scan", "--listen", "127.0.0.1:0")
    return shell


async def test_every_client_is_served(shell: Shell, dovecot: Dovecot) -> None:
    for name in ("curl", "msmtp", "swaks"):
        need(name, shutil.which(name) is not None, "comes with script/setup on Debian")
    present = {name for name in CLIENTS if name not in OPTIONAL or OPTIONAL[name].exists()}
    added = await run_sync(partial(shell.json, "device", "add", "hall", "--user", "hall", "--via", "account.office"))
    records = await run_sync(Records, shell.home)
    async with serve_gateway(records) as device:
        log = GatewayLog(device.store(STORE))
        with anyio.fail_after(120):
            while not (listening := await log.listening()):  # noqa: ASYNC110 - the store tells nobody
                await anyio.sleep(0.05)
        async with anyio.create_task_group() as group:
            for name in present:
                group.start_soon(run_sync, CLIENTS[name], listening["scan"][1], added["made_password"])
        with anyio.fail_after(120):
            while len(dovecot.messages(BOB)) < len(present):  # noqa: ASYNC110 - it is another process
                await anyio.sleep(0.05)
    arrived = {}
    for octets in dovecot.messages(BOB):
        mail = message_from_bytes(octets, policy=policy.default)
        arrived[mail["Subject"]] = mail
    assert set(arrived) == present
    for mail in arrived.values():
        assert (mail["From"], mail["Reply-To"], mail["Return-Path"]) == (f"hall <{ALICE}>", HALL, f"<{ALICE}>")
        assert mail.get_content().rstrip().splitlines() == ["A page", ".", "ends."]
