"""A sandbox with mail in it, and sessions with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot import OAuth, Pop3Session, connect_pop3
from mailslot_plugins.sandbox import DOVECOT, run_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from mailslot_plugins.sandbox import Personality, Sandbox

USER = "scanner@example.com"


@pytest.fixture
def personality() -> Personality:
    """What the sandbox imitates; a test may parametrize it."""
    return DOVECOT


@pytest.fixture
async def sandbox(personality: Personality) -> AsyncIterator[Sandbox]:
    """A sandbox; the test fails if the sandbox had an internal error."""
    async with run_sandbox(personality=personality) as running:
        yield running
        assert not running.errors


@pytest.fixture
def open_session(sandbox: Sandbox) -> Callable[..., AbstractAsyncContextManager[Pop3Session]]:
    """Makes sessions that are signed in to the sandbox."""

    class Source:
        async def token(self, *, force: bool = False):
            return sandbox.provider.issue(USER)

        async def forget(self) -> None:
            raise NotImplementedError

    def session(**arguments) -> AbstractAsyncContextManager[Pop3Session]:
        context = sandbox.client_context()
        return connect_pop3(sandbox.pop3s, OAuth(USER, Source()), ssl_context=context, timeout=5, **arguments)

    return session
