"""``mailslot fleet panel`` and ``sign-in``: wrong settings; served by TLS, and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from command_line import mailslot
from lab.process import free_ports, wait_until

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from trustme import LeafCert

    from lab.postgres import Fleet

PROGRAM = Path(sys.executable).with_name("mailslot")

SETTINGS = """\
address = "https://localhost:{port}"
certificate = "{folder}/panel.pem"
key = "{folder}/panel.key"

[openid]
issuer = "https://login.example.com"
client_id = "fleet"

[[roles]]
value = "admins"
role = "fleet"
"""


def test_wrong_settings(fleet: Fleet, tmp_path: Path) -> None:
    environment = {"MAILSLOT_DATABASE": fleet.url, "MAILSLOT_MASTER_KEY": str(fleet.folder / "master.key")}
    file = tmp_path / "panel.toml"

    def refused(listen: str = "0") -> str:
        ran = mailslot("fleet", "panel", "--listen", listen, "--settings", file, **environment)
        assert ran.returncode == 1, ran.stderr
        return ran.stderr

    assert "no such file" in refused()
    file.write_text(SETTINGS.format(port=1, folder=tmp_path))
    assert "panel.pem" in refused()
    lines = [line for line in file.read_text().splitlines() if not line.startswith(("certificate", "key"))]
    file.write_text("\n".join(lines))
    assert "needs a certificate" in refused("0.0.0.0:0")


@pytest.fixture
def files(tmp_path: Path, certificate: LeafCert) -> Path:
    """A folder with a certificate and its key."""
    (tmp_path / "panel.pem").write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    (tmp_path / "panel.key").write_bytes(certificate.private_key_pem.bytes())
    (tmp_path / "panel.key").chmod(0o600)
    return tmp_path


@contextmanager
def served(
    fleet: Fleet, port: int, log: Path, context: ssl.SSLContext, *command: object, database: str = ""
) -> Iterator[httpx2.Client]:
    """Run a command until the block ends, and stop it as a service manager does."""
    environment: dict[str, Any] = {
        **os.environ,
        "MAILSLOT_DATABASE": database or fleet.url,
        "MAILSLOT_MASTER_KEY": str(fleet.folder / "master.key"),
    }
    arguments = [PROGRAM, "fleet", *map(str, command), "--listen", f"127.0.0.1:{port}"]
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, stderr=output, env=environment)
    try:
        with httpx2.Client(
            base_url=f"https://localhost:{port}", verify=context, trust_env=False, timeout=120
        ) as client:

            def answers() -> bool:
                try:
                    client.get("/healthz")
                except httpx2.ConnectError:
                    assert process.poll() is None, log.read_text()
                    return False
                return True

            wait_until(answers)
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def test_the_panel_is_served_by_tls(fleet: Fleet, files: Path, client_context: ssl.SSLContext) -> None:
    [port] = free_ports(1)
    settings, log = files / "panel.toml", files / "log"
    settings.write_text(SETTINGS.format(port=port, folder=files))
    with served(fleet, port, log, client_context, "panel", "--settings", settings) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        page = client.get("/sign-in")
        assert "You sign in at login.example.com" in page.text
        [cookie] = client.cookies.jar
        assert (cookie.name.startswith("__Host-mailslot-"), cookie.secure) == (True, True)
        assert "strict-transport-security" in page.headers
    assert f"The fleet's panel is at https://localhost:{port}/" in log.read_text()


def test_the_panel_starts_while_the_database_is_down(fleet: Fleet, files: Path, client_context: ssl.SSLContext) -> None:
    port, closed = free_ports(2)
    settings, log = files / "panel.toml", files / "log"
    settings.write_text(SETTINGS.format(port=port, folder=files))
    database = f"postgresql://mailslot@127.0.0.1:{closed}/mailslot"
    with served(fleet, port, log, client_context, "panel", "--settings", settings, database=database) as client:
        assert client.get("/healthz").json() == {"status": "failing"}
    assert "The panel starts nevertheless." in log.read_text()


def test_the_pages_for_owners_of_mailboxes_are_served_by_tls(
    fleet: Fleet, files: Path, client_context: ssl.SSLContext
) -> None:
    [port] = free_ports(1)
    address, log = f"https://localhost:{port}", files / "log"
    options = ("--address", address, "--certificate", files / "panel.pem", "--key", files / "panel.key")
    with served(fleet, port, log, client_context, "sign-in", *options) as client:
        assert "This link is not known" in client.get("/consent/link/nothing").text
    assert f"The pages are at {address}/ and listen on 127.0.0.1, port {port}." in log.read_text()
