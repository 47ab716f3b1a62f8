"""``mailslot token`` as an administrator types it, with oidc-provider behind it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread
import pytest

from command_line import mailslot
from mailslot import OAuth, StaticToken, connect_pop3
from mailslot.oauth.flow import UserCode
from mailslot.oauth.grant import Grant
from mailslot.slots.records import Records
from mailslot.wire.secret import Secret
from tokens.people import ChromiumUser

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from lab.browser import Browser
    from lab.dovecot import Dovecot
    from lab.provider import Provider

CODE = "import sys; sys.argv[0] = 'mailslot'; from mailslot.cli import main; main()"
ALICE = "alice@example.test"


class Shell:
    """A terminal without a keyboard, and a home folder; keeps all that was printed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.printed = ""

    def run(self, *arguments: str, code: int = 0, typed: str = "") -> str:
        ran = mailslot(*arguments, typed=typed, MAILSLOT_HOME=str(self.home), COLUMNS="200")
        self.printed += ran.stdout + ran.stderr
        assert ran.returncode == code, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        return ran.stdout if code == 0 else ran.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    @contextmanager
    def start(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", CODE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "MAILSLOT_HOME": str(self.home), "COLUMNS": "200"},
        ) as running:
            try:
                yield running
            finally:
                running.kill()

    def tokens(self) -> dict[str, str]:
        return {row["slot"]: row["token"] for row in self.json("slots")}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


def configure(shell: Shell, slot: str, provider: Provider, **values: str) -> None:
    known = {
        "provider": "custom",
        "issuer": provider.issuer,
        "account": ALICE,
        "authentication": "oauth2",
        "scopes": "openid email offline_access mail.pop mail.send",
        **values,
    }
    shell.run("set", slot, *(f"{key}={value}" for key, value in known.items()))


async def sign_in_elsewhere(running: subprocess.Popen[str], browser: Browser) -> str:
    """Read the code from the terminal, enter it in a browser, and return all that was printed."""
    printed = ""
    assert running.stdout is not None
    while not (found := re.search(r"open\s+(\S+).*enter the code\s+(\S+)", printed, re.DOTALL)):
        line = await anyio.to_thread.run_sync(running.stdout.readline)
        assert line, printed
        printed += line
    address, user_code = found.groups()
    await ChromiumUser(browser=browser).show_code(UserCode(user_code, address, None, 0.0))
    rest, errors = await anyio.to_thread.run_sync(running.communicate)
    assert running.returncode == 0, errors
    return printed + rest


async def test_a_device_code_for_shared_slots(
    shell: Shell, provider: Provider, browser: Browser, dovecot: Dovecot, lab_context: ssl.SSLContext
) -> None:
    configure(shell, "network.quick", provider, client_id="panel")
    assert set(shell.tokens().values()) == {"Not Retrieved"}
    with shell.start("token", "get", "install.quick", "--flow", "device") as running:
        result = await sign_in_elsewhere(running, browser)
    shell.printed += result
    assert "Retrieved" in result
    tokens = shell.tokens()
    assert [slot for slot, token in tokens.items() if token == "Retrieved"] == [
        "network.smtp",
        "network.quick",
        "install.quick",
    ]
    [status] = shell.json("token", "status", "network.smtp")
    assert status["token"] == "Retrieved"
    assert status["health"]["state"] == "ok"
    assert status["health"]["account"] == ALICE
    assert status["health"]["expires_at"] > status["health"]["renewed_at"]

    grant = await Records(shell.home).tokens.store("smtp").load()
    assert grant is not None
    assert grant.access_token is not None
    assert grant.refresh_token is not None
    auth = OAuth(ALICE, StaticToken(grant.access_token))
    async with connect_pop3(dovecot.pop3s, auth, ssl_context=lab_context) as pop:
        assert isinstance(await pop.listing(), list)

    secrets = [grant.access_token.reveal(), grant.refresh_token.reveal()]
    shell.run("token", "status")
    for path in shell.home.rglob("*"):
        if path.is_file():
            assert not any(secret.encode() in path.read_bytes() for secret in secrets), path
    assert not any(secret in shell.printed for secret in secrets)

    assert "Not Retrieved" in shell.run("token", "delete", "network.smtp", "--yes")
    assert set(shell.tokens().values()) == {"Not Retrieved"}
    assert not provider.introspect(secrets[0])["active"]
    assert "none" in shell.run("token", "delete", "network.smtp", "--yes")


async def test_client_credentials_with_a_secret(shell: Shell, provider: Provider) -> None:
    configure(shell, "fax.pop", provider, client_id="alice", scopes="mail.pop mail.send", flow="app", token_source="")
    assert "secret" in shell.run("token", "get", "fax.pop", code=1)
    shell.run("set", "fax.pop", "client_secret=-", typed="wrong\n")
    refused = shell.run("token", "get", "fax.pop", code=1)
    assert "secret" in refused
    shell.run("set", "fax.pop", "client_secret=-", typed="alice-secret\n")
    shell.run("token", "get", "fax.pop")
    tokens = shell.tokens()
    assert [slot for slot, token in tokens.items() if token == "Retrieved"] == ["fax.pop"]
    for path in shell.home.rglob("*"):
        if path.is_file():
            assert b"alice-secret" not in path.read_bytes()
    assert "alice-secret" not in shell.printed
    assert "alice-secret" not in shell.run("show", "fax.pop")


async def test_client_credentials_with_a_certificate(shell: Shell, provider: Provider) -> None:
    configure(shell, "print.pop", provider, client_id="certified", scopes="mail.pop", flow="app")
    pair = provider.certified
    shell.run("set", "print.pop", "client_secret=-", typed=f"{pair.key}\n{pair.certificate}")
    shell.run("token", "get", "print.pop")
    [status] = shell.json("token", "status", "print.pop")
    assert status["token"] == "Retrieved"
    assert status["health"]["secret_expires_at"] is not None
    key = pair.key.splitlines()[1]
    assert key not in shell.printed
    assert not any(key.encode() in path.read_bytes() for path in shell.home.rglob("*") if path.is_file())


async def test_other_token_sources(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("ya29.from-a-file")
    shell.run("set", "status.pop", f"token_source=file {tmp_path / 'token'}")
    assert "It gave one just now" in shell.run("token", "get", "status.pop")
    shell.run("set", "status.pop", "token_source=command /bin/false")
    assert len(shell.run("token", "get", "status.pop", code=1).strip().splitlines()) == 1
    assert "nonsense" in shell.run("set", "status.pop", "token_source=nonsense", code=2)
    # A file that was edited by hand is read all the same.
    file = shell.home / "mailslot.toml"
    file.write_text(file.read_text().replace("command /bin/false", "nonsense"))
    assert "nonsense" in shell.run("token", "get", "status.pop", code=2)
    assert "ya29" not in shell.printed


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ([], "set alert.smtp provider=… account=…"),
        (["server=mail.example.com"], "set alert.smtp provider=… account=…"),
        (["provider=microsoft365", "authentication=oauth2"], "set alert.smtp account=…"),
        (["provider=microsoft365", "account=a@example.com"], "client_id"),
        (["provider=custom"], "Issuer is missing"),
        (["provider=custom"], "set alert.smtp issuer=… account=… client_id=… scopes=…"),
        (["issuer=https://id.example.com", "authentication=oauth2"], "set alert.smtp account=… client_id=… scopes=…"),
        (["provider=google", "account=a@example.com", "client_id=x", "flow=device"], "device"),
    ],
)
def test_missing_settings_are_named(shell: Shell, settings: list[str], says: str) -> None:
    if settings:
        shell.run("set", "alert.smtp", *settings)
    assert says in shell.run("token", "get", "alert.smtp", code=1)


def test_registration_instructions_are_printed(shell: Shell) -> None:
    shell.run("set", "alert.smtp", "provider=google", "account=a@example.com")
    shell.run("token", "get", "alert.smtp", code=1)
    assert "How to register an application with Google" in shell.printed
    assert "mailslot set alert.smtp client_id=" in shell.printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["token", "get", "fax.pip"], "Did you mean fax.pop?"),
        (["token", "get", "fax.pop", "--flow", "implicit"], "implicit"),
        (["set", "fax.pop", "port"], "KEY=VALUE"),
        (["set", "fax.pop", "port=x"], "65535"),
        (["set", "fax.pop", "prot=1"], "no setting 'prot'"),
        (["token", "delete", "fax.pop"], "--yes"),
        (["token", "status", "nowhere"], "There is no slot"),
    ],
)
def test_wrong_usage(shell: Shell, arguments: list[str], says: str) -> None:
    assert says in shell.run(*arguments, code=2)
    assert not (shell.home / "mailslot.toml").exists()


def test_an_unreachable_provider(shell: Shell) -> None:
    shell.run(
        "set", "fax.pop", "provider=custom", "token_endpoint=http://127.0.0.1:9/token", "client_id=x", "flow=app",
        "account=a@example.com", "client_secret=s3cret-value", "scopes=mail",
    )  # fmt: skip
    output = shell.run("token", "get", "fax.pop", code=1)
    assert "127.0.0.1" in output
    assert len(output.strip().splitlines()) == 1
    assert "s3cret-value" not in shell.printed


@pytest.mark.parametrize("redirect_uri", ["", "https://printer.example.test/signed-in"])
def test_the_address_to_paste_is_named(shell: Shell, redirect_uri: str) -> None:
    shell.run(
        "set", "fax.pop", "provider=custom", "authorization_endpoint=https://login.example.test/authorize",
        "token_endpoint=https://login.example.test/token", "client_id=x", "account=a@example.com", "scopes=mail",
        f"redirect_uri={redirect_uri}",
    )  # fmt: skip
    shell.run("token", "get", "fax.pop", "--flow", "paste", code=1, typed="\n")
    shown = " ".join(shell.printed.split())
    address = re.search(r"https://login\.example\.test/authorize\S+", shown)
    assert address is not None
    [expected] = parse_qs(urlsplit(address[0]).query)["redirect_uri"]
    assert expected.startswith(redirect_uri or "http://127.0.0.1:")
    assert f"a page whose address begins with {expected}. " in shown


def test_the_port_of_the_settings_is_used(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shell.run(
            "set", "fax.pop", "provider=custom", "authorization_endpoint=https://login.example.test/authorize",
            "token_endpoint=https://login.example.test/token", "client_id=x", "account=a@example.com", "scopes=mail",
            f"redirect_port={port}",
        )  # fmt: skip
        refused = shell.run("token", "get", "fax.pop", "--flow", "browser", code=1)
    assert f"The port {port} that is set (redirect_port) cannot be opened" in refused


def test_a_damaged_store_is_reported_and_kept(shell: Shell) -> None:
    shell.run("set", "fax.pop", "client_secret=abc", "authentication=oauth2")
    stored = shell.home / "vault" / "fax-pop.json"
    stored.write_bytes(b"garbage")
    [row] = shell.json("token", "status", "fax.pop")
    assert row["token"] == "Not Retrieved"
    assert (row["health"]["state"], row["health"]["cause"]) == ("unreadable", "token_store_unreadable")
    assert stored.read_bytes() == b"garbage"


def test_a_copied_home(shell: Shell, provider: Provider) -> None:
    """Both run on the same machine; the first one's token lives, and the copy says what is wrong."""
    configure(shell, "fax.pop", provider, client_id="alice", scopes="mail.pop mail.send", flow="app")
    shell.run("set", "fax.pop", "client_secret=-", typed="alice-secret\n")
    shell.run("token", "get", "fax.pop")
    store = Records(shell.home).tokens.store("fax-pop")
    grant = anyio.run(store.load)
    assert grant is not None
    # As by a flow in which a person signs in; an application that signs in by itself may be copied.
    anyio.run(store.save, replace(grant, flow="paste", refresh_token=Secret("of the first device")))
    copy = Shell(shell.home.with_name("copy"))
    subprocess.run(["cp", "-a", str(shell.home), str(copy.home)], check=True)

    [status] = copy.json("token", "status", "fax.pop")
    assert (status["token"], status["health"]["state"], status["health"]["cause"]) == (
        "Retrieved",
        "needs_token",
        "home_copied",
    )
    [row] = [row for row in copy.json("slots") if row["slot"] == "fax.pop"]
    assert row["health"]["cause"] == "home_copied"
    assert "copied" in copy.run("token", "status", "fax.pop")
    [status] = shell.json("token", "status", "fax.pop")
    assert status["health"]["state"] == "ok"

    assert "--yes" in copy.run("token", "moved", code=2)
    assert "fax.pop is renewed here" in copy.run("token", "moved", "--yes")
    assert copy.json("token", "status", "fax.pop")[0]["health"]["state"] == "ok"
    assert "no token" in copy.run("token", "moved", "print.pop", "--yes")


def test_a_token_that_may_be_blocked_is_told_before(shell: Shell) -> None:
    shell.run(
        "set", "fax.pop", "provider=microsoft365", "account=a@example.com", "client_id=id", "tenant=contoso.example"
    )
    shell.run("set", "fax.pop", "authentication=oauth2")
    grant = Grant(
        flow="device",
        access_token=Secret("access"),
        expires_at=time.time() + 3600,
        refresh_token=Secret("refresh"),
        scopes=("https://outlook.office.com/POP.AccessAsUser.All",),
        obtained_at=1_780_000_000,
        renewed_at=time.time(),
        client_id="id",
        tenant="contoso.example",
    )
    store = Records(shell.home).tokens.store("fax-pop")
    anyio.run(store.save, grant)
    [row] = [row for row in shell.json("slots") if row["slot"] == "fax.pop"]
    [status] = shell.json("token", "status", "fax.pop")
    for health in (row["health"], status["health"]):
        assert (health["state"], health["cause"], health["topics"]) == ("ok", None, ["blockable_flow"])
        assert (health["flow"], health["client_id"], health["tenant"]) == ("device", "id", "contoso.example")
        assert health["obtained_at"] == "2026-05-28T20:26:40+00:00"
        assert health["flow_can_be_blocked"] is True
    # It stays so with another key, and where settings come from another device.
    shell.run("token", "rotate-key")
    exported = shell.home.with_name("exported.json")
    exported.write_text(shell.run("export"))
    shell.run("import", str(exported), "--yes")
    [status] = shell.json("token", "status", "fax.pop")
    for kept in ("flow", "client_id", "tenant", "obtained_at", "flow_can_be_blocked"):
        assert status["health"][kept] == health[kept]
    assert "may be blocked" in shell.run("slots")
    said = shell.run("token", "status", "fax.pop")
    assert "can then no longer be renewed" in " ".join(said.split())
    assert 'mailslot_token_flow_can_be_blocked{record="fax-pop",flow="device"} 1' in shell.run("metrics")

    anyio.run(store.save, replace(grant, flow="browser"))
    assert "may be blocked" not in shell.run("slots")
    assert 'mailslot_token_flow_can_be_blocked{record="fax-pop",flow="browser"} 0' in shell.run("metrics")
