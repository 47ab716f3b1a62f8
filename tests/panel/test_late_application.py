"""The pages are loaded for the first request, and once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import pytest

from mailslot_plugins.panel.late_application import LateApplication

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Making:
    """Makes an application that counts its requests, but fails at first."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.made, self.requests = failures, 0, 0

    def __call__(self) -> ASGIApp:
        self.made += 1
        if self.made <= self.failures:
            raise OSError("the disk is gone")
        return self.answer

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1


async def nothing() -> Message:
    return {"type": "http.disconnect"}


async def discard(message: Message) -> None:
    del message


async def test_many_first_requests_load_it_once() -> None:
    making = Making()
    application = LateApplication(making)
    assert making.made == 0
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(application, {"type": "http"}, nothing, discard)
    assert (making.made, making.requests) == (1, 5)


async def test_loading_is_tried_again_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    making = Making(failures=1)
    application = LateApplication(making)
    with caplog.at_level(logging.ERROR), pytest.raises(OSError, match="the disk is gone"):
        await application({"type": "http"}, nothing, discard)
    assert "The panel cannot be loaded: OSError" in caplog.text
    await application({"type": "http"}, nothing, discard)
    assert (making.made, making.requests) == (2, 1)
