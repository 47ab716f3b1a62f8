"""The broker, played on loopback, and what mailslot expects of every token source."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from mailslot.plugin import InputError, TokenSource
from mailslot_plugins.conformance.token_source import TokenSourceSuite
from mailslot_sample.broker import source


class Broker:
    """A broker.

    Attributes:
        address: where it is asked.
        given: how many tokens it gave.
        refuses: whether it gives none.
        silent: whether it does not answer.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.given = 0
        self.refuses = self.silent = False

    async def answer(self, client: SocketStream) -> None:
        async with client:
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream):  # whoever asked may have left
                await self._answer(client)

    async def _answer(self, client: SocketStream) -> None:
        await client.receive()
        if self.silent:
            await anyio.sleep(60)
        self.given += 1
        token = {"access_token": f"token-{self.given:08}", "token_type": "Bearer", "expires_in": 3600}
        refusal = {"error": "invalid_client", "error_description": "Not known here."}
        body = json.dumps(refusal if self.refuses else token).encode()
        status = b"401 Unauthorized" if self.refuses else b"200 OK"
        await client.send(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
        )


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        running = Broker(f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/token")
        tasks.start_soon(listener.serve, running.answer)
        yield running
        tasks.cancel_scope.cancel()


@pytest.fixture
def make(broker: Broker) -> Callable[[], TokenSource]:
    return partial(source, {"broker": broker.address})


class TestConformance(TokenSourceSuite):
    @pytest.fixture
    def source(self, make: Callable[[], TokenSource]) -> TokenSource:
        return make()

    @pytest.fixture
    def broken(self, make: Callable[[], TokenSource], broker: Broker) -> TokenSource:
        broker.refuses = True
        return make()

    @pytest.fixture
    def slow(self, make: Callable[[], TokenSource], broker: Broker) -> TokenSource:
        broker.silent = True
        return make()


async def test_it_asks_once(make: Callable[[], TokenSource], broker: Broker) -> None:
    made = make()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(made.token)
    assert broker.given == 1


def test_an_address_that_would_send_tokens_in_clear() -> None:
    with pytest.raises(InputError, match="https"):
        source({"broker": "http://broker.example/token"})
