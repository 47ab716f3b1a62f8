"""The documentation's sample plugin: installed, listed, selected, used, and tested with its own tests."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from mailslot.message import Message
from mailslot.service.pipeline import RetryPolicies
from mailslot.slots.records import Records
from mailslot.spool.job import NewJob
from mailslot.wire.secret import Secret
from mailslot_plugins.sandbox import run_sandbox
from panel.browser_client import BrowserClient
from panel.running_panel import run_panel
from service.sending_device import ALICE, FastClocks, run_sending_device

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"
SAMPLE = DOCS / "sample-plugin"
MAIN = "from mailslot.cli import main; main()"
USER = "print@example.com"
PACKAGE = "mailslot-sample"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is installed: a folder that Python looks into first."""
    copy = tmp_path_factory.mktemp("sample") / "plugin"
    shutil.copytree(SAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    site = copy.parent / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    # What it needs is there already, hatchling included.
    done = ran(site, *pip, "--no-deps", "--no-build-isolation", "--target", str(site), str(copy))
    assert done.returncode == 0, done.stderr
    return site


def ran(site: Path, *command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def mailslot(site: Path, home: Path, *arguments: str, code: int = 0) -> str:
    done = ran(site, sys.executable, "-c", MAIN, "--home", str(home), *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def test_its_own_tests_pass(site: Path, tmp_path: Path) -> None:
    # In a folder of its own: at its end, pytest removes old folders of other runs, and fails where one is in use.
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'pytest'}"]
    done = ran(site, sys.executable, "-m", "pytest", *options, str(SAMPLE), folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_it_is_listed_and_can_be_selected(site: Path, tmp_path: Path) -> None:
    (tmp_path / "mailslot.toml").write_text(
        f"""
        journal.report_to = "boss@example.com"
        print.printer = "dated {tmp_path}"
        [records.smtp]
        authentication = "oauth2"
        security = "tls"
        account = "scanner@example.com"
        [records.print-pop]
        maildrop_options = ["at_most=5"]
        maildrop = "limited"
        """
    )
    mailslot(site, tmp_path, "set", "network.smtp", "token_source=broker http://127.0.0.1:1/token", "submitter=logged")
    rows: list[dict[str, Any]] = json.loads(mailslot(site, tmp_path, "plugins", "--json"))
    states = {row["name"]: row["state"] for row in rows if row["distribution"] == PACKAGE}
    assert states == dict.fromkeys(("broker", "journal", "dated", "logged", "limited"), "active")
    said = mailslot(site, tmp_path, "token", "get", "network.smtp", code=1)
    assert said == "The token service 127.0.0.1:1 refuses connections.\n"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_mail_goes_through_its_pipeline(site: Path, tmp_path: Path) -> None:
    async with run_sandbox() as sandbox:
        (tmp_path / "ca.pem").write_bytes(sandbox.ca_pem)
        settings = {"server": "localhost", "port": sandbox.pop3s.port, "security": "tls", "first_poll": "all"}
        account = {"authentication": "password", "account": USER, "ca_file": str(tmp_path / "ca.pem")}
        Records(tmp_path).change("print-pop", {**settings, **account}, {"password": Secret("open sesame")})
        sandbox.maildrops[USER].add(b"From: Alice <alice@example.com>\r\nSubject: Hello\r\n\r\nHello.\r\n")
        polled = await anyio.to_thread.run_sync(mailslot, site, tmp_path, "poll", "print.pop", "--json")
        assert not sandbox.maildrops[USER].messages
    [handled] = json.loads(polled)["handled"]
    assert (handled["outcome"], handled["note"]) == ("done", "recorded")
    assert "alice@example.com\tHello\n" in (tmp_path / "journal.txt").read_text()


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sample, as this process finds it."""
    monkeypatch.syspath_prepend(str(site))
    yield
    for name in [each for each in sys.modules if each.partition(".")[0] == "mailslot_sample"]:
        del sys.modules[name]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_its_retry_schedule_is_used(tmp_path: Path) -> None:
    async with run_sending_device(tmp_path / "home", FastClocks(0)) as (box, sandbox):
        sandbox.rules.recipients[ALICE] = "451 4.7.1 Greylisted"
        jobs = [await box.accept(pipeline=name) for name in ("journal", "scan")]
        for job in jobs:
            await box.worker.deliver(job.id)
        found = [await box.job(job) for job in jobs]
        assert [job.state for job in found] == ["deferred", "deferred"]
        waits = [job.next_attempt - job.changed_at for job in found if job.next_attempt is not None]
        assert waits == [60, 30]
        policy = await RetryPolicies().of("journal")
        assert (policy.delay(2, lambda: 0.5), policy.resubmit_after) == (3600.0, None)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_panel_shows_its_page(tmp_path: Path) -> None:
    async with run_panel(tmp_path / "home") as panel, BrowserClient(panel.address) as admin:
        answer = await admin.get("/journal")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/journal")
        await admin.sign_in()

        async def page(path: str, language: str = "en") -> str:
            answer = await admin.get(path, headers={"accept-language": language})
            assert answer.status_code == 200, answer.text
            return answer.text

        assert re.search(r'<a href="/journal">.*<span>Journal</span></a>', await page("/"), re.DOTALL)
        assert '<a class="button" href="/settings/journal">' in await page("/slots/print.pop")
        assert "Journal empfangener Mails" in await page("/slots/print.pop", "de")
        assert "/settings/journal" not in await page("/slots/fax.pop")
        settings = await page("/settings/journal")
        assert "<h1>Journal of received mails</h1>" in settings
        assert '<label for="report_to">Notify</label>' in settings
        assert 'class="back" href="/journal"' in settings
        assert "Journal of received mails" in await page("/administration", "ja"), "English stands for what is missing"
        assert "Es wurde noch keine Mail aufgezeichnet." in await page("/journal", "de")
        (panel.device.home / "journal.txt").write_text("1\tx\t<b>\n")
        assert "&lt;b&gt;" in await page("/journal")
        message = Message(sender=ALICE, to=[ALICE], subject="Told", text="x")
        await panel.device.spool.accept(NewJob("journal", "smtp", ALICE, [ALICE], "Told"), message)
        assert "Journal report" in await page("/jobs")


def test_it_imports_only_mailslot_plugin() -> None:
    sources = {str(path.relative_to(SAMPLE)): path.read_text() for path in SAMPLE.rglob("*.py")}
    assert len(sources) > 10
    shown = "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / "plugins.md").read_text(), re.DOTALL))
    sources["plugins.md"] = "\n".join(line for line in shown.splitlines() if re.match(r"(from|import) mailslot", line))
    found = {
        (name, module)
        for name, source in sources.items()
        for node in ast.walk(ast.parse(source))
        for module in imported(node)
        if module.partition(".")[0] == "mailslot" and module != "mailslot.plugin"
    }
    assert found == set()


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [str(node.module)]
    return [each.name for each in node.names] if isinstance(node, ast.Import) else []


def shown() -> list[tuple[str, str]]:
    """What the documentation shows of files of the plugin: their names, and the text."""
    text = (DOCS / "plugins.md").read_text()
    return re.findall(r"<!-- from (\S+) -->\n\n```\w+\n(.*?)```", text, re.DOTALL)


def test_the_documentation_quotes_it() -> None:
    examples = shown()
    assert {name for name, _ in examples} >= {
        "pyproject.toml",
        "src/mailslot_sample/broker.py",
        "src/mailslot_sample/journal.py",
        "src/mailslot_sample/panel/page.py",
        "src/mailslot_sample/dated.py",
        "src/mailslot_sample/logged.py",
        "src/mailslot_sample/limited.py",
        "tests/test_broker.py",
    }
    for name, text in examples:
        whole = (SAMPLE / name).read_text()
        for part in text.rstrip("\n").split("\n…\n"):
            assert part.strip("\n") in whole, f"{name} has not {part}"
