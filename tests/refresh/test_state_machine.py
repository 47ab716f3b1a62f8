"""In any order of events, no refresh token is lost or used twice, and no refresh is wasted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from mailslot.errors import MailError
from mailslot.oauth.client import OAuthClient
from mailslot.oauth.grant_source import GrantSource
from mailslot.oauth.providers import Endpoints, Provider
from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError
from mailslot.vault.errors import unwritable_error
from mailslot.wire.secret import Secret
from refresh.device import ACCOUNT, FakeClocks, grant

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from mailslot.oauth.grant import Grant

SKEWLESS = type("SkewlessHttp", (), {"skew": 0.0})()


class MemoryStore:
    """A store without a disk, which may be full."""

    def __init__(self) -> None:
        self.kept: Grant | None = None
        self.full = False

    async def load(self) -> Grant | None:
        await anyio.lowlevel.checkpoint()
        return self.kept

    async def save(self, grant: Grant) -> None:
        await anyio.lowlevel.checkpoint()
        if self.full:
            raise unwritable_error("The disk is full.")
        self.kept = grant

    async def delete(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.kept = None

    def lock(self) -> AbstractAsyncContextManager[None]:
        return self._lock

    def new_loop(self) -> None:
        """Each step runs on a loop of its own."""
        self._lock = anyio.Lock()


class StrictProvider:
    """A provider that ends the grant when a refresh token is used twice; as a flow, so that nothing has to be sent."""

    name = "browser"

    def __init__(self, clocks: FakeClocks) -> None:
        self.clocks = clocks
        self.number = 0
        self.asked: list[float] = []
        self.reused = False
        self.broken: Remedy | None = None
        self.odd: list[str] = []
        self.ends: dict[str, float] = {}

    async def refresh(self, client: object, http: object, grant: Grant) -> Grant:
        await anyio.lowlevel.checkpoint()
        self.asked.append(self.clocks.monotonic)
        if self.broken is not None:
            raise TokenServiceError("It is broken.", cause="token_service_busy", remedy=self.broken)
        odd = self.odd.pop() if self.odd else None
        if odd == "refused":
            raise TokenServiceError("No.", cause="token_update_failed", remedy=Remedy.NEW_GRANT, error="invalid_grant")
        self.reused |= grant.refresh_token != f"rt-{self.number}"
        self.number += 1
        if odd == "useless":
            raise TokenServiceError(
                "What?",
                cause="unknown",
                remedy=Remedy.WAIT,
                response_lost=True,
                refresh_token=Secret(f"rt-{self.number}"),
            )
        access = f"at-{self.number}"
        self.ends[access] = self.clocks.monotonic + 3600
        await anyio.lowlevel.checkpoint()
        return replace(
            grant,
            access_token=Secret(access),
            expires_at=self.clocks.wall + 3600,
            renewed_at=self.clocks.wall,
            refresh_token=Secret(f"rt-{self.number}"),
        )


class RefreshMachine(RuleBasedStateMachine):
    """Processes of a device, its clocks, its disk and its provider."""

    sources = Bundle("sources")

    def __init__(self) -> None:
        super().__init__()
        self.clocks = FakeClocks(1e9)
        self.store = MemoryStore()
        self.flow = StrictProvider(self.clocks)
        self.unsaved_by: GrantSource | None = None
        self.set_since = False

    def _run(self, work: object, *arguments: object) -> object:
        async def run() -> object:
            self.store.new_loop()
            return await work(*arguments)

        return anyio.run(run)

    @initialize(target=sources)
    def first(self) -> GrantSource:
        self.store.kept = replace(grant(("at-0", "rt-0"), self.clocks.wall))
        self.flow.ends["at-0"] = self.clocks.monotonic + 3600
        return self.process()

    @rule(target=sources)
    def process(self) -> GrantSource:
        client = OAuthClient(Provider("custom", "Test", Endpoints(token="https://t.test")), "id", ACCOUNT, ("mail",))
        return GrantSource(
            "smtp", self.store, self.flow, client, SKEWLESS, clocks=self.clocks.clocks, random=lambda: 0.5
        )

    @rule(
        source=sources,
        force=st.booleans(),
        person=st.booleans(),
        tasks=st.integers(1, 5),
        cancel=st.none() | st.integers(0, 12),
    )
    def ask(self, source: GrantSource, force: bool, person: bool, tasks: int, cancel: int | None) -> None:
        if self.unsaved_by not in {None, source}:
            # What one process could not write, another cannot know: that is what the fault is told for.
            return
        newest = self.store.kept if source.unsaved is None else source.unsaved.grant
        has_previous = newest.previous_refresh_token is not None
        if newest.failure is not None and newest.failure.unconfirmed:
            # Whoever would have asked once more was cancelled. A second refusal in a row is not odd, but believed.
            self.flow.odd = [odd for odd in self.flow.odd if odd != "refused"]
        asked, odd = len(self.flow.asked), len(self.flow.odd)
        given: list[str] = []

        async def one(ignore_backoff: bool) -> None:
            try:
                token = await source.token(force=force, ignore_backoff=ignore_backoff)
            except MailError:
                return
            given.append(token.value.reveal())

        async def all_() -> None:
            async with anyio.create_task_group() as group:
                for number in range(tasks):
                    group.start_soon(one, person and number == 0)
                if cancel is not None:
                    for _ in range(cancel):
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()

        self._run(all_)
        self.unsaved_by = source if source.save_error is not None else None
        # After a refusal, it is asked once more; if that is refused as well, once with the refresh token before, which
        # a service that was restored from a backup may know. After an answer that is of no use, it is asked twice more.
        refusals = 1 + has_previous if self.flow.broken is Remedy.NEW_GRANT else 0
        assert len(self.flow.asked) <= asked + 1 + refusals + odd
        assert not self.flow.reused
        if not self.set_since:
            for access in given:
                assert self.clocks.monotonic < self.flow.ends[access]
        if cancel is None and self.flow.broken is None:
            assert len(given) == tasks or self.store.kept.failure is not None or source.save_error is not None

    @rule(seconds=st.sampled_from([1.0, 30.0, 700.0, 2900.0, 3601.0, 1e6]))
    def wait(self, seconds: float) -> None:
        self.clocks.pass_by(seconds)

    @rule(seconds=st.sampled_from([-1e9, -4000.0, -30.0, 30.0, 4000.0, 1e9]))
    def set_the_clock(self, seconds: float) -> None:
        self.clocks.wall = max(self.clocks.wall + seconds, 0.0)
        self.set_since = True

    @rule(full=st.booleans())
    def disk(self, full: bool) -> None:
        self.store.full = full

    @rule(kind=st.sampled_from([None, Remedy.WAIT, Remedy.NEW_GRANT, Remedy.UNKNOWN]))
    def provider(self, kind: Remedy | None) -> None:
        self.flow.broken = kind

    @rule(odd=st.sampled_from(["refused", "useless"]))
    def an_odd_answer(self, odd: str) -> None:
        self.flow.odd = [odd]

    @rule()
    def sign_in_again(self) -> None:
        self.flow.number += 1
        access = f"at-{self.flow.number}"
        self.flow.ends[access] = self.clocks.monotonic + 3600
        self.store.kept = grant((access, f"rt-{self.flow.number}"), self.clocks.wall)
        self.unsaved_by = None
        self.set_since = False

    @invariant()
    def the_newest_refresh_token_is_known(self) -> None:
        if self.store.kept is not None and self.unsaved_by is None:
            assert self.store.kept.refresh_token == f"rt-{self.flow.number}"
        assert not self.flow.reused


RefreshMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_refreshes = RefreshMachine.TestCase
