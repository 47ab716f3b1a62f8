"""The systemd unit, checked by systemd itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
UNIT = DOCS / "mailslot.service"
WORKER = DOCS / "mailslot-worker@.service"
FLEET_PANEL = DOCS / "mailslot-fleet-panel.service"


@pytest.mark.parametrize("source", [UNIT, WORKER, FLEET_PANEL], ids=lambda path: path.name)
def test_systemd_understands_the_unit(source: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None or os.geteuid() != 0:
        pytest.skip("systemd is not on this machine, or asks for root")
    unit = tmp_path / source.name.replace("@", "@1")
    unit.write_text(source.read_text().replace("/usr/bin/mailslot", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], check=False, capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_workers_unit_runs_an_existing_command() -> None:
    [command] = re.findall(r"^ExecStart=/usr/bin/mailslot (.+)$", WORKER.read_text(), re.MULTILINE)
    assert command == "fleet worker"
    assert "LoadCredentialEncrypted=mailslot.master-key:" in WORKER.read_text()


def test_the_unit_of_a_fleets_panel_runs_an_existing_command() -> None:
    [command] = re.findall(r"^ExecStart=/usr/bin/mailslot (.+)$", FLEET_PANEL.read_text(), re.MULTILINE)
    settings = ["--settings", "/etc/mailslot/fleet-panel.toml"]
    assert command.split() == ["fleet", "panel", "--listen", "127.0.0.1:8443", *settings]
    assert "LoadCredentialEncrypted=mailslot.openid-secret:" in FLEET_PANEL.read_text()


def test_the_unit_runs_an_existing_command() -> None:
    [command] = re.findall(r"^ExecStart=/usr/bin/mailslot (.+)$", UNIT.read_text(), re.MULTILINE)
    assert command.split() == ["serve", "--listen", "127.0.0.1:8025"]
    assert "LoadCredentialEncrypted=mailslot.key:" in UNIT.read_text()
