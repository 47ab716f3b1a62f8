"""The support bundle: its contents, and that it contains no secret."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import time
import zipfile
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from mailslot.cli.output import OutputError, write_output
from mailslot.diagnosis.history import PastTest
from mailslot.diagnosis.report import make_report
from mailslot.oauth.grant import Grant, RefreshFailure
from mailslot.slots.records import Records
from mailslot.slots.section import DEVICE
from mailslot.smtp.content import to_content
from mailslot.spool.job import NewJob
from mailslot.spool.spool import Spool
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

NOW = time.time()


def jwt(**claims: object) -> str:
    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'RS256'})}.{part(claims)}.c2lnbmF0dXJlLWtlcHQtc2VjcmV0LTEyMzQ1Ng"


ACCESS = jwt(
    iss="https://sts.example/",
    aud="https://outlook.office.com",
    scp="SMTP.Send",
    upn="scan@example.com",
    name="Erika Mustermann",
    oid="8c3b1f6e-user-object-id",
    exp=NOW + 3600,
    appid="client-1",
    tid="tenant-1",
)
SECRETS = {
    "password": "hunter2!Kz",
    "password in braces": '{"d":"5Gx8braceSecret0412"}',
    "client_secret": "Q~8Zk3xW7rT5vN1mL.pQ2sD4fG6hJ0_a~b",
    "access": ACCESS,
    "refresh": "1//09aB-cD_eF3gH5iJ7kL9mN1oP3qR5sT7uV9wX",
    "previous": "0.AXkA-Zu8yXv6wUt4sRq2pOn-9f8e7d6c5b4a",
    "webhook": "https://hooks.example/services/T0K3N-in-the-path-5521",
    "argument": "command-line-secret-77aa88bb",
    "userinfo": "user-info-secret-31415926",
    "query": "query-secret-27182818",
    "environment": "environment-secret-16180339",
}


def forms(secret: str) -> set[str]:
    """Return every way in which a secret could stand in a file, without what is neither letter nor digit."""
    octets = secret.encode()
    written = {secret, quote(secret, safe=""), octets.hex(), json.dumps(secret)}
    for lead in range(3):
        coded = base64.b64encode(b"x" * lead + octets).decode()
        written.add(coded[4 if lead else 0 : -4])
    return {"".join(filter(str.isalnum, form.casefold())) for form in written}


def leaks(bundle: bytes, secrets: dict[str, str]) -> list[str]:
    """Return which secrets are in a zip file, whole or twelve characters of them, however cut."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as files:
        contents = [files.read(name).decode() for name in files.namelist()] + [*files.namelist()]
    found: list[str] = []
    for text in contents:
        plain = "".join(filter(str.isalnum, text.casefold()))
        for name, secret in secrets.items():
            for form in forms(secret):
                size = min(12, len(form))
                if any(form[at : at + size] in plain for at in range(len(form) - size + 1)):
                    found.append(f"{name}: {form}")
    return found


def read(bundle: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(bundle)) as files:
        assert files.testzip() is None
        texts = {name.removeprefix("mailslot-report/"): files.read(name).decode() for name in files.namelist()}
    return {name: json.loads(text) if name.endswith(".json") else text for name, text in texts.items()}


def remember(home: Path, record: str, *past: PastTest) -> None:
    (home / "history").mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(asdict(one)) for one in past]
    (home / "history" / f"{record}.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture
async def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Records:
    """A device with a secret wherever one could get, even where none may."""
    home = tmp_path / "home"
    for name in ("MAILSLOT_TOKEN", "PASSWORD"):
        monkeypatch.setenv(name, SECRETS["environment"])
    records = Records(home)
    values = {
        "provider": "microsoft365",
        "account": "scan@example.com",
        "authentication": "oauth2",
        "token_source": f"command /opt/token --key={SECRETS['argument']}",
        "issuer": f"https://me:{SECRETS['userinfo']}@idp.example/x?key={SECRETS['query']}",
        "sender_name": f"Copier {SECRETS['refresh']}",
    }
    kept = {name: Secret(SECRETS[name]) for name in ("password", "client_secret")}
    records.change("smtp", values, kept)
    records.change("fax-pop", {"server": "pop.example.com"}, {"password": Secret(SECRETS["password"])})
    records.change("print-pop", {}, {"password": Secret(SECRETS["password in braces"])})
    records.settings.change_section(DEVICE, {"name": "Copier", "webhook": SECRETS["webhook"]})
    failure = RefreshFailure("token_service_busy", "It was busy.", f"said {SECRETS['refresh'][:20]}", NOW, NOW + 60)
    grant = Grant(
        flow="device",
        access_token=Secret(ACCESS),
        expires_at=NOW + 3600,
        refresh_token=Secret(SECRETS["refresh"]),
        previous_refresh_token=Secret(SECRETS["previous"]),
        scopes=("SMTP.Send",),
        obtained_at=NOW - 100,
        renewed_at=NOW - 50,
        account="scan@example.com",
        skew=-412.5,
        failure=failure,
    )
    await records.tokens.store("smtp").save(grant)
    spoken = f"user=scan@example.com\x01auth=Bearer {ACCESS}\x01\x01"
    transcript = (
        "S: 220 ready",
        f"C: AUTH XOAUTH2 {base64.b64encode(spoken.encode()).decode()}",
        f"S: 535 you sent {SECRETS['refresh']}",
        f"S: {quote(SECRETS['client_secret'], safe='')}",
        f"S: {SECRETS['client_secret'].encode().hex()}",
        *(f"S: {SECRETS['previous'][at : at + 6]}" for at in range(0, len(SECRETS["previous"]), 6)),
        f"C: PASS {SECRETS['password']}",
        f"C: PASS {SECRETS['password in braces']}",
        "C: QUIT",
    )
    facts = {"account": "scan@example.com", "words": SECRETS["previous"]}
    past = PastTest(
        NOW - 60, "network.smtp", False, "sign_in", "unknown", facts, f"d {SECRETS['refresh']}", 1.5, transcript
    )
    remember(home, "smtp", PastTest(NOW - 90, "network.smtp", True, None, "ok", {}, "", 0.5), past)
    async with Spool(home) as spool:
        job = NewJob("scan", "smtp", "scan@example.com", ["to@example.com"])
        await spool.accept(job, to_content(b"Subject: x\r\n\r\nhello\r\n"))
    return records


async def test_no_secret_is_in_the_report(device: Records) -> None:
    bundle = await make_report(device, NOW)
    key = (device.home / "key").read_text().split()[0]
    assert leaks(bundle, {**SECRETS, "key": key, "key in hex": base64.b64decode(key).hex()}) == []
    whole = str(read(bundle))
    for personal in ("Mustermann", "user-object-id", "to@example.com", "hello"):
        assert personal not in whole


@pytest.mark.parametrize("name", SECRETS)
def test_the_search_for_secrets_finds_planted_ones(name: str) -> None:
    """What the test above looks for is found where it is."""
    secret = SECRETS[name]
    basic = base64.b64encode(f"\0user\0{secret}".encode()).decode()
    cut = "\n".join(secret[at : at + 6] for at in range(0, len(secret), 6))
    for form in (secret, secret.upper(), secret[:18], secret.encode().hex(), quote(secret, safe=""), basic, cut):
        inside = io.BytesIO()
        with zipfile.ZipFile(inside, "w") as files:
            files.writestr("x", f"before {form} behind")
        assert leaks(inside.getvalue(), {name: secret}), form


async def test_the_contents_of_the_report(device: Records) -> None:
    found = read(await make_report(device, NOW))
    assert set(found) == {
        "README.txt", "versions.json", "settings.json", "slots.json", "tokens.json", "tests.json", "queue.json",
        "transcripts/smtp.txt",
    }  # fmt: skip
    for name in found:
        assert name.partition("/")[0] in found["README.txt"]
    versions = found["versions.json"]
    assert versions["mailslot"]
    assert versions["openssl"].startswith("OpenSSL")
    assert "anyio" in versions["packages"]
    smtp = found["settings.json"]["records"]["smtp"]
    assert smtp["settings"]["server"] == "smtp.office365.com"
    assert smtp["from"]["server"] == "Microsoft 365"
    assert smtp["secrets"] == {"password": True, "client_secret": True}
    assert smtp["settings"]["token_source"] == "command …"
    assert smtp["settings"]["issuer"] == "https://idp.example/x?…"
    assert found["settings.json"]["sections"]["device"]["settings"]["webhook"] == "set, and left out here"
    assert found["settings.json"]["sections"]["device"]["settings"]["name"] == "Copier"
    assert [row["slot"] for row in found["slots.json"] if row["token"] == "Retrieved"] == [
        "network.smtp", "network.quick", "install.quick",
    ]  # fmt: skip
    token = found["tokens.json"]["smtp"]
    assert token["clock_of_the_provider_is_ahead_by_seconds"] == -412.5
    assert token["claims"]["audience"] == ["https://outlook.office.com"]
    assert token["claims"]["names_the_account"] is True
    assert [(test["ok"], test["cause"]) for test in found["tests.json"]["smtp"]] == [(False, "unknown"), (True, "ok")]
    assert found["queue.json"]["jobs"]["queued"] == 1
    result = found["transcripts/smtp.txt"].splitlines()
    assert result[2:4] == ["S: 220 ready", "•••"]
    assert result[-1] == "C: QUIT"


async def test_an_empty_device(tmp_path: Path) -> None:
    home = tmp_path / "home"
    found = read(await make_report(Records(home), NOW))
    assert set(found) == {"README.txt", "versions.json", "settings.json", "slots.json"}
    assert not home.exists()


async def test_unreadable_parts_become_notes(device: Records) -> None:
    device.settings.path.write_text("[records.smtp]\nport = 0\nx = 1\n")
    (device.home / "vault" / "smtp.json").write_bytes(b"garbage")
    (device.home / "history" / "smtp.jsonl").write_bytes(b"\xff\n[]\n")
    (device.home / "spool" / "spool.db").unlink()
    (device.home / "spool" / "spool.db").mkdir()
    found = read(await make_report(Records(device.home), NOW))
    assert {"README.txt", "versions.json", "notes.txt"} <= set(found)
    assert ":2: [records.smtp] port is 0" in found["notes.txt"]
    assert "The token of smtp could not be read" in found["notes.txt"]
    assert "queue.json" not in found
    assert "The queue could not be read" in found["notes.txt"]
    assert leaks(await make_report(Records(device.home), NOW), SECRETS) == []


async def test_a_broken_file_while_in_use(device: Records) -> None:
    device.settings.load()
    device.settings.path.write_text("[")
    found = read(await make_report(device, NOW))
    assert "not TOML" in found["notes.txt"]


@pytest.mark.parametrize("force", [True, False])
def test_a_pipe_a_device_or_a_link_is_not_replaced(tmp_path: Path, *, force: bool) -> None:
    pipe, link, dangling, file = (tmp_path / name for name in ("pipe", "link", "dangling", "file"))
    os.mkfifo(pipe)
    file.write_bytes(b"one")
    link.symlink_to(file)
    dangling.symlink_to(tmp_path / "nowhere")
    for path in (pipe, link, dangling):
        with pytest.raises(OutputError, match="it is not a regular file, but a link, a pipe or a device"):
            write_output(path, b"two", force=force)
    assert pipe.is_fifo()
    assert (link.is_symlink(), dangling.is_symlink(), file.read_bytes()) == (True, True, b"one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file", "link", "pipe"]


def test_report_files_are_complete_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "r.zip"
    write_output(path, b"one", force=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(OutputError, match="already"):
        write_output(path, b"two", force=False)
    assert path.read_bytes() == b"one"
    write_output(path, b"two", force=True)
    assert path.read_bytes() == b"two"
    with pytest.raises(OutputError, match="there is no folder"):
        write_output(tmp_path / "nowhere" / "r.zip", b"", force=False)
    with pytest.raises(OutputError, match="folder"):
        write_output(tmp_path, b"", force=True)
    assert [each.name for each in tmp_path.iterdir()] == ["r.zip"]


def test_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    write_output(tmp_path / "r.zip", b"one", force=False)
    assert (tmp_path / "r.zip").read_bytes() == b"one"
