"""Fixtures for the servers of the lab: each is started when a test first asks for it.

Where ``script/test`` installs the servers, a missing one is an error; elsewhere its tests are skipped,
and what was left out is said at the end. A test that uses one of them is marked ``lab`` by itself.
"""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import browser as browser_
from lab import dovecot as dovecot_
from lab import postfix as postfix_
from lab import postgres as postgres_
from lab import provider as provider_
from lab import scanner as scanner_
from lab import slapd as slapd_

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from trustme import LeafCert

    from lab.browser import Browser
    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.postgres import Fleet, Postgres
    from lab.provider import Provider
    from lab.slapd import Slapd

SERVERS = {"provider", "dovecot", "postfix", "postgres", "slapd", "browser"}
ROOT_ON_DEBIAN = "need root on Debian"
SETUP = "come with script/setup"


@pytest.fixture(scope="session")
def lab_folder() -> Iterator[Path]:
    """A folder that the servers' own users can reach, which no folder of pytest's is.

    Its path is short, too: that of a Unix socket has 108 octets at most.
    """
    with tempfile.TemporaryDirectory(prefix="mailslot-lab-", dir="/tmp", ignore_cleanup_errors=True) as path:
        folder = Path(path)
        folder.chmod(0o711)
        yield folder


@pytest.fixture
def server_folder(lab_folder: Path) -> Iterator[Path]:
    """A folder of the same kind for the servers of one test."""
    with tempfile.TemporaryDirectory(dir=lab_folder, ignore_cleanup_errors=True) as path:
        folder = Path(path)
        folder.chmod(0o711)
        yield folder


@pytest.fixture(scope="session")
def lab_context(client_context: ssl.SSLContext) -> ssl.SSLContext:
    """A client's context that trusts the certificate of Dovecot and Postfix, for ``localhost``."""
    return client_context


@pytest.fixture(scope="session")
def provider(lab_folder: Path) -> Iterator[Provider]:
    """The authorization server."""
    need("oidc-provider", provider_.node() is not None, SETUP)
    with provider_.start_provider(lab_folder / "provider") as server:
        yield server


@pytest.fixture(scope="session")
def dovecot(request: pytest.FixtureRequest, certificate: LeafCert) -> Iterator[Dovecot]:
    """The POP3 server."""
    need("Dovecot", dovecot_.BINARY.exists(), ROOT_ON_DEBIAN)
    folder: Path = request.getfixturevalue("lab_folder")
    provider: Provider = request.getfixturevalue("provider")
    with dovecot_.start_dovecot(folder / "dovecot", provider, certificate) as server:
        yield server


@pytest.fixture(scope="session")
def postfix(request: pytest.FixtureRequest, certificate: LeafCert) -> Iterator[Postfix]:
    """The submission server, whose mail goes to Dovecot's users."""
    need("Postfix", postfix_.BINARY.exists() and os.geteuid() == 0, ROOT_ON_DEBIAN)
    folder: Path = request.getfixturevalue("lab_folder")
    dovecot: Dovecot = request.getfixturevalue("dovecot")
    with postfix_.start_postfix(folder / "postfix", dovecot, certificate) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(lab_folder: Path) -> Iterator[Postgres]:
    """The database of fleets."""
    present = postgres_.programs() is not None and importlib.util.find_spec("psycopg") is not None
    need("PostgreSQL", present, ROOT_ON_DEBIAN)
    with postgres_.start_postgres(lab_folder / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def slapd(lab_folder: Path, certificate: LeafCert) -> Iterator[Slapd]:
    """The directory."""
    need("slapd", slapd_.BINARY.exists(), ROOT_ON_DEBIAN)
    with slapd_.start_slapd(lab_folder / "slapd", certificate) as server:
        yield server


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest, lab_folder: Path) -> Iterator[Fleet]:
    """A fleet that the tests share; each adds devices of its own."""
    server: Postgres = request.getfixturevalue("postgres")
    shared = postgres_.Fleet(server.create_database(), lab_folder / "fleet")
    yield shared
    shared.database.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    present = browser_.executable() is not None and importlib.util.find_spec("playwright") is not None
    need("Chromium", present, ROOT_ON_DEBIAN)
    with browser_.start_browser() as running:
        yield running


@pytest.fixture
def scanner(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """SANE's test scanner, ``test``."""
    need("scanimage", scanner_.PROGRAM is not None, ROOT_ON_DEBIAN)
    folder = tmp_path_factory.mktemp("scanner")
    scanner_.install(folder)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def need(part: str, present: bool, why: str) -> None:
    """Skip the test where a part is missing, or fail it where ``script/test`` has installed it."""
    if present:
        return
    if os.environ.get("MAILSLOT_LAB") == "required":
        pytest.fail(f"{part} is missing, though script/test installs it here", pytrace=False)
    pytest.skip(f"left out: {part} ({why})")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a server."""
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("lab")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and add it to the file that ``script/test`` reads at its end."""
    lines = left_out(terminalreporter.getreports("skipped"))
    if lines:
        terminalreporter.section("left out")
        for line in lines:
            terminalreporter.line(line)
    if note := os.environ.get("MAILSLOT_LEFT_OUT"):
        with Path(note).open("a") as file:
            file.writelines(f"{line}\n" for line in lines)


def left_out(reports: list[pytest.TestReport]) -> list[str]:
    """What was left out, a line for each reason: ``Dovecot, Postfix (need root on Debian): 37 tests``."""
    found: dict[str, list[str]] = {}
    for report in reports:
        if match := re.search(r"left out: (.+) \(([^()]+)\)", str(report.longrepr)):
            found.setdefault(match[2], []).append(match[1])
    return [f"{', '.join(dict.fromkeys(parts))} ({why}): {len(parts)} tests" for why, parts in found.items()]
