"""The documentation: it builds, its links work, its examples run, and its claims are true."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from dataclasses import replace
from html.parser import HTMLParser
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client

import mailslot.net.tls
from generators import texts
from mailslot import StaticToken
from mailslot.causes.cause import causes
from mailslot.causes.judge import judge
from mailslot.causes.refusal import Refusal
from mailslot.causes.rules import table
from mailslot.diagnosis.catalogue import messages
from mailslot.diagnosis.catalogue import variants as in_list
from mailslot.oauth.providers import custom_provider
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.token_error_table import error_table
from mailslot.oauth.token_errors import classify_error
from mailslot.slots.gateway.table_groups import GROUPS
from mailslot.slots.section import find_section
from mailslot.slots.settings import KEYS, SECRETS
from mailslot.slots.settings_document import parse_settings_document
from mailslot.slots.slot import SLOTS
from mailslot.wire.reply import Reply
from mailslot_plugins.sandbox import demo_panel, run_sandbox
from mailslot_plugins.sandbox.demo_device import PASSWORD
from pages import PYTHON, ROOT, blocks, pages, run_python

if TYPE_CHECKING:
    from pathlib import Path

PAGES = pages()


class Html(HTMLParser):
    """The links of a page, what it loads, and where one can link to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.loaded, self.anchors = set[str](), set[str](), {"", "__top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.anchors.add(str(given["id"]))
        if tag == "a" and given.get("href"):
            self.links.add(str(given["href"]))
        if tag == "link" and given.get("rel") not in {"canonical", "next", "prev"}:
            self.loaded.add(str(given.get("href")))
        if tag in {"script", "img", "iframe", "source"} and given.get("src"):
            self.loaded.add(str(given["src"]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def built(site: Path) -> dict[Path, Html]:
    return {path: Html(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_link_has_a_target(site: Path, built: dict[Path, Html]) -> None:
    dead: list[str] = []
    for path, page in built.items():
        for link in page.links | page.loaded:
            address, anchor = urldefrag(link)
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if not re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]{2,}(/[!-~]*)?", address):
                    dead.append(f"{path.relative_to(site)}: {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = built[target].anchors if target in built else {""}
            if not target.exists() or unquote(anchor) not in known:
                dead.append(f"{path.relative_to(site)}: {link}")
    assert not dead


def test_pages_load_nothing_from_other_hosts(site: Path, built: dict[Path, Html]) -> None:
    assert [link for page in built.values() for link in page.loaded if urlsplit(link).netloc] == []
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text(encoding="utf-8")), style


def test_the_reference_has_the_whole_public_api(built: dict[Path, Html], site: Path) -> None:
    shown = built[site / "reference.html"].anchors
    missing = {f"mailslot.{name}" for name in mailslot.__all__} - shown
    assert not missing


def test_texts_of_the_generators_are_complete() -> None:
    assert set(texts.SETTINGS) == {*KEYS, *SECRETS}
    assert {name: set(each) for name, each in texts.GROUPS.items()} == {
        name: set(each.keys) for name, each in GROUPS.items()
    }


def causes_of_code(number: int) -> set[str]:
    """Return the causes of an AADSTS code at a refresh, for a token by device code and for another."""
    refusal = TokenServiceResponse(400, {"error": "invalid_grant", "error_description": f"AADSTS{number}: No."})
    return {classify_error(refusal, "refresh_token", obtained_by=flow).cause for flow in ("browser", "device")}


def test_quoted_aadsts_codes_have_the_stated_cause() -> None:
    rows = [line for text in PAGES.values() for line in text.splitlines() if line.startswith("| ") and "AADSTS" in line]
    result = [
        (number, re.findall(r"causes\.md#(\w+)", row)) for row in rows for number in re.findall(r"AADSTS(\d+)", row)
    ]
    linked = [(int(number), links) for number, links in result if links]
    assert len(linked) > 15
    assert [(number, links) for number, links in linked if not set(links) <= causes_of_code(number)] == []
    assert all(len(links) == 1 for _, links in linked)
    for cause, follows in causes().items():
        for numbers in re.findall(r"AADSTS([\d, ]+)", follows.when):
            assert {error_table().aadsts[int(number)].cause for number in re.findall(r"\d+", numbers)} == {cause}


def test_quotations_of_the_panel_are_exact() -> None:
    known = {"Allow"}  # on the page of the sandbox's provider
    for file in (ROOT / "plugins" / "mailslot_plugins").rglob("words.toml"):
        known |= {each["en"] for each in tomllib.loads(file.read_text(encoding="utf-8")).values()}
    known |= {step for slot in SLOTS for step in slot.path.split(" → ")}
    known |= {sentence for cause in causes() for sentence in in_list(messages("en")[cause]["sentence"])}
    quoted = {plain(each) for each in known}
    for page in ("docs/panel.md", "docs/tutorial.md"):
        text = PAGES[page]
        result = re.findall(r"\*\*?([^*\n]+)\*?\*", text) + re.findall(r"^\| ([^|`]+) \| [^|]+ \|$", text, re.MULTILINE)
        assert len(result) > 10
        assert [each for each in result if plain(each) not in quoted] == []


def test_quoted_server_replies_have_the_stated_cause() -> None:
    answer = re.compile(r"`(\d{3})[ -](\d\.\d+\.\d+) ?([^`]*)`")
    checked = 0
    for text in PAGES.values():
        for row in [line for line in text.splitlines() if line.startswith("| ") and answer.search(line)]:
            linked = re.findall(r"causes\.md#(\w+)", row)
            found = [Reply(int(code), enhanced, words, positive=False) for code, enhanced, words in answer.findall(row)]
            possible = set[str]().union(*map(meanings, found))
            assert possible >= set(linked), row
            checked += len(linked)
    assert checked > 10


def meanings(reply: Reply) -> set[str]:
    """What an answer may stand for, whatever the stage and the token."""
    shown = Refusal(protocol="SMTP", stage="sign_in", reply=reply, presented="token")
    found = {
        judge(replace(shown, stage=stage, presented=presented, verb=verb)).cause
        for stage, presented, verb in (
            ("sign_in", "token", ""),
            ("sign_in", "password", ""),
            ("envelope", None, "MAIL"),
            ("envelope", None, "RCPT"),
            ("data", None, ""),
        )
    }
    return found | {row.cause for row in table().refinements if found & set(row.given)}


def plain(text: str) -> str:
    return text.replace("’", "'").rstrip(".:").lower()


def test_the_output_of_the_demo_is_quoted_exactly() -> None:
    source = inspect.getsource(demo_panel)
    result = re.findall(r"^ +• (.+)$", PAGES["docs/tutorial.md"], re.MULTILINE)
    assert len(result) == 3
    assert all(each in source for each in result)
    assert f"password: {PASSWORD}" in PAGES["docs/tutorial.md"]


def test_settings_examples_are_valid() -> None:
    for text in PAGES.values():
        for block in blocks(text, "toml"):
            tables = tomllib.loads(block) if "…" not in block else {}
            if {"records", *GROUPS} & tables.keys():
                parse_settings_document(block, "the example", find_section, complete=False)


def test_python_examples_compile_and_their_imports_exist() -> None:
    for page, text in PAGES.items():
        for found in PYTHON.finditer(text):
            if found["from"]:
                continue  # tests/plugins/test_sample_plugin.py compares it with the file
            for node in ast.walk(ast.parse(compilable(found["code"]), page)):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mailslot"):
                    module = import_module(str(node.module))
                    assert all(hasattr(module, name.name) for name in node.names), (page, node.module)


def compilable(code: str) -> str:
    return "async def example():\n" + "".join(f"    {line}\n" for line in code.splitlines())


async def test_the_examples_of_the_library_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with run_sandbox() as sandbox:
        monkeypatch.setattr(mailslot.net.tls, "default_context", sandbox.client_context)
        names = run_python(PAGES["docs/library.md"], "library.md", smtp=sandbox.smtp.port, pop=sandbox.pop3s.port)
        page = str(ROOT / "fixtures" / "scan" / "page.pdf")
        given = [sandbox.provider.issue("scanner@example.com").value.reveal() for _ in range(2)]
        sandbox.provider.revoke(given[0])
        moments = iter(range(0, 10_000, 7))

        async def get() -> tuple[str, float]:
            return given.pop(0), 3600.0

        source = names["FromService"](get, lambda: next(moments))
        await names["send_scans"]([page, page], source)
        assert not given, "the token that is dead was not asked for anew"
        kept = BytesIO()
        await names["fetch_all"](
            StaticToken(sandbox.provider.issue("alice@example.com").value), lambda _: nullcontext(kept)
        )
        assert kept.getvalue().count(f"Subject: Scan of {page}".encode()) == 2
        assert sandbox.maildrops["alice@example.com"].messages == []
        token = sandbox.provider.issue("scanner@example.com").value.reveal()
        result = await names["say_hello"](token)
        assert "C: QUIT" in result
        assert token not in "".join(result)
        rotated: list[object] = []

        async def keep(refresh_token: object) -> None:
            rotated.append(refresh_token)

        sandbox.provider.rotation = "strict"
        client = sandbox.provider.register("your-client-id")
        issued = sandbox.provider.complete_sign_in("scanner@example.com", client, ("mail.send", "offline_access"))
        token_service = custom_provider(token_endpoint=f"{sandbox.issuer}/token")
        await names["send_by_refresh_token"](token_service, [page], issued.refresh_token, keep)
        assert len(rotated) == 1
        held = {"access_token": token, "token_type": "Bearer"}
        async with AsyncOAuth2Client("your-client-id", token=held) as authlib_client:
            await names["send_by_authlib"]([page], authlib_client)
        assert await names["report"](names["say_hello"](token)) == "done"
        assert (await names["try_it"]()).endswith(b"Subject: Hello\r\n\r\nHello.\r\n")
        refused = await names["report"](names["say_hello"]("stale"))
        assert refused.endswith("[sign_in, token_refused: somebody has to act]")
        assert capsys.readouterr().out == ""

        async def fails() -> tuple[str, float]:
            raise OSError

        await source.forget()
        source = names["FromService"](fails, lambda: 0)
        refused = await names["report"](names["send_scans"]([page], source))
        assert refused.endswith("[token, token_service_unreachable: try again later]")
        assert sandbox.violations == []
