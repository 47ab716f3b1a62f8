"""``mailslot test`` as an administrator types it, and what ``mailslot slots`` remembers of it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from datetime import datetime
from functools import partial
from operator import add
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from command_line import mailslot
from diagnosis.device import SCANNER, Device
from diagnosis.scenarios import POP, SMTP, black_hole
from mailslot.diagnosis.stages import STAGES
from mailslot_plugins.sandbox import Fault, run_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mailslot_plugins.sandbox import Sandbox

CODE = "import sys; sys.argv[0] = 'mailslot'; from mailslot.cli import main; main()"
COMMAND = [sys.executable, "-W", "error", "-c", CODE]


@pytest.fixture
def anyio_backend() -> str:
    """The command is a process of its own, so one is enough for the sandbox."""
    return "asyncio"


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "home")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with run_sandbox() as running:
        yield running


class Shell:
    """Runs the command, and keeps all that it printed."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.environment = {**os.environ, "MAILSLOT_HOME": str(device.home), "COLUMNS": "120", "TERM": "xterm"}

    async def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        ran = await anyio.to_thread.run_sync(partial(mailslot, *arguments, **self.environment))
        assert ran.returncode == code, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        assert "\x1b" not in ran.stdout + ran.stderr
        for secret in self.device.secrets:
            assert secret not in ran.stdout + ran.stderr
        return ran

    async def json(self, *arguments: str, code: int = 0) -> Any:
        ran = await self.run(*arguments, "--json", code=code)
        assert ran.stderr in {
            "",
            "No service is running, so nothing is sent or fetched. Start it with: mailslot serve\n",
        }
        return json.loads(ran.stdout)


@pytest.fixture
def shell(device: Device) -> Shell:
    return Shell(device)


async def test_success(shell: Shell, sandbox: Sandbox) -> None:
    await shell.device.set_up_slot(SMTP, sandbox)
    ran = await shell.run("test", SMTP)
    assert ran.stderr == ""
    assert "The connection works." in ran.stdout
    assert re.findall(r"(\w+) +✓ +[0-9,]+ ms", ran.stdout) == [*STAGES[:-1]]
    assert "C: " not in ran.stdout
    assert not sandbox.submissions


async def test_json(shell: Shell, sandbox: Sandbox) -> None:
    await shell.device.set_up_slot(SMTP, sandbox)
    [found] = await shell.json("test", SMTP, "--send")
    assert (found["slot"], found["ok"], found["stage"], found["cause"]) == (SMTP, True, None, "ok")
    assert [stage["name"] for stage in found["stages"]] == [*STAGES]
    assert all(stage["ok"] is True and isinstance(stage["seconds"], float) for stage in found["stages"])
    assert (found["actor"], found["token_helps"]) == (None, False)
    [submission] = sandbox.submissions
    assert submission.recipients[0].address == SCANNER


async def test_failure(shell: Shell, sandbox: Sandbox) -> None:
    await shell.device.set_up_slot(SMTP, sandbox, valid=False)
    sandbox.provider.clients.clear()
    ran = await shell.run("test", SMTP, code=1)
    sentence = ran.stderr.strip()
    assert "\n" not in sentence
    out = ran.stdout
    assert sentence in out
    assert out.index("Who must act:") < out.index("Get Token:") < out.index("The dialogue")
    assert "C: AUTH OAUTHBEARER" in out
    assert "•••" in out
    assert re.search(r"token +✗", out)
    [found] = await shell.json("test", SMTP, code=1)
    assert found["message"] == sentence
    assert found["stage"] == "token"
    assert any(line.startswith("C: AUTH") for line in found["transcript"])


async def test_slots_of_one_record_are_tested_once(shell: Shell, sandbox: Sandbox) -> None:
    await shell.device.set_up_slot(SMTP, sandbox)
    await shell.device.set_up_slot(POP, sandbox)
    found = await shell.json("test", "network.quick", POP, "install.quick", "network.quick")
    assert [result["slot"] for result in found] == ["network.quick", POP, "install.quick"]
    assert all(result["ok"] for result in found)
    assert sorted(dialogue.protocol for dialogue in sandbox.dialogues) == ["pop3", "smtp"]


async def test_several_slots_at_once(shell: Shell, sandbox: Sandbox) -> None:
    with black_hole() as endpoint:
        slots = [SMTP, "alert.smtp", POP, "print.pop", "status.pop"]
        for slot in slots:
            await shell.device.set_up_slot(slot, sandbox, server=endpoint.host, port=endpoint.port, timeout=5)
        ran = await shell.run("test", *slots, "--json", code=1)
    found = json.loads(ran.stdout)
    assert [result["slot"] for result in found] == slots
    # The last one began before the first had ended.
    begun = [datetime.fromisoformat(result["at"]).timestamp() for result in found]
    spent = [sum(stage["seconds"] for stage in result["stages"]) for result in found]
    assert max(begun) <= min(map(add, begun, spent))


async def test_another_language(shell: Shell, device: Device) -> None:
    english = await shell.json("test", SMTP, code=1)
    german = await shell.json("test", SMTP, "--language", "de", code=1)
    assert english[0]["cause"] == german[0]["cause"] == "not_configured"
    assert english[0]["message"] != german[0]["message"]
    (device.home / "mailslot.toml").write_text('[device]\nlanguage = "de"\n')
    assert (await shell.json("test", SMTP, code=1))[0]["message"] == german[0]["message"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "SLOT"),
        (["network.smpt"], "Did you mean network.smtp?"),
        ([SMTP, "no.such"], "no.such"),
        ([SMTP, "--language", "tlh"], "tlh"),
        ([SMTP, "--sendd"], "--sendd"),
    ],
)
async def test_wrong_usage(shell: Shell, arguments: list[str], says: str) -> None:
    ran = await shell.run("test", *arguments, code=2)
    assert says in ran.stderr
    assert ran.stdout == ""
    assert not (shell.device.home / "history").exists()


async def test_an_unwritable_home(shell: Shell, device: Device) -> None:
    device.home.mkdir()
    (device.home / "history").write_text("a file where a folder should be")
    [found] = await shell.json("test", SMTP, code=1)
    assert found["cause"] == "not_configured"


async def test_test_results_are_remembered(shell: Shell, sandbox: Sandbox) -> None:
    await shell.device.set_up_slot(SMTP, sandbox)
    assert {row["slot"]: row["last_test"] for row in await shell.json("slots")}[SMTP] is None
    await shell.run("test", "install.quick")
    worked = (await shell.json("slots"))[0]["last_test"]
    assert (worked["ok"], worked["stage"], worked["cause"]) == (True, None, "ok")
    assert worked["at"] == worked["worked_at"]
    shell.device.set(SMTP, sender_name="Copier")
    assert (await shell.json("slots"))[0]["last_test"]["outdated"] is False
    shell.device.set(SMTP, server="mail.invalid")
    assert (await shell.json("slots"))[0]["last_test"]["outdated"] is True
    await shell.run("test", SMTP, code=1)
    rows = {row["slot"]: row["last_test"] for row in await shell.json("slots")}
    assert rows[SMTP] == rows["install.quick"]
    assert (rows[SMTP]["ok"], rows[SMTP]["stage"], rows[SMTP]["cause"]) == (False, "resolve", "name_not_found")
    assert rows[SMTP]["worked_at"] == worked["at"]
    assert rows[POP] is None
    shown = (await shell.run("slots")).stdout
    assert "worked until" in " ".join(shown.replace("│", " ").split())


async def test_live_progress_on_a_terminal(shell: Shell, sandbox: Sandbox) -> None:
    await shell.device.set_up_slot(SMTP, sandbox)
    ours, theirs = pty.openpty()
    with subprocess.Popen(  # noqa: ASYNC220 - starting it blocks for no time that matters here
        [*COMMAND, "test", SMTP], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=shell.environment
    ) as running:
        os.close(theirs)

        def read() -> bytes:
            seen = b""
            try:
                while octets := os.read(ours, 65536):
                    seen += octets
            except OSError:
                # Linux says so where the other side is closed.
                pass
            os.close(ours)
            return seen

        seen = (await anyio.to_thread.run_sync(read)).decode()
        _, errors = running.communicate()
    assert running.returncode == 0, errors
    assert errors == b""
    assert "\x1b" in seen
    assert seen.count("sign_in") > 1
    assert "The connection works." in seen


async def test_labels_are_translated(shell: Shell, sandbox: Sandbox) -> None:
    await shell.device.set_up_slot(SMTP, sandbox)
    assert "Es wurde nichts gesendet." in (await shell.run("test", SMTP, "--language", "de")).stdout
    await shell.device.set_up_slot(SMTP, sandbox, valid=False)
    sandbox.provider.clients.clear()
    output = (await shell.run("test", SMTP, "--language", "de", code=1)).stdout
    rows = re.findall(r"^(Zuständig|Token abrufen|Einzelheiten): +(?=\S)", output, re.MULTILINE)
    assert rows == ["Zuständig", "Token abrufen", "Einzelheiten"]
    assert "Who must act" not in output
    assert "Get Token" not in output
    assert "The dialogue" not in output


async def test_text_is_not_turned_into_emoji(shell: Shell, sandbox: Sandbox) -> None:
    sandbox.faults.append(Fault("sign_in", act=False, replace=b"535 5.7.8 :skull: no\r\n"))
    await shell.device.set_up_slot(SMTP, sandbox)
    assert ":skull:" in (await shell.run("test", SMTP, code=1)).stdout
