"""Processes that refresh at once, and processes that are killed while they refresh.

Run by tests as a process of its own, since it forks: ``python crash.py PROOF FOLDER``. The token service is a child of
it; what is said of tokens here is said by fingerprint. ``python crash.py elsewhere HOME ISSUER CLIENT_ID`` does as
`at_once` at another service, with the grant that is in a home folder.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import anyio
import anyio.lowlevel
import pytest

from child_process import KILL_ROUNDS, fork_child, wait_for_exit
from mailslot.errors import MailError
from mailslot.oauth.grant_source import GrantSource
from mailslot.oauth.health import TokenSettings, health
from mailslot.oauth.http import TokenHttp
from mailslot.oauth.origin import bind_origin
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.timing import Clocks
from refresh import device
from refresh.service import ScriptedResponse, Service, State, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailslot.oauth.grant import Grant
    from mailslot.oauth.response import TokenServiceResponse

BACKENDS = ("asyncio", "trio")
CLIENTS = {backend: TokenHttp() for backend in BACKENDS}
"""Made once, since that takes longer than a refresh. None is used in two processes or on two loops."""
SOON = Clocks(sleep=lambda _: anyio.lowlevel.checkpoint())
"""Pauses are not waited for here; how long they are is tested elsewhere."""
SYSTEM_CALLS = ("open", "write", "fsync", "close", "replace", "unlink")


@contextmanager
def serving() -> Iterator[str]:
    """Run the token service in a child; its address."""
    service = Service()
    child = fork_child(service.serve)
    service.close()
    try:
        yield service.url
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def state(url: str) -> State:
    with urllib.request.urlopen(url) as answer:
        return State(**json.load(answer))


def begin(home: Path, url: str, **settings: object) -> Grant:
    """Obtain a grant whose access token has ended; the service is set as said."""
    with urllib.request.urlopen(f"{url}/begin", json.dumps(settings).encode()) as answer:
        access, refresh = json.load(answer)["tokens"]
    obtained = bind_origin(device.grant((access, refresh), time.time()), device.client(url))
    grant = device.expired(obtained, time.time())
    anyio.run(device.store(home).save, grant)
    return grant


def stored(home: Path) -> Grant:
    """What the disk holds; it always opens."""
    grant = anyio.run(device.store(home).load)
    assert grant is not None
    return grant


def token(
    home: Path,
    url: str,
    backend: str,
    http: TokenHttp | None = None,
    *,
    force: bool = False,
    client_id: str = "printer",
) -> str:
    """Return the fingerprint of the record's token, with newly made objects as in a new process."""
    http, client = http or CLIENTS[backend], device.client(url, client_id)

    async def give() -> str:
        store = device.store(home)
        source = GrantSource("smtp", store, device.SignedInFlow(), client, http, clocks=SOON, locate=store.locate)
        given = await source.token(force=force)
        return fingerprint(given.value.reveal())

    return anyio.run(give, backend=backend)


def at_once(folder: Path, processes: int = 8) -> None:
    """Eight processes want a token at once: one request, one token, whatever the loop, forced or not."""
    with serving() as url:
        for force, slow in ((False, 0.0), (True, 0.2), (False, 0.2), (True, 0.0)):
            home = folder / f"{force}-{slow}"
            begin(home, url, slow=slow, policy="strict")
            started = time.monotonic()
            given = started_together(home, url, processes, force=force)
            seen = state(url)
            print(f"{processes} processes, force={force}, slow={slow}: {time.monotonic() - started:.2f} s, {seen}")
            assert len(given) == processes
            assert len(set(given)) == 1
            assert (seen.asked, seen.refreshes, seen.reused) == (1, 1, 0)
            assert fingerprint(stored(home).refresh_token.reveal()) == seen.newest


def at_once_with_a_refusal(folder: Path, processes: int = 8) -> None:
    """The same where the provider does not know the refresh token when it is asked first."""
    with serving() as url:
        begin(folder / "home", url, policy="strict", say=[asdict(ScriptedResponse(400, {"error": "invalid_grant"}))])
        given = started_together(folder / "home", url, processes, force=False)
        seen = state(url)
        assert len(given) == processes
        assert len(set(given)) == 1
        assert (seen.asked, seen.refreshes, seen.reused) == (2, 1, 0)


def copies_at_once(folder: Path, copies: int = 3) -> None:
    """A home folder and its copies want a token at the same time, again and again; only the first one renews."""
    with serving() as url:
        home = folder / "home"
        begin(home, url, policy="strict")
        token(home, url, "asyncio")
        anyio.run(device.store(home).save, device.expired(stored(home), time.time()))
        others = [folder / f"copy{number}" for number in range(copies)]
        for other in others:
            subprocess.run(["cp", "-a", home, other], check=True)
        for round_ in range(3):
            children = [
                (each, fork_child(lambda each=each, backend=backend: token(each, url, backend)))
                for each in (*others, home)
                for backend in BACKENDS
            ]
            ended = [(each, wait_for_exit(child)) for each, child in children]
            assert {code for each, code in ended if each == home} == {0}
            assert {code for each, code in ended if each != home} == {1}
            seen = state(url)
            assert (seen.asked, seen.reused, seen.dead) == (2 + round_, 0, False)
            anyio.run(device.store(home).save, device.expired(stored(home), time.time()))


def elsewhere(home: Path, url: str, client_id: str) -> None:
    """The same at another service."""
    given = started_together(home, url, 8, force=False, client_id=client_id)
    print(given)
    assert len(given) == 8
    assert set(given) == {fingerprint(stored(home).access_token.reveal())}


def started_together(home: Path, url: str, processes: int, *, force: bool, client_id: str = "printer") -> list[str]:
    """Let processes ask for a token at the same time; what each was given."""
    gate, opened = os.pipe()
    answers, answered = os.pipe()

    def work(backend: str) -> None:
        os.close(opened)
        os.read(gate, 1)
        os.write(answered, f"{token(home, url, backend, force=force, client_id=client_id)}\n".encode())

    children = [fork_child(lambda number=number: work(BACKENDS[number % 2])) for number in range(processes)]
    for descriptor in (gate, opened, answered):
        os.close(descriptor)
    assert [wait_for_exit(child) for child in children] == [0] * processes
    with os.fdopen(answers) as pipe:
        return pipe.read().split()


class StepCounter:
    """Counts what a process does, and ends it at a step.

    Attributes:
        done: the names of the steps.
    """

    def __init__(self, last: int) -> None:
        self.done: list[str] = []
        self._last = last

    def step(self, name: str) -> None:
        self.done.append(name)
        if len(self.done) == self._last:
            os.write(1, f"{name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_system_calls(self) -> None:
        """Make a step of each system call that changes a disk; half of a write is done."""

        def watched(name: str, call: Callable[..., object]) -> Callable[..., object]:
            def called(*arguments: object, **options: object) -> object:
                if name == "write" and len(self.done) + 1 == self._last:
                    call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                self.step(name)
                return call(*arguments, **options)

            return called

        for name in SYSTEM_CALLS:
            setattr(os, name, watched(name, getattr(os, name)))


class SteppedHttp(TokenHttp):
    """HTTP with a step before each request and after each answer."""

    steps: StepCounter

    async def post(self, *arguments: object, **options: object) -> TokenServiceResponse:
        self.steps.step("ask")
        answer = await super().post(*arguments, **options)
        self.steps.step("answered")
        return answer


def recover(home: Path, url: str, backend: str, policy: str, before: Grant) -> bool:
    """See that a slot still works after a crash; False where the provider has ended the grant, as it must."""
    left = stored(home)
    lost = state(url).newest != fingerprint(left.refresh_token.reveal())
    error: MailError | None = None
    try:
        given = token(home, url, backend)
    except MailError as caught:
        error = caught
    after, seen = stored(home), state(url)
    if error is not None:
        # It could not be otherwise: the provider acted, and what it answered had not come to the disk.
        assert policy == "strict"
        assert lost
        assert seen.dead
        assert error.cause == "token_update_failed"
        assert (after.refresh_token, after.access_token) == (left.refresh_token, before.access_token)
        told = health(after, TokenSettings(device.ACCOUNT), device.client(url).provider, time.time())
        assert (told.state, told.cause) == ("needs_token", "token_update_failed")
        with pytest.raises(MailError):
            token(home, url, backend)
        assert state(url).asked == seen.asked, "a refusal was not remembered"
        begin(home, url)
        token(home, url, backend)
        return False
    assert policy != "strict" or not lost
    assert not seen.dead
    assert seen.newest == fingerprint(after.refresh_token.reveal())
    assert given == fingerprint(after.access_token.reveal())
    assert after.failure is None
    names = {path.name for path in home.rglob("*") if path.is_file()}
    assert names <= {"key", "key.lock", "smtp.lock", "smtp.json", "smtp.json.new"}, names
    return True


def killed_at_every_step(folder: Path) -> None:
    """A refresh is killed at each of its steps in turn, and then wanted again."""
    kill_at_every_step(folder, writes=1)


def killed_at_every_step_of_a_refusal(folder: Path) -> None:
    """The same where the provider does not know the refresh token, and knows it when it is asked once more."""
    kill_at_every_step(folder, writes=2, say=[asdict(ScriptedResponse(400, {"error": "invalid_grant"}))])


def killed_at_every_step_of_a_useless_answer(folder: Path) -> None:
    """The same where the first answer holds no access token, but a new refresh token."""
    kill_at_every_step(folder, writes=2, instead=[{"access_token": None}])


def kill_at_every_step(folder: Path, *, writes: int, **settings: object) -> None:
    with serving() as url:
        for policy in ("strict", "lax", "fixed"):
            home = folder / policy
            names: list[str] = []
            ended: list[int] = []
            for step in range(1, 1000):
                before = begin(home, url, policy=policy, **{"say": [], "instead": [], **settings})
                http = SteppedHttp()
                said, say = os.pipe()

                def work(step: int = step, http: SteppedHttp = http, home: Path = home, say: int = say) -> None:
                    os.dup2(say, 1)
                    http.steps = StepCounter(step)
                    http.steps.watch_system_calls()
                    token(home, url, BACKENDS[step % 2], http)

                child = fork_child(work)
                os.close(say)
                with os.fdopen(said) as pipe:
                    name = pipe.read().strip()
                killed = wait_for_exit(child)
                assert killed in (0, -signal.SIGKILL), name
                if killed == 0:
                    break
                names.append(name)
                if not recover(home, url, BACKENDS[step % 2], policy, before):
                    ended.append(step)
            print(f"{policy}: {step - 1} steps, {' '.join(names)}; the provider ended the grant at: {ended}")
            # Without a new refresh token there is nothing to write before the access token has come.
            assert names.count("replace") == (1 if policy == "fixed" and "instead" in settings else writes)
            asked = [index for index, name in enumerate(names) if name == "answered"]
            if policy != "strict":
                assert not ended
                continue
            # From each answer that the provider has acted for to its renaming into place, and nowhere else.
            acted = asked[1:] if "say" in settings else asked
            assert ended == [
                step for answered in acted for step in range(answered + 1, names.index("replace", answered) + 2)
            ]


def killed_at_random_times(folder: Path, rounds: int = 24 * KILL_ROUNDS) -> None:
    """Several processes renew, and are killed at any time; again and again."""
    with serving() as url:
        spent: list[float] = []
        ended = 0
        for round_ in range(rounds):
            policy = ("strict", "lax", "fixed")[round_ % 3]
            home = folder / policy
            before = begin(home, url, policy=policy, slow=0.002)
            started = time.monotonic()
            children = [
                fork_child(lambda backend=backend, home=home: token(home, url, backend)) for backend in BACKENDS
            ]
            if round_ < 6:  # to learn how long it takes
                assert [wait_for_exit(child) for child in children] == [0, 0]
                spent.append(time.monotonic() - started)
            else:
                for child in children:
                    time.sleep(random.uniform(0, max(spent)))
                    os.kill(child, signal.SIGKILL)
                # The second may find that the first was killed with the only good refresh token.
                allowed = (0, -signal.SIGKILL, 1) if policy == "strict" else (0, -signal.SIGKILL)
                assert all(wait_for_exit(child) in allowed for child in children)
            ended += not recover(home, url, random.choice(BACKENDS), policy, before)
        print(f"{rounds} rounds of {max(spent):.3f} s; the provider ended the grant in {ended} of them")


def killed_while_others_wait(folder: Path) -> None:
    """The refreshing process is killed while the service responds; the waiting ones continue."""
    with serving() as url:
        for policy in ("lax", "fixed"):
            home = folder / policy
            begin(home, url, policy=policy, slow=300)
            first = fork_child(lambda home=home: token(home, url, "asyncio"))
            while state(url).asked == 0:
                time.sleep(0.005)
            # The first one's answer is as slow as it was when it was asked for.
            urllib.request.urlopen(f"{url}/set", b'{"slow": 0}').close()
            others = [fork_child(lambda home=home, backend=backend: token(home, url, backend)) for backend in BACKENDS]
            time.sleep(0.1)
            os.kill(first, signal.SIGKILL)
            assert wait_for_exit(first) == -signal.SIGKILL
            assert [wait_for_exit(child) for child in others] == [0, 0]
            assert state(url).asked == 2
            assert state(url).newest == fingerprint(stored(home).refresh_token.reveal())


PROOFS = (
    at_once,
    at_once_with_a_refusal,
    copies_at_once,
    killed_at_every_step,
    killed_at_every_step_of_a_refusal,
    killed_at_every_step_of_a_useless_answer,
    killed_at_random_times,
    killed_while_others_wait,
)


def main(name: str, folder: str, *more: str) -> NoReturn:
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    seed = time.time_ns()
    print(f"seed {seed}", flush=True)
    random.seed(seed)
    proof = next(proof for proof in (*PROOFS, elsewhere) if proof.__name__ == name)
    proof(Path(folder), *more)
    sys.exit()


if __name__ == "__main__":
    main(*sys.argv[1:])
