"""What all tests share: both event loops, and a certificate authority of their own."""

from __future__ import annotations

import gc
import os
import signal
import ssl
import sys
from inspect import isasyncgenfunction, iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import settings

import virtual_time as virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

pytest_plugins = ["lab.fixtures"]

# A shell without job control has what it starts in the background ignore this signal, and so would every process of the
# tests, those included that are to be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Reading the system's file of authorities takes 20 ms for each context, in the processes that tests start as well.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("authority.pem"))

# How long an example takes is up to what else the machine does. A change must not fail for an example that was drawn by
# chance, so each run draws the same ones; `script/soak` draws others each time.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

LONG = frozenset(
    f"test_{name}.py"
    for name in (
        *("accounts_in_service", "api", "api_document", "cli", "connections", "crash", "delivery", "demo"),
        *("device_commands", "docs", "fetching", "flows_in_the_lab", "fuzz", "hostile_terminal", "memory_growth"),
        *("plugins_command", "poll_loop", "poller_crash", "processes", "sample_plugin", "send_documents", "serve"),
        *("sources_for_programs", "throttle", "token", "token_commands", "token_requests", "transcripts"),
        *("worker", "workers"),
    )
)
"""Files that take longest; begun first, none of them is what all wait for in the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    """Use virtual time for the asynchronous tests of a marked module."""
    inner = obj.hypothesis.inner_test if hasattr(obj, "hypothesis") else obj
    asynchronous = collector.istestfunction(obj, name) and iscoroutinefunction(inner)
    if asynchronous and collector.get_closest_marker("virtual_time"):
        pytest.mark.usefixtures("virtual_time")(obj)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Refuse an asynchronous fixture that outlives its test's loop: the second loop's tests would run on the first."""
    asynchronous = isasyncgenfunction(fixturedef.func) or iscoroutinefunction(fixturedef.func)
    if asynchronous and fixturedef.scope != "function":
        assert _knows_its_loop(fixturedef, request), f"{fixturedef.argname} has to take anyio_backend"
    return (yield)


def _knows_its_loop(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> bool:
    if "anyio_backend" in fixturedef.argnames:
        return True
    found = (request._fixturemanager.getfixturedefs(name, request.node) for name in fixturedef.argnames)
    return any(_knows_its_loop(each[-1], request) for each in found if each)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Collect all tests without looking for garbage: there is none, and whatever is found stays to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str | tuple[str, dict[str, Any]]:
    """Each asynchronous test runs twice; where its module is marked so, in virtual time."""
    return virtual.backend(request.param) if request.node.get_closest_marker("virtual_time") else str(request.param)


@pytest.fixture(scope="module")
async def virtual_time(anyio_backend: str | tuple[str, dict[str, Any]]) -> AsyncIterator[None]:
    """Virtual time for a whole module; see `virtual_time`."""
    if isinstance(anyio_backend, str):
        # A test that another module has taken over from a marked one, to run it at servers in other processes.
        yield
        return
    async with virtual.passing(anyio_backend[1].get("clock")):
        yield


@pytest.fixture(scope="module", autouse=True)
def _confined_processes(request: pytest.FixtureRequest) -> None:
    """Have confined processes find loaded what documents take, except in the tests of these processes themselves."""
    if (process := sys.modules.get("mailslot_plugins.intake.process")) is None:
        return
    itself = "intake" in request.path.parts
    program = "mailslot_plugins.intake.fork_server" if itself else "eager_fork_server"
    if process._server.program != program:
        process._server.forget()
        process._server.program = program


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """The certificate authority that the tests trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(ca: trustme.CA) -> trustme.LeafCert:
    """A certificate for ``localhost`` and 127.0.0.1, with its key."""
    return ca.issue_cert("localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def client_context(ca: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts `ca` alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(context)
    return context


@pytest.fixture(scope="session")
def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context with `certificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
