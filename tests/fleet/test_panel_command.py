"""``mailslot fleet panel``: what it says of wrong settings; served by TLS, and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from command_line import mailslot
from lab.process import free_ports, wait_until

if TYPE_CHECKING:
    import ssl

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


def test_served_by_tls_until_it_is_stopped(
    fleet: Fleet, tmp_path: Path, certificate: LeafCert, client_context: ssl.SSLContext
) -> None:
    [port] = free_ports(1)
    (tmp_path / "panel.pem").write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    (tmp_path / "panel.key").write_bytes(certificate.private_key_pem.bytes())
    (tmp_path / "panel.key").chmod(0o600)
    file, log = tmp_path / "panel.toml", tmp_path / "log"
    file.write_text(SETTINGS.format(port=port, folder=tmp_path))
    environment: dict[str, Any] = {
        **os.environ,
        "MAILSLOT_DATABASE": fleet.url,
        "MAILSLOT_MASTER_KEY": str(fleet.folder / "master.key"),
    }
    command = [PROGRAM, "fleet", "panel", "--listen", f"127.0.0.1:{port}", "--settings", file]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output, env=environment)
    try:
        with httpx2.Client(
            base_url=f"https://localhost:{port}", verify=client_context, trust_env=False, timeout=120
        ) as client:

            def answers() -> bool:
                try:
                    return client.get("/healthz").json() == {"status": "ok"}
                except httpx2.ConnectError:
                    assert process.poll() is None, log.read_text()
                    return False

            wait_until(answers)
            page = client.get("/sign-in")
            assert "You sign in at login.example.com" in page.text
            [cookie] = client.cookies.jar
            assert (cookie.name.startswith("__Host-mailslot-"), cookie.secure) == (True, True)
            assert "strict-transport-security" in page.headers
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert f"The fleet's panel is at https://localhost:{port}/" in log.read_text()
    finally:
        process.kill()
        process.wait()
