"""``mailslot panel password``, and what ``serve`` prints about the panel."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from command_line import mailslot
from lab.process import free_ports
from mailslot.slots.records import Records
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.security.password import Password
from panel.browser_client import BrowserClient
from panel.running_panel import PASSWORD
from service.service_process import serving

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module", params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The tests' own; the service's is an argument."""
    return str(request.param)


def test_a_password_from_standard_input(tmp_path: Path) -> None:
    done = mailslot("--home", tmp_path, "panel", "password", typed=f"{PASSWORD}\nof somebody else\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "The panel's password is set.\n", "")
    assert Password(tmp_path).verify(Secret(PASSWORD))
    short = mailslot("--home", tmp_path, "panel", "password", typed="short")
    assert (short.returncode, short.stderr) == (2, "A password has 8 to 1024 characters.\n")
    assert Password(tmp_path).verify(Secret(PASSWORD))


def test_its_settings_are_ordinary_settings(tmp_path: Path) -> None:
    done = mailslot("--home", tmp_path, "set", "panel", "names=copier.example.com, copier", "idle_minutes=30")
    assert done.returncode == 0, done.stderr
    assert Records(tmp_path).settings.section(PANEL)["names"] == ("copier.example.com", "copier")
    assert "30" in mailslot("--home", tmp_path, "show", "panel").stdout
    assert mailslot("--home", tmp_path, "set", "panel", "idle_minutes=0").returncode == 2


async def test_a_panel_on_the_network(tmp_path: Path) -> None:
    [port] = free_ports(1)
    Password(tmp_path).set(Secret(PASSWORD))
    Records(tmp_path).settings.change_section(PANEL, {"names": "panel.example.com"})
    async with serving(tmp_path, "--listen", f"0.0.0.0:{port}") as service:
        line = await service.said("The panel is at https://")
        assert line["message"].endswith(f":{port}/.")
        assert re.search(r"([0-9A-F]{2}:){31}", (await service.said("fingerprint"))["message"])
        context = ssl.create_default_context(cafile=str(tmp_path / "panel" / "certificate.pem"))
        names = ["panel.example.com", "localhost", "192.0.2.7", "evil.example"]
        async with BrowserClient(f"https://localhost:{port}", verify=context) as client:
            answers = [await client.get("/healthz", headers={"host": name}) for name in names]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 421]
            assert (await client.sign_in()).status_code == 303
        assert "panel.example.com" in good_for(tmp_path / "panel" / "certificate.pem")
        assert await service.stop() == 0
        assert [line for line in service.lines if line.get("level") in {"warning", "error"}] == []


def good_for(path: Path) -> list[str]:
    found = x509.load_pem_x509_certificate(path.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


def test_an_unusable_certificate(tmp_path: Path) -> None:
    settings = Records(tmp_path).settings
    settings.change_section(PANEL, {"certificate": "/nowhere/chain.pem", "key": "/nowhere/key.pem"})
    [port] = free_ports(1)
    result = mailslot("--home", tmp_path, "serve", "--listen", f"0.0.0.0:{port}")
    assert (result.returncode, "No such file" in result.stderr) == (1, True)
