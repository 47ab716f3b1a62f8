"""``mailslot`` with damaged third-party plugins: each is named, and every command works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from mailslot.entry_points import own_extra_for
from mailslot.oauth.grant import Grant
from mailslot.service.plugin_usage import find_plugin_usage
from mailslot.slots.records import Records
from mailslot.slots.settings_file import SettingsFile
from mailslot.wire.secret import Secret
from plugins.conftest import Site

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = """
[mailslot.commands]
loud = acme_loud:command
syntax = acme_syntax:command
leaves = acme_leaves:command
lacks = acme_lacks:command
untyped = acme_loud:untyped
slots = acme_loud:command
fails = acme_loud:fails
[mailslot.pipelines]
leaves = acme_leaves:pipeline
junk = acme_loud:junk
\x1b[31mred = acme_gone:pipeline
[mailslot.printers]
folder = acme_loud:printer
lp = acme_loud:printer
[mailslot.token_sources]
lacks = acme_lacks:source
[mailslot.printer]
misspelt = acme_loud:printer
"""
LOUD = """
print("hello from acme")
junk = object()

def command() -> None:
    '''Say hello.'''
    print("hello")

class Panic(BaseException):
    '''No Exception, as extensions in Rust raise for a fault of theirs.'''

def fails(what: str) -> None:
    if what == "to-connect":
        raise ConnectionRefusedError(111, "open-sesame")
    if what == "for-good":
        raise Panic("open-sesame")
    {}[what]

def untyped(x: 'Nothing') -> None:
    '''Nothing that typer knows.'''

def printer(address, options):
    '''Be no printer.'''
"""
SETTINGS = """
[records.smtp]
server = "mail.example.com"
sender_address = "scanner@example.com"
authentication = "oauth2"
token_source = "lacks x"
security = "tls"
[records.alert-smtp]
authentication = "oauth2"
provider = "google"
flow = "app"
[print]
printer = "lp office"
[fax]
deliver_to = ["folder fax", "printer ipps://printer.example/ipp/print"]
[leaves]
anything = 1
"""


class Damaged(Site):
    """A device where all of that is installed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "site")
        self.path.mkdir()
        self.module("acme_loud", LOUD)
        self.module("acme_syntax", "def command(:")
        self.module("acme_leaves", "raise SystemExit('enough')")
        self.module("acme_lacks", "import no_such_module")
        self.install("acme", ENTRIES, "No-Such-Module>=2; extra == 'wire'")
        self.home = folder / "home"
        self.home.mkdir()
        (self.home / "mailslot.toml").write_text(SETTINGS)
        self.environment = {**os.environ, "PYTHONPATH": str(self.path), "COLUMNS": "200"}

    def command(self, *arguments: str) -> list[str]:
        code = "import sys; sys.argv[0] = 'mailslot'; from mailslot.cli import main; main()"
        return [sys.executable, "-W", "error", "-c", code, "--home", str(self.home), *arguments]

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        ran = subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert "Traceback" not in ran.stdout + ran.stderr
        assert ran.returncode == code, ran.stderr
        return ran.stdout, ran.stderr.replace("hello from acme\n", "")


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Damaged:
    return Damaged(tmp_path_factory.mktemp("damaged"))


def test_help_names_all_commands(damaged: Damaged) -> None:
    said, _ = damaged.run("--help")
    assert "Show every slot" in said
    assert "Say hello." in said
    assert "Mail files, or what a scanner scans." in said
    assert "The command lacks needs no_such_module: pip install 'acme[wire]'." in said
    for name in ("leaves", "syntax"):
        assert f"The command {name} of acme 1.0 cannot be loaded." in said
    assert "The command untyped of acme 1.0 cannot be used" in said


def test_a_damaged_command_says_so(damaged: Damaged) -> None:
    _, said = damaged.run("lacks", "--all", "of", "it", code=1)
    assert said == "The command lacks needs no_such_module: pip install 'acme[wire]'.\n"
    assert damaged.run("loud")[0] == "hello\n"


def test_a_command_that_fails_says_where_and_not_with_what(damaged: Damaged) -> None:
    _, said = damaged.run("fails", "open-sesame", code=1)
    assert said.startswith(
        "It did not work because of a fault of mailslot, or of a plugin: KeyError, raised at acme_loud"
    )
    assert "open-sesame" not in said
    assert "ConnectionRefusedError" in damaged.run("fails", "to-connect", code=1)[1]
    _, said = damaged.run("fails", "for-good", code=1)
    assert said.startswith("It did not work because of a fault of mailslot, or of a plugin: Panic, raised at acme_loud")
    assert "open-sesame" not in said


@pytest.fixture(scope="module")
def rows(damaged: Damaged) -> dict[tuple[str, str, str], dict[str, Any]]:
    said, warned = damaged.run("plugins", "--json")
    assert warned == ""
    return {(row["group"].removeprefix("mailslot."), row["name"], row["distribution"]): row for row in json.loads(said)}


@pytest.mark.parametrize(
    ("group", "name", "state", "says", "used_by"),
    [
        ("commands", "loud", "available", "", []),
        ("commands", "syntax", "failed", "of acme 1.0 cannot be loaded", []),
        ("commands", "lacks", "missing_extra", "pip install 'acme[wire]'", []),
        ("commands", "untyped", "failed", "is not a command", []),
        ("commands", "slots", "failed", "mailslot has a command slots of its own", []),
        ("pipelines", "leaves", "failed", "of acme 1.0 cannot be loaded", ["serve"]),
        ("pipelines", "junk", "failed", "is not a pipeline", ["serve"]),
        ("pipelines", "\x1b[31mred", "failed", "needs the module acme_gone, which is not installed", ["serve"]),
        ("printers", "folder", "failed", "mailslot has one of that name itself", []),
        ("printers", "lp", "active", "", ["print"]),
        ("token_sources", "lacks", "missing_extra", "pip install 'acme[wire]'", ["smtp"]),
        ("printer", "misspelt", "failed", "Did you mean mailslot.printers?", []),
    ],
)
def test_every_plugin_is_listed(
    rows: dict[tuple[str, str, str], dict[str, Any]], group: str, name: str, state: str, says: str, used_by: list[str]
) -> None:
    row = rows[group, name, "acme"]
    assert (row["state"], row["used_by"], row["version"]) == (state, used_by, "1.0")
    assert says in row["message"]
    assert row["extra"] == ("acme[wire]" if state == "missing_extra" else None)


@pytest.mark.parametrize(
    ("group", "name", "used_by"),
    [
        ("token_sources", "service_account", ["alert-smtp"]),
        ("token_sources", "browser", []),
        ("printers", "ipp", ["fax"]),
        ("printers", "folder", []),
        ("pipelines", "scan", ["serve"]),
        ("panels", "panel", ["serve --listen"]),
    ],
)
def test_used_plugins_are_marked(
    rows: dict[tuple[str, str, str], dict[str, Any]], group: str, name: str, used_by: list[str]
) -> None:
    row = rows[group, name, "mailslot"]
    assert (row["state"], row["used_by"], row["message"]) == ("active" if used_by else "available", used_by, "")


def test_the_table(damaged: Damaged, tmp_path: Path) -> None:
    said, _ = damaged.run("plugins")
    assert r"'\x1b[31mred'" in said
    assert "\x1b[31m" not in said
    assert "SystemExit: enough" in said
    assert "NameError: name 'Nothing' is not defined" in said
    assert "No setting uses any" not in said
    empty = tmp_path / "empty"
    said, warned = damaged.run("--home", str(empty), "plugins")
    assert (warned, empty.exists()) == ("", False)
    assert "No setting uses any of them yet" in said


async def test_unreadable_settings(tmp_path: Path) -> None:
    (tmp_path / "mailslot.toml").write_text("[records.smtp]\nserver = \n")
    uses = await find_plugin_usage(SettingsFile(tmp_path), partial(Records, tmp_path))
    assert "mailslot.toml:2: this is not TOML" in uses.error
    assert uses.users("mailslot.pipelines", "scan") == ["serve"]


async def test_the_flow_of_a_stored_token(tmp_path: Path) -> None:
    """It renews the token, whatever would get the next one; and without it, the provider's best would."""
    records = Records(tmp_path)
    records.change("fax-pop", {"authentication": "oauth2", "provider": "google", "security": "tls"}, {})
    assert (await find_plugin_usage(SettingsFile(tmp_path), partial(Records, tmp_path))).users(
        "mailslot.token_sources", "browser"
    ) == ["fax-pop"]
    await records.tokens.store("fax-pop").save(Grant("device", Secret("a" * 20), None, None, (), 1.0, 1.0))
    uses = await find_plugin_usage(SettingsFile(tmp_path), partial(Records, tmp_path))
    assert [uses.users("mailslot.token_sources", name) for name in ("browser", "device")] == [[], ["fax-pop"]]


def test_other_commands_work(damaged: Damaged) -> None:
    damaged.run("set", "network.smtp", "port=465")
    assert json.loads(damaged.run("show", "network.smtp", "--json")[0])["settings"]["port"] == 465
    assert "[leaves]\nanything = 1" in (damaged.home / "mailslot.toml").read_text()


def test_our_own_extras_are_named(damaged: Damaged) -> None:
    """What is not installed is not found; nothing else stands in for that."""
    damaged.module("sitecustomize", "import sys\nsys.modules.update(dict.fromkeys(('cryptography', 'starlette')))\n")
    try:
        _, said = damaged.run("set", "fax.pop", "password=x", code=1)
        assert said.endswith("This needs cryptography: pip install 'mailslot[oauth]'.\n")
        _, said = damaged.run("serve", "--listen", "0", code=1)
        assert said == "The panel needs starlette: pip install 'mailslot[panel]'.\n"
    finally:
        (damaged.path / "sitecustomize.py").unlink()


def test_our_own_extras_are_named_where_package_and_module_have_different_names() -> None:
    assert own_extra_for("argon2.exceptions") in {"mailslot[panel]", "mailslot[gateway]"}
    assert own_extra_for("PIL") in {"mailslot[fax]", "mailslot[scan]"}


def test_the_service_starts(damaged: Damaged) -> None:
    process = subprocess.Popen(
        damaged.command("serve", "--log", "plain"), env=damaged.environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        for line in process.stderr:
            lines.append(line)
            if "The service is ready" in line:
                break
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        process.stderr.close()
    assert process.wait(300) == 0, "".join(lines) + rest
    said = "".join(lines)
    assert "A pipeline is left out. The pipeline leaves of acme 1.0 cannot be loaded." in said
    assert "The pipeline junk of acme 1.0 cannot be used" in said
    assert "The service is ready" in said
    assert "Traceback" not in said + rest
    assert "\x1b" not in said
