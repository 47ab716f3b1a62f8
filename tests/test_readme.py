"""The examples in the README do what the README says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mailslot.net.tls
from mailslot import MailError, NetworkError
from mailslot_plugins.sandbox import run_sandbox

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def examples(**endpoints: int) -> dict[str, Any]:
    """Run the README's Python, with its servers' names and ports replaced by the sandbox's."""
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
    for server, port in endpoints.items():
        code, count = re.subn(rf'"{server}\.example\.com", [0-9]+', f'"localhost", {port}', code)
        assert count == 1
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


async def test_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_sandbox() as sandbox:
        monkeypatch.setattr(mailslot.net.tls, "default_context", sandbox.client_context)
        names = examples(smtp=sandbox.smtp.port, pop=sandbox.pop3s.port)
        page = ROOT / "fixtures" / "scan" / "page.pdf"
        scanner, alice = (sandbox.provider.issue(f"{name}@example.com").value for name in ("scanner", "alice"))
        said = await names["send_scan"](str(page), scanner)
        assert "queued" in said
        [octets] = await names["fetch_all"](alice)
        assert b"Subject: Scan from the copier on the second floor\r\n" in octets
        assert sandbox.maildrops["alice@example.com"].messages == []
        report = await names["report"](names["fetch_all"]("stale"))
        assert report.endswith("(stage sign_in, cause token_refused, try again: False)")
        assert await names["report"](names["fetch_all"](alice)) == "done"
        assert sandbox.flaws == []


async def test_report_of_a_network_failure() -> None:
    names = examples(smtp=1, pop=1)

    async def work() -> None:
        raise NetworkError("No answer.", stage="connect", cause="connection_timeout", retryable=True)

    assert issubclass(NetworkError, MailError)
    assert await names["report"](work()) == "No answer.  (stage connect, cause connection_timeout, try again: True)"


def test_commands_that_the_readme_names_exist() -> None:
    for command in re.findall(r"^script/\w+", README, re.MULTILINE):
        assert (ROOT / command).is_file()
        assert (ROOT / command).stat().st_mode & 0o111
