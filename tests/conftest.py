"""What all tests share: both event loops, and a certificate authority of their own."""

from __future__ import annotations

import ssl

import pytest
import trustme

pytest_plugins = ["lab.fixtures"]


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
