"""``mailslot token rotate-key`` as an administrator types it."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from command_line import mailslot
from mailslot.slots.records import Records

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "hunter2-hunter2"


def run(home: Path, *arguments: str, code: int = 0, typed: str = "", **environment: str) -> str:
    ran = mailslot(*arguments, typed=typed, MAILSLOT_HOME=str(home), COLUMNS="200", **environment)
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert PASSWORD not in ran.stdout + ran.stderr
    return ran.stdout if code == 0 else ran.stderr


def password(home: Path, credentials: Path | None = None) -> str:
    secret = Records(home, credentials).vault.read("smtp", "password")
    assert secret is not None
    return secret.reveal()


def test_a_new_key_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    run(tmp_path, "set", "network.smtp", "password=-", typed=f"{PASSWORD}\n")
    old = (tmp_path / "key").read_text().split()
    assert "new key: 1." in run(tmp_path, "token", "rotate-key")
    new = (tmp_path / "key").read_text().split()
    assert len(new) == 1
    assert new != old
    assert password(tmp_path) == PASSWORD


def test_without_secrets_nothing_is_encrypted(tmp_path: Path) -> None:
    assert "newest key already" in run(tmp_path, "token", "rotate-key")


def test_a_key_kept_by_the_service_manager(tmp_path: Path) -> None:
    """The new key is written above the old one in its credential, and the old one can be taken out afterwards."""
    home, credentials = tmp_path / "home", tmp_path / "credentials"
    credentials.mkdir()
    keys = [b64encode(bytes([number]) * 32).decode() for number in (1, 2)]
    file = credentials / "mailslot.key"
    environment = {"CREDENTIALS_DIRECTORY": str(credentials)}
    file.write_text(f"{keys[0]}\n")
    run(home, "set", "network.smtp", "password=-", typed=f"{PASSWORD}\n", **environment)
    assert "newest key already" in run(home, "token", "rotate-key", **environment)
    file.write_text(f"{keys[1]}\n{keys[0]}\n")
    assert "new key: 1." in run(home, "token", "rotate-key", **environment)
    file.write_text(f"{keys[1]}\n")
    assert password(home, credentials) == PASSWORD
    assert not (home / "key").exists()


def test_no_key_is_deleted_while_a_secret_cannot_be_read(tmp_path: Path) -> None:
    run(tmp_path, "set", "network.smtp", "password=-", typed=f"{PASSWORD}\n")
    run(tmp_path, "set", "fax.pop", "password=-", typed="another\n")
    old = (tmp_path / "key").read_text().strip()
    (tmp_path / "vault" / "fax-pop.json").write_text("{")
    assert "damaged" in run(tmp_path, "token", "rotate-key", code=1)
    assert old in (tmp_path / "key").read_text().split()
    assert password(tmp_path) == PASSWORD
