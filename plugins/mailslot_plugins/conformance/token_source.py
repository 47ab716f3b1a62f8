"""Conformance tests for token sources.

A test module derives from `TokenSourceSuite`, in a class whose name begins with ``Test``, and overrides the fixtures
that create sources. The tests run on asyncio and trio, with anyio's pytest plugin.
"""

from __future__ import annotations

import inspect
import logging
import math
import time
import traceback
from dataclasses import fields, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import anyio
import pytest

from mailslot.causes.cause import causes
from mailslot.errors import MailError
from mailslot.sasl.credentials import AccessToken, TokenSource
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

CANCELLATION_TIMEOUT = 30.0
"""Seconds within which a cancelled token source must end."""


class TokenSourceSuite:
    """Tests of a token source.

    Attributes:
        renews: whether the source has another token after a refusal; False if it always returns the same one.
    """

    pytestmark = pytest.mark.anyio
    renews: ClassVar[bool] = True

    @pytest.fixture
    def source(self) -> TokenSource:
        """To be overridden: a source that has tokens."""
        raise NotImplementedError

    @pytest.fixture
    def broken(self) -> TokenSource:
        """To be overridden: a source that never has a token."""
        raise NotImplementedError

    @pytest.fixture
    def slow(self) -> TokenSource:
        """To be overridden if possible: a source that waits at least ten seconds for its token."""
        pytest.skip("this source never waits")

    @pytest.fixture
    def secrets(self) -> Sequence[str]:
        """To be overridden if there are any: the source's secrets besides its tokens."""
        return ()

    async def test_it_implements_the_protocol(self, source: TokenSource) -> None:
        """It has the coroutine functions ``token``, with the argument ``force``, and ``forget``."""
        assert isinstance(source, TokenSource)
        assert inspect.iscoroutinefunction(source.token)
        assert inspect.iscoroutinefunction(source.forget)
        force = inspect.signature(source.token).parameters["force"]
        assert force.default is False

    async def test_it_gives_a_token_that_is_valid_now(self, source: TokenSource) -> None:
        """The value is a `Secret`; the expiry time, if known, is in the future, in seconds since the epoch."""
        check_token(await source.token())
        check_token(await source.token(force=False))

    async def test_a_token_that_was_refused(self, source: TokenSource) -> None:
        """With ``force``, another token is returned if the source has one."""
        refused = await source.token()
        new = await source.token(force=True)
        check_token(new)
        if self.renews:
            assert new.value != refused.value.reveal()
            assert (await source.token()).value != refused.value.reveal()

    async def test_forgetting(self, source: TokenSource) -> None:
        """It can be called at any time and twice; afterwards there is a new token or a `MailError`."""
        await source.forget()
        await source.forget()
        try:
            check_token(await source.token())
        except MailError as error:
            check_error(error)
        await source.forget()

    async def test_several_tasks_at_once(self, source: TokenSource) -> None:
        """Each gets a token."""
        tokens: list[AccessToken] = []

        async def request(*, force: bool) -> None:
            tokens.append(await source.token(force=force))

        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(partial(request, force=number == 5))
        assert len(tokens) == 6
        for token in tokens:
            check_token(token)

    async def test_it_works_after_a_cancellation(self, source: TokenSource) -> None:
        """A call may be cancelled at any time; the next call works."""
        for seconds in (0.0, 0.001, 0.01):
            with anyio.move_on_after(seconds):
                await source.token(force=True)
        with anyio.fail_after(60):
            check_token(await source.token())

    async def test_waiting_does_not_block_and_can_be_cancelled(self, slow: TokenSource) -> None:
        """While it waits, other tasks run, and it ends soon after a cancellation."""
        returned = False

        async def request() -> None:
            nonlocal returned
            await slow.token()
            returned = True

        started_at = checked_at = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(request)
            for _ in range(10):
                await anyio.sleep(0.02)
            checked_at = anyio.current_time()
            tasks.cancel_scope.cancel()
        assert not returned, "it did not wait, or held up everything else meanwhile"
        assert checked_at - started_at < CANCELLATION_TIMEOUT, "the event loop stood still"
        assert anyio.current_time() - checked_at < CANCELLATION_TIMEOUT

    async def test_no_secret_is_shown(
        self, source: TokenSource, secrets: Sequence[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not in a log at any level, nor in the `repr` or `str` of the source, its token or its attributes."""
        caplog.set_level(logging.DEBUG)
        token = await source.token()
        forced = await source.token(force=True)
        shown = [caplog.text, repr(source), str(source), repr(token), str(token), *map(repr, attributes_of(source))]
        check_hidden("\n".join(shown), [*secrets, token.value.reveal(), forced.value.reveal()])

    async def test_there_is_no_token(
        self, broken: TokenSource, secrets: Sequence[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each call raises a `MailError` of the stage ``token``, with a known cause and one sentence."""
        caplog.set_level(logging.DEBUG)
        for force in (False, True):
            with anyio.fail_after(60), pytest.raises(MailError) as raised:
                await broken.token(force=force)
            check_error(raised.value)
            whole = "".join(traceback.format_exception(raised.value))
            check_hidden("\n".join([whole, raised.value.detail, repr(raised.value), caplog.text]), secrets)


def check_token(token: object) -> None:
    """Check that a token is an access token that is valid now."""
    assert isinstance(token, AccessToken)
    assert isinstance(token.value, Secret)
    assert token.value
    if token.expires_at is not None:
        assert math.isfinite(token.expires_at)
        assert token.expires_at > time.time()
        assert token.expires_at < time.time() + 400 * 86_400, "seconds since 1970 are wanted, not milliseconds"


def check_error(error: MailError) -> None:
    """Check an error's stage, cause and sentence."""
    assert error.stage == "token"
    assert error.cause == "invalid_input" or error.cause in causes(), "its cause is in no catalogue"
    sentence = str(error)
    assert sentence
    assert sentence[0].isupper()
    assert sentence.isprintable(), "it is one sentence, on one line"
    assert sentence.endswith((".", "!", "?", "…")) or ": " in sentence
    assert isinstance(error.retryable, bool)
    assert isinstance(error.detail, str)


def check_hidden(shown: str, secrets: Sequence[str]) -> None:
    """Check that a text contains no secret."""
    for secret in secrets:
        assert secret not in shown, "a secret is shown"


def attributes_of(source: object) -> list[object]:
    """Return the attributes of an object, which debuggers and error reports show."""
    field_values = [getattr(source, field.name, None) for field in fields(source)] if is_dataclass(source) else []
    return [*field_values, *getattr(source, "__dict__", {}).values()]
