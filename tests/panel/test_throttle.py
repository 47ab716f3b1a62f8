"""Guesses of the password, a key or the setup code: slow for an attacker, and never a lockout for the administrator."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel
import httpx2
import pytest
from anyio.to_thread import run_sync

from mailslot_plugins.panel.security import addresses, known_browser, security, throttle
from mailslot_plugins.panel.security.keys import ApiKeys
from mailslot_plugins.panel.security.password import Password
from mailslot_plugins.panel.security.throttle import Throttle, ThrottledError, WrongGuesses
from panel.browser_client import BrowserClient, words
from panel.running_panel import RunningPanel, run_panel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from mailslot.wire.secret import Secret

GENEROUS: Final = 120
"""Seconds for what takes a moment on a machine that has nothing else to do."""


class Clock:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await anyio.lowlevel.checkpoint()


async def wrong(slow: Throttle, address: str, session: str) -> None:
    async with slow.turn(address, session):
        slow.count(address, session, right=False)


# The turns


async def test_pauses_grow_and_are_forgotten(anyio_backend: str) -> None:
    clock = Clock()
    slow = Throttle(clock, clock.sleep)
    began: list[float] = []
    for _ in range(9):
        async with slow.turn("a", "s"):
            began.append(clock.now - 1000)
            slow.count("a", "s", right=False)
    assert began == [0, 0, 0, 0.5, 1.5, 3.0, 5.0, 7.0, 9.0]
    clock.now += throttle.FORGET_AFTER
    assert slow.pause == 0


async def test_many_addresses_guess_no_faster_than_one(anyio_backend: str) -> None:
    """Within 20 seconds, where each has an address of its own."""
    clock = Clock()
    slow = Throttle(clock, clock.sleep)
    guesses = 0
    while clock.now < 1020:
        await wrong(slow, f"198.51.100.{guesses}", f"s{guesses}")
        guesses += 1
    assert guesses < 16


def test_client_network() -> None:
    one = {addresses.client_network(address) for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.2")}
    assert one == {addresses.LOOPBACK}
    assert addresses.client_network("2001:db8::1") == addresses.client_network("2001:db8::ffff:2%eth0")
    assert addresses.client_network("2001:db8::1") != addresses.client_network("2001:db8:0:1::1")
    assert addresses.client_network("::ffff:192.0.2.1") == addresses.client_network("192.0.2.1") == "192.0.2.1"


async def test_clients_with_fewer_wrong_guesses_go_first(anyio_backend: str) -> None:
    clock = Clock()
    slow = Throttle(clock, clock.sleep)
    for number in range(12):
        await wrong(slow, "guesser", f"thread {number % 4}")
    order: list[str] = []
    begun = anyio.Event()
    go = anyio.Event()

    async def first() -> None:
        async with slow.turn("guesser", "thread 0"):
            begun.set()
            await go.wait()

    async def come(address: str, session: str) -> None:
        async with slow.turn(address, session):
            order.append(f"{address}, {session}")

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await begun.wait()
        for number in range(1, 4):
            group.start_soon(come, "guesser", f"thread {number}")
            await anyio.wait_all_tasks_blocked()
        group.start_soon(come, "guesser", "the administrator at the same address")
        await anyio.wait_all_tasks_blocked()
        group.start_soon(come, "elsewhere", "the administrator elsewhere")
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert order == [
        "elsewhere, the administrator elsewhere",
        "guesser, the administrator at the same address",
        *(f"guesser, thread {number}" for number in range(1, 4)),
    ]


async def test_a_full_queue_drops_the_most_wrong_guesses(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_WAITING_PER_ADDRESS", 3)
    clock = Clock()
    slow = Throttle(clock, clock.sleep)
    for _ in range(3):
        await wrong(slow, "proxy", "guesser")
    await wrong(slow, "proxy", "mistyped")
    ended: list[tuple[str, bool]] = []
    go, begun = anyio.Event(), anyio.Event()

    async def first() -> None:
        async with slow.turn("proxy", "somebody"):
            begun.set()
            await go.wait()

    async def come(session: str) -> None:
        try:
            async with slow.turn("proxy", session):
                ended.append((session, True))
        except ThrottledError:
            ended.append((session, False))

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await begun.wait()
        for session in ("mistyped", "guesser", "guesser", "new", "mistyped"):
            group.start_soon(come, session)
            await anyio.wait_all_tasks_blocked()
        # A session guesses once at a time; and the new one took the guesser's place.
        assert ended == [("guesser", False), ("guesser", False), ("mistyped", False)]
        go.set()
    assert ended[3:] == [("new", True), ("mistyped", True)]


async def test_a_turn_that_times_out(anyio_backend: str) -> None:
    """It is refused after a while, and leaves nothing behind; so is what is cancelled."""
    clock = Clock()
    slow = Throttle(clock, clock.sleep)
    await wrong(slow, "guesser", "s")
    begun = anyio.Event()

    async def overtaken() -> None:
        with pytest.raises(ThrottledError):
            async with slow.turn("guesser", "s"):
                pytest.fail("it has its turn")
        begun.set()

    async with anyio.create_task_group() as group:
        async with slow.turn("a", "a"):
            group.start_soon(overtaken)
            await anyio.wait_all_tasks_blocked()
            clock.now += throttle.MAX_WAIT
        await begun.wait()
    async with slow.turn("b", "b"):
        with anyio.move_on_after(0.01) as scope:
            await wrong(slow, "guesser", "s")
        assert scope.cancelled_caught
    await wrong(slow, "guesser", "s")
    assert slow._waiting == []


def test_guessers_cost_bounded_memory() -> None:
    counts = WrongGuesses(Clock())
    for number in range(throttle.MAX_REMEMBERED + 500):
        counts.add(str(number))
    assert len(counts) == throttle.MAX_REMEMBERED
    assert counts[str(throttle.MAX_REMEMBERED + 499)] == 1
    assert counts["0"] == 0


# The known browser


def test_the_cookie_of_a_known_browser() -> None:
    value = known_browser.make_cookie(b"key")
    name = known_browser.check_cookie(b"key", value)
    assert name == value.partition(".")[0]
    assert known_browser.check_cookie(b"another password", value) is None
    for bad in ("", ".", "x", value[:-1], f"x{value}", value.upper(), f"{name}.", f"{name}.ä", f"{name}ä.x"):
        assert known_browser.check_cookie(b"key", bad) is None
    assert known_browser.check_cookie(b"", known_browser.make_cookie(b"")) is None


# Over HTTP


@asynccontextmanager
async def guessers(panel: RunningPanel, number: int) -> AsyncGenerator[list[int]]:
    """Guess from this machine as fast as one may, in so many sessions; yields the statuses so far, some already."""
    statuses: list[int] = []

    async def guess() -> None:
        async with BrowserClient(panel.address) as client:
            client.timeout = GENEROUS
            while True:
                statuses.append((await client.sign_in("wrong")).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(number):
            group.start_soon(guess)
        with anyio.fail_after(GENEROUS):
            while len(statuses) < number:  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.01)
        yield statuses
        group.cancel_scope.cancel()


def known(client: BrowserClient) -> str:
    [value] = [str(each.value) for each in client.cookies.jar if "known" in each.name]
    return value


async def test_a_wrong_password(tmp_path: Path) -> None:
    async with run_panel(tmp_path) as panel, BrowserClient(panel.address) as client:
        wrong = await client.sign_in("something else")
        assert (wrong.status_code, "Wrong password." in words(wrong)) == (422, True)
        assert "something else" not in wrong.text
        assert not await client.is_in()


async def test_a_known_browser_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody guesses from its address. The browser is known by its cookie, after the session's end and a restart."""
    monkeypatch.setattr(throttle, "MAX_PAUSE", 3600.0)
    monkeypatch.setattr(throttle, "PAUSE_STEP", 3600.0)
    async with run_panel(tmp_path) as panel, BrowserClient(panel.address) as before:
        await before.sign_in()
        value = known(before)
    async with (
        run_panel(tmp_path, claimed=False) as panel,
        BrowserClient(panel.address) as client,
        anyio.create_task_group() as group,
    ):
        async with BrowserClient(panel.address) as guesser:
            for _ in range(throttle.FREE_GUESSES):
                assert (await guesser.sign_in("wrong")).status_code == 422
        group.start_soon(_waits, panel)
        port = panel.address.rpartition(":")[2]
        client.cookies.set(f"mailslot-known-{port}", value)
        for _ in range(throttle.TRUSTED_GUESSES - 1):
            assert (await client.sign_in("mistyped")).status_code == 422
        answer = await client.sign_in()
        assert answer.status_code == 303
        # Each sign-in gets a cookie of its own.
        assert value not in answer.headers["set-cookie"]
        assert f"mailslot-known-{port}=" in answer.headers["set-cookie"]
        group.cancel_scope.cancel()


async def test_a_stolen_cookie_is_worth_a_few_guesses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "TRUSTED_GUESSES", 4)
    async with run_panel(tmp_path) as panel, BrowserClient(panel.address) as client:
        await client.sign_in()
        value = known(client)
        turn_count = 0
        turn = Throttle.turn

        def counted(self: Throttle, address: str, session: str) -> AbstractAsyncContextManager[None]:
            nonlocal turn_count
            turn_count += 1
            return turn(self, address, session)

        monkeypatch.setattr(Throttle, "turn", counted)
        async with BrowserClient(panel.address) as thief:
            thief.cookies.set(f"mailslot-known-{panel.address.rpartition(':')[2]}", value)
            for _ in range(6):
                assert (await thief.sign_in("wrong")).status_code == 422
        assert turn_count == 2


async def _waits(panel: RunningPanel) -> None:
    async with BrowserClient(panel.address) as guesser:
        guesser.timeout = None
        await guesser.sign_in("wrong")
        pytest.fail("it was answered")


async def test_the_right_password_gets_its_turn_among_wrong_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the same address, in a browser that nobody knows."""
    monkeypatch.setattr(throttle, "MAX_PAUSE", 0.1)
    async with run_panel(tmp_path) as panel, guessers(panel, 6) as statuses:
        for _ in range(5):
            async with BrowserClient(panel.address) as client:
                client.timeout = GENEROUS
                assert (await client.sign_in()).status_code == 303
        assert set(statuses) == {422}


async def test_one_password_is_checked_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check takes megabytes and a processor: also of known browsers, and where a new one is set."""
    monkeypatch.setattr(throttle, "PAUSE_STEP", 0.0)
    now = most = 0
    verify, lock = Password.verify, threading.Lock()

    def counted(self: Password, password: Secret) -> bool:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        try:
            return verify(self, password)
        finally:
            with lock:
                now -= 1

    async with run_panel(tmp_path) as panel:
        async with BrowserClient(panel.address) as client:
            await client.sign_in()
            value = known(client)
        monkeypatch.setattr(Password, "verify", counted)
        codes: list[int] = []

        async def guess(number: int) -> None:
            async with BrowserClient(panel.address) as client:
                client.timeout = GENEROUS
                if number % 2:
                    client.cookies.set(f"mailslot-known-{panel.address.rpartition(':')[2]}", value)
                codes.append((await client.sign_in(str(number))).status_code)

        async with anyio.create_task_group() as group:
            for number in range(16):
                group.start_soon(guess, number)
    assert codes == [422] * 16
    assert most == 1


async def test_a_session_has_one_guess_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "PAUSE_STEP", 3600.0)
    monkeypatch.setattr(throttle, "MAX_PAUSE", 3600.0)
    async with run_panel(tmp_path) as panel, BrowserClient(panel.address) as client:
        for _ in range(throttle.FREE_GUESSES):
            await client.sign_in("wrong")
        token, codes = await client.token(), list[httpx2.Response]()

        async def guess() -> None:
            codes.append(await client.post("/sign-in", data={"csrf": token, "password": "wrong"}, timeout=None))
            if len(codes) == 4:
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(guess)
    for answer in codes:
        assert (answer.status_code, "Please try again in" in words(answer)) == (429, True)
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_disconnected_client_leaves_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or guesses that were sent and abandoned would take all the places of an address."""
    monkeypatch.setattr(throttle, "MAX_WAITING_PER_ADDRESS", 2)
    queues: list[Throttle] = []
    admit = Throttle._admit

    def noted(self: Throttle, guess: throttle.Guess) -> None:
        admit(self, guess)
        queues.append(self)

    monkeypatch.setattr(Throttle, "_admit", noted)
    async with run_panel(tmp_path) as panel, AsyncExitStack() as stack:
        async with BrowserClient(panel.address) as client:
            for _ in range(throttle.FREE_GUESSES):
                await client.sign_in("wrong")
        monkeypatch.setattr(throttle, "PAUSE_STEP", 3600.0)
        monkeypatch.setattr(throttle, "MAX_PAUSE", 3600.0)
        for number in range(2):
            guesser = await stack.enter_async_context(BrowserClient(panel.address))
            token = await guesser.token()
            with anyio.fail_after(GENEROUS):
                async with anyio.create_task_group() as group:
                    group.start_soon(_post, guesser, token)
                    while len(queues) < throttle.FREE_GUESSES + number + 1:  # noqa: ASYNC110 - nobody tells
                        await anyio.sleep(0.01)
                    group.cancel_scope.cancel()  # which closes the connection
        with anyio.fail_after(GENEROUS):
            while queues[0]._waiting:  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.01)


async def _post(client: BrowserClient, token: str) -> None:
    await client.post("/sign-in", data={"csrf": token, "password": "wrong"}, timeout=None)


# Keys to the API


async def test_valid_keys_do_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "PAUSE_STEP", 3600.0)
    monkeypatch.setattr(throttle, "MAX_PAUSE", 3600.0)
    async with run_panel(tmp_path) as panel, BrowserClient(panel.address) as client:
        key = (await run_sync(ApiKeys(panel.device.home, panel.device.now).make, "test")).reveal()
        right, wrong = ({"authorization": f"Bearer {each}"} for each in (key, f"{key}x"))
        for _ in range(throttle.FREE_GUESSES):
            assert (await client.get("/api/slots", headers=wrong)).status_code == 401

        refused: list[httpx2.Response] = []
        arrived = anyio.Event()

        async def ask() -> None:
            refused.append(await client.get("/api/slots", headers=wrong, timeout=None))
            arrived.set()

        async with anyio.create_task_group() as group:
            # One waits for its turn; the other is told that this is too much.
            group.start_soon(ask)
            group.start_soon(ask)
            with anyio.fail_after(GENEROUS):
                await arrived.wait()
            assert refused[0].status_code == 429
            assert refused[0].headers["content-type"] == "application/problem+json"
            assert "There were too many wrong keys." in refused[0].text
            for _ in range(20):
                assert (await client.get("/api/slots", headers=right)).status_code == 200
            # Passwords are another matter.
            assert (await client.sign_in()).status_code == 303
            assert len(refused) == 1
            group.cancel_scope.cancel()


# Memory


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it in /proc")
def test_guesses_leak_no_memory(tmp_path: Path) -> None:
    """However many threads they were checked in."""
    program = """
import re, sys, threading
from pathlib import Path
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.security.password import Password

def resident():
    return int(re.search(r"VmRSS:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1])

password = Password(Path(sys.argv[1]))
password.set(Secret("correct horse"))
before = resident()
ready = threading.Barrier(20)
turn = threading.Lock()
def guess():
    ready.wait()
    for _ in range(2):
        with turn:
            assert not password.verify(Secret("wrong"))
threads = [threading.Thread(target=guess) for _ in range(20)]
for each in threads: each.start()
for each in threads: each.join()
print(resident() - before)
"""
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 10 * 1024, ran.stdout
