"""The examples in the README do what the README says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import mailslot.net.tls
from mailslot import MailError, NetworkError
from mailslot_plugins.sandbox import run_sandbox
from pages import ROOT, run_python

if TYPE_CHECKING:
    import pytest

README = (ROOT / "README.md").read_text(encoding="utf-8")


async def test_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_sandbox() as sandbox:
        monkeypatch.setattr(mailslot.net.tls, "default_context", sandbox.client_context)
        names = run_python(README, "README.md", smtp=sandbox.smtp.port, pop=sandbox.pop3s.port)
        page = ROOT / "fixtures" / "scan" / "page.pdf"
        scanner, alice = (sandbox.provider.issue(f"{name}@example.com").value for name in ("scanner", "alice"))
        result = await names["send_scan"](str(page), scanner)
        assert "queued" in result
        [octets] = await names["fetch_all"](alice)
        assert b"Subject: Scan from the copier on the second floor\r\n" in octets
        assert sandbox.maildrops["alice@example.com"].messages == []
        report = await names["report"](names["fetch_all"]("stale"))
        assert report.endswith("(stage sign_in, cause token_refused, try again: False)")
        assert await names["report"](names["fetch_all"](alice)) == "done"
        assert sandbox.violations == []


async def test_report_of_a_network_failure() -> None:
    names = run_python(README, "README.md", smtp=1, pop=1)

    async def work() -> None:
        raise NetworkError("No answer.", stage="connect", cause="connection_timeout", retryable=True)

    assert issubclass(NetworkError, MailError)
    assert await names["report"](work()) == "No answer.  (stage connect, cause connection_timeout, try again: True)"


def test_commands_named_in_the_readme_exist() -> None:
    for command in re.findall(r"^script/\w+", README, re.MULTILINE):
        assert (ROOT / command).is_file()
        assert (ROOT / command).stat().st_mode & 0o111
