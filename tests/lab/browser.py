"""Headless Chromium, for what a person does."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser as Chromium
    from playwright.sync_api import Page

T = TypeVar("T")

STEP = 120_000
"""Milliseconds that a step of a page may take; most take less than 100."""

NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
"""The pages of oidc-provider want fonts from Google, which nothing here depends on."""


def executable() -> str | None:
    """Debian's Chromium, or None where it is missing."""
    return shutil.which("chromium")


class Browser:
    """A running Chromium, driven in a separate thread, so that it works with both event loops."""

    def __init__(self, chromium: Chromium, thread: ThreadPoolExecutor) -> None:
        self._chromium = chromium
        self._thread = thread

    async def visit(self, act: Callable[[Page], T]) -> T:
        """Do something on a page of a new profile, and return what came of it."""
        work = self._thread.submit(partial(self._visit, act))
        return await anyio.to_thread.run_sync(work.result)

    def _visit(self, act: Callable[[Page], T]) -> T:
        with self._chromium.new_context() as profile:
            profile.set_default_timeout(STEP)
            return act(profile.new_page())


@contextmanager
def start_browser() -> Iterator[Browser]:
    """Run Chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - where it is missing, its tests are left out

    with ThreadPoolExecutor(1, "chromium") as thread:
        playwright = thread.submit(lambda: sync_playwright().start()).result()
        try:
            launch = partial(
                playwright.chromium.launch,
                executable_path=executable(),
                args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", NO_NETWORK],
            )
            chromium = thread.submit(launch).result()
            try:
                yield Browser(chromium, thread)
            finally:
                thread.submit(chromium.close).result()
        finally:
            thread.submit(playwright.stop).result()
