"""The base of the conformance tests of a submitter: its sessions with the sandbox, and the messages sent in them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pytest

from mailslot.errors import (
    MailError,
)
from mailslot.sasl.credentials import OAuth
from mailslot_plugins.conformance.doubles import ListedTokenSource
from mailslot_plugins.sandbox import run_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from mailslot.sasl.credentials import Credentials
    from mailslot.slots.submitter import SubmissionSession, Submitter
    from mailslot_plugins.sandbox import Personality, Sandbox

USER: Final = "scanner@example.com"
RECIPIENT: Final = "alice@example.com"
PASSWORD: Final = "open sesame"  # noqa: S105 - the sandbox's
MESSAGE: Final = b"Subject: x\r\n\r\nHello.\r\n"
SILENCE_TIMEOUTS: Final = (0.5, 5.0, 50.0)
"""The timeouts to try against a silent server; longer ones in case a slow machine has not reached the stage yet."""


def with_offers(personality: Personality, *offers: str) -> Personality:
    """Return a personality with other EHLO keywords after TLS."""
    return replace(personality, smtp=replace(personality.smtp, capabilities_tls=("mail.test", *offers)))


class SubmitterHarness:
    """The base of all tests of a submitter.

    Attributes:
        submitter: the object that the entry point names.
        backends: the event loops that it supports.
        differences: the names of tests that it cannot pass, with the reasons; such a test must fail.
    """

    pytestmark = pytest.mark.anyio
    submitter: ClassVar[Submitter]
    backends: ClassVar[Sequence[str]] = ("asyncio", "trio")
    differences: ClassVar[Mapping[str, str]] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test on each event loop."""
        if "anyio_backend" in metafunc.fixturenames:
            metafunc.parametrize("anyio_backend", self.backends)

    @pytest.fixture(autouse=True)
    def _expect_differences(self, request: pytest.FixtureRequest) -> None:
        if reason := self.differences.get(request.node.originalname):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    async def sandbox(self) -> AsyncGenerator[Sandbox]:
        """A sandbox that behaves like Postfix."""
        async with run_sandbox() as sandbox:
            yield sandbox

    @asynccontextmanager
    async def open_session(
        self,
        sandbox: Sandbox,
        auth: Credentials | None = None,
        *,
        tls: bool = True,
        **arguments: Any,  # noqa: ANN401 - those of a submitter, and its endpoint
    ) -> AsyncGenerator[SubmissionSession]:
        """Open a session with a sandbox, by default with a valid token."""
        auth = auth or OAuth(USER, ListedTokenSource(sandbox.provider.issue(USER).value.reveal()))
        arguments = {"ssl_context": sandbox.client_context(), "timeout": 60.0, "final_timeout": 60.0, **arguments}
        endpoint = arguments.pop("endpoint", sandbox.smtps if tls else sandbox.smtp)
        async with type(self).submitter(endpoint, auth, **arguments) as session:
            yield session

    async def open_error(
        self,
        sandbox: Sandbox,
        auth: Credentials | None = None,
        **arguments: Any,  # noqa: ANN401 - likewise
    ) -> MailError:
        """Return the error of opening a session."""
        with pytest.raises(MailError) as caught:
            async with self.open_session(sandbox, auth, **arguments):
                pass
        return caught.value
