"""``mailslot set``, ``show``, ``export``, ``import`` and ``report`` as an administrator types them."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
import trustme

from command_line import mailslot


class Shell:
    """A terminal without a keyboard, and a home folder."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def settings(self) -> Path:
        return self.home / "mailslot.toml"

    def run(self, *arguments: str, code: int = 0, typed: str = "", columns: int = 200) -> str:
        ran = mailslot(*arguments, typed=typed, MAILSLOT_HOME=str(self.home), COLUMNS=str(columns))
        assert ran.returncode == code, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        assert not (code and ran.stdout)
        return ran.stderr if code else ran.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))


AUTHORITY = Path(__file__).parent / "authority.pem"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


def test_show_prints_effective_values_and_their_origin(shell: Shell) -> None:
    shell.run("set", "network.quick", "provider=gmail", "account=scan@example.com", "authentication=oauth2")
    shown = shell.json("show", "network.smtp")
    assert shown["settings"]["server"] == "smtp.gmail.com"
    assert shown["settings"]["sender_address"] == "scan@example.com"
    assert "https://mail.google.com/" in shown["settings"]["scopes"]
    google = dict.fromkeys(("server", "port", "security", "scopes"), "Google")
    assert shown["from"] == {**google, "sender_address": "the account"}
    assert shown["secrets"] == {"password": False, "client_secret": False}
    table = shell.run("show", "install.quick")
    assert "smtp.gmail.com" in table
    assert "Google" in table
    assert "network.smtp and network.quick" in table
    assert "smtp.gmail.com" not in shell.settings.read_text()


def test_a_terminal_that_says_it_has_no_columns_is_written_to_as_if_it_had_80(shell: Shell) -> None:
    table = shell.run("show", "network.smtp", columns=0)
    assert table == shell.run("show", "network.smtp", columns=80)
    assert "port" in table


def test_secrets_are_never_shown(shell: Shell) -> None:
    output = shell.run("set", "fax.pop", "password=-", typed="geheim-geheim\n")
    output += shell.run("show", "fax.pop") + json.dumps(shell.json("show", "fax.pop"))
    output += shell.run("export")
    assert "geheim" not in output + shell.settings.read_text() if shell.settings.exists() else output
    assert shell.json("show", "fax.pop")["secrets"]["password"] is True
    (shell.home / "vault" / "fax-pop.json").write_bytes(b"garbage")
    assert shell.json("show", "fax.pop")["secrets"]["password"] is None
    assert "cannot be read" in shell.run("show", "fax.pop")


def test_a_url_instead_of_a_host_name(shell: Shell) -> None:
    output = shell.run("set", "alert.smtp", "server=smtps://smtp.example.com:465/")
    assert "understood as server=smtp.example.com, security=tls, port=465." in output
    assert shell.json("show", "alert.smtp")["settings"]["port"] == 465


def test_microsoft_on_465_is_corrected_with_a_note(shell: Shell) -> None:
    output = shell.run("set", "alert.smtp", "provider=microsoft365", "port=465")
    assert "Microsoft's servers take mail with STARTTLS on port 587" in output
    settings = shell.json("show", "alert.smtp")["settings"]
    assert (settings["port"], settings["security"]) == (587, "starttls")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["alert.smtp", "authentication=oauth2", "security=none"], "need encryption"),
        (["alert.smtp", "authentication=password", "security=none", "password=geheim-geheim"], "need encryption"),
        (["alert.smtp", "authentication=pop_before_smtp"], "set pop_slot"),
        (["alert.smtp", "authentication=pop_before_smtp", "pop_slot=alert.smtp"], "fax.pop, print.pop, status.pop"),
        (["alert.smtp", "pasword=geheim-geheim"], "no setting 'pasword'"),
        (["alert.smtp", "sender_adress=a@b.example"], "Did you mean sender_address?"),
        (["alert.smtp", "passwort=x"], "Did you mean password?"),
        (["alert.smtp", "server=https://mail.example"], "does not begin the address"),
        (["alert.smtp", "port=1", "port=2"], "given twice"),
        (["alert.smpt", "port=1"], "Did you mean alert.smtp?"),
        (["devise", "name=x"], "Did you mean device?"),
        (["device", "language=tlh"], "one of en, de, fr, es, ja"),
        (["device", "nane=x"], "Did you mean name?"),
        (["device", "administrator=nobody"], "an e-mail address"),
    ],
)
def test_wrong_usage_changes_nothing(shell: Shell, arguments: list[str], says: str) -> None:
    output = shell.run("set", *arguments, code=2)
    assert says in output
    assert "geheim" not in output
    assert not shell.home.exists()


def test_sections(shell: Shell) -> None:
    shell.run("set", "device", "name=Copier", "location=Second floor", "webhook=https://hooks.example/x")
    shown = shell.json("show", "device")
    assert shown["section"] == "device"
    assert shown["settings"]["location"] == "Second floor"
    assert (shown["settings"]["language"], shown["from"]) == ("en", {"language": "default"})
    assert "Second floor" in shell.run("show", "device")
    shell.run("set", "device", "location=")
    assert shell.json("show", "device")["settings"]["location"] is None
    assert "name" in shell.settings.read_text()


def test_paths_are_made_absolute(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    shell.run("set", "fax.pop", "ca_file=ca.pem")
    assert shell.json("show", "fax.pop")["settings"]["ca_file"] == str(tmp_path / "ca.pem")
    shell.run("set", "scan", "folder=in")
    assert shell.json("show", "scan")["settings"]["folder"] == str(tmp_path / "in")


def test_every_error_of_a_file_on_its_own_line(shell: Shell) -> None:
    shell.home.mkdir()
    shell.settings.write_text("[records.smtp]\nport = 99999\nserber = 'x'\n")
    for arguments in (["show", "fax.pop"], ["set", "fax.pop", "port=995"], ["slots"], ["export"]):
        output = shell.run(*arguments, code=1).splitlines()
        assert output == [
            f"{shell.settings} has 2 faults:",
            f"{shell.settings}:2: [records.smtp] port is 99999; it must be a number from 1 to 65535.",
            f"{shell.settings}:3: [records.smtp] there is no setting 'serber'. Did you mean server?",
        ]
    assert shell.settings.read_text() == "[records.smtp]\nport = 99999\nserber = 'x'\n"


def test_the_account_of_a_slot_is_copied_to_the_others(shell: Shell) -> None:
    values = ("provider=microsoft365", "account=scan@example.com", "client_id=x", "tenant=example.com")
    shell.run("set", "network.smtp", *values, "client_secret=-", typed="geheim\n")
    shell.run("set", "network.smtp", f"ca_file={AUTHORITY}")
    shell.run("set", "status.pop", "server=pop.example.com")
    output = shell.run("set", "--copy-from", "network.quick")
    assert "set at: alert.smtp, fax.pop, print.pop." in output
    assert "mailslot token get fax.pop" in output
    fax = shell.json("show", "fax.pop")
    assert {key: fax["settings"][key] for key in ("provider", "account", "client_id", "tenant", "authentication")} == {
        "provider": "microsoft365",
        "account": "scan@example.com",
        "client_id": "x",
        "tenant": "example.com",
        "authentication": "oauth2",
    }
    assert fax["settings"]["ca_file"] == str(AUTHORITY)
    assert fax["settings"]["server"] == "outlook.office365.com"
    assert fax["secrets"] == {"password": False, "client_secret": True}
    assert shell.json("show", "alert.smtp")["settings"]["server"] == "smtp.office365.com"
    assert shell.json("show", "status.pop")["settings"]["account"] is None
    assert "Every slot is set up" in shell.run("set", "--copy-from", "fax.pop", code=2)
    assert "set at: status.pop." in shell.run("set", "status.pop", "--copy-from", "network.smtp")
    # The preset supplies the server.
    assert shell.json("show", "status.pop")["settings"]["server"] == "outlook.office365.com"


def test_a_copied_provider_without_a_server_says_what_is_missing(shell: Shell) -> None:
    own = ("provider=custom", "issuer=https://id.example.com", "account=a@example.com", "server=smtp.example.com")
    shell.run("set", "network.smtp", *own)
    copied = shell.run("set", "fax.pop", "--copy-from", "network.smtp")
    assert "set fax.pop server=…" in copied
    shell.run("set", "fax.pop", "server=pop.example.com")
    assert "server=" not in shell.run("set", "fax.pop", "--copy-from", "network.smtp")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--copy-from", "network.smpt"], "Did you mean network.smtp?"),
        (["--copy-from", "fax.pop"], "neither a provider nor an account"),
        (["fax.pop", "port=995", "--copy-from", "network.smtp"], "it stands alone"),
        (["install.quick", "--copy-from", "network.smtp"], "has the same settings already"),
        (["fax.pop"], "Missing argument KEY=VALUE"),
        ([], "Missing argument SLOT"),
    ],
)
def test_what_cannot_be_copied(shell: Shell, arguments: list[str], says: str) -> None:
    assert says in shell.run("set", *arguments, code=2)
    assert not shell.settings.exists()


def test_a_provider_implies_oauth2(shell: Shell) -> None:
    assert "authentication is oauth2 now" in shell.run("set", "network.smtp", "provider=google")
    assert "authentication" not in shell.run("set", "network.smtp", "provider=outlook")
    shell.run("set", "fax.pop", "provider=google", "authentication=password")
    found = shell.json("show", "fax.pop")["settings"]
    assert (found["provider"], found["authentication"]) == ("google", "password")


def test_one_device_to_fifty(shell: Shell, tmp_path: Path) -> None:
    shell.run("set", "network.smtp", "provider=google", "account=scan@example.com", "client_secret=geheim-geheim")
    shell.run("set", "device", "name=Copier", "serial_number=77")
    file = tmp_path / "set-up.toml"
    assert str(file) in shell.run("export", str(file), "--without", "account,serial_number")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "already" in shell.run("export", str(file), code=1)
    for number in range(2):
        other = Shell(tmp_path / str(number))
        other.run("set", "network.smtp", "account=mine@example.com")
        output = other.run("import", str(file), "--yes")
        assert "[records.smtp] provider: not set → google" in output
        assert "3 settings changed" in output
        assert "Nothing to change" in other.run("import", str(file))
        assert other.json("show", "network.smtp")["settings"]["account"] == "mine@example.com"
        assert other.run("export", "--without", "account,serial_number") == file.read_text()
    assert "geheim" not in file.read_text()
    piped = Shell(tmp_path / "piped")
    piped.run("import", "-", "--yes", typed=file.read_text())
    assert piped.json("show", "device")["settings"]["name"] == "Copier"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not an export"),
        (b"[mailslot]\nexport = 2\n", "another version"),
        (b"[mailslot]\nexport = 1\n[records.smtp]\nport = 0\n", "e.toml:4: [records.smtp] port is 0"),
        (b"\xff", "not UTF-8"),
        (b"#" * 2_000_000, "larger than"),
        (None, "No such file"),
    ],
)
def test_invalid_export_files(shell: Shell, tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "e.toml"
    if content is not None:
        file.write_bytes(content)
    assert says in shell.run("import", str(file), code=1)
    assert not shell.home.exists()


def test_report(shell: Shell, tmp_path: Path) -> None:
    shell.run("set", "fax.pop", "server=pop.example.com", "password=geheim-geheim")
    file = tmp_path / "r.zip"
    assert str(file) in shell.run("report", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with zipfile.ZipFile(file) as bundle:
        whole = b"".join(bundle.read(name) for name in bundle.namelist())
    assert b"pop.example.com" in whole
    assert b"geheim" not in whole
    before = file.read_bytes()
    assert "already" in shell.run("report", str(file), code=1)
    assert file.read_bytes() == before
    shell.run("report", str(file), "--force")
    assert "there is no folder" in shell.run("report", str(tmp_path / "nowhere" / "r.zip"), code=1)
    shell.settings.write_text("[records.fax-pop]\nport = 0\n")
    shell.run("report", str(file), "--force")
    with zipfile.ZipFile(file) as bundle:
        assert b"port is 0" in bundle.read("mailslot-report/notes.txt")


def test_emoji_like_text_is_kept(shell: Shell) -> None:
    """An IPv6 address may hold ``:a:`` and ``:b:``, which terminals' libraries make pictures of."""
    assert "server=1:a:b:2:3:4:5:6, port=995" in shell.run("set", "print.pop", "server=[1:a:b:2:3:4:5:6]:995")
    shell.run("set", "network.smtp", "sender_name=A:b:C [/red] \\")
    assert "1:a:b:2:3:4:5:6" in shell.run("show", "print.pop")
    assert "A:b:C [/red] \\" in shell.run("show", "network.smtp")
