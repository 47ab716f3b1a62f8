"""What all tests share: both event loops, and a certificate authority of their own."""

from __future__ import annotations

import ssl

import pytest
import trustme
from hypothesis import settings

pytest_plugins = ["lab.fixtures"]

# How long an example takes is up to what else the machine does.
settings.register_profile("mailslot", deadline=None)
settings.load_profile("mailslot")

LONG = frozenset(
    f"test_{name}.py" for name in ("crash", "fuzz", "poller_crash", "processes", "serve", "transcripts", "variants")
)
"""Files that take longest; begun first, none of them is what all wait for in the end."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Each asynchronous test runs twice."""
    return str(request.param)


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
