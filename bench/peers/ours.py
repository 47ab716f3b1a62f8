"""mailslot, through its public API."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from functools import partial
from io import FileIO
from time import perf_counter
from typing import TYPE_CHECKING

import anyio

from bench.task import HOST, SENDER, Task, message
from mailslot import Endpoint, MailError, Password, Security, Submission, connect_pop3, connect_smtp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def submit(task: Task) -> dict[str, float]:
    return anyio.run(_submit, task, backend=task.backend)


def fetch(task: Task) -> dict[str, float]:
    return anyio.run(_fetch, task, backend=task.backend)


def poll(task: Task) -> dict[str, float]:
    return anyio.run(_poll, task, backend=task.backend)


def _connection(task: Task) -> tuple[Endpoint, Password | None, ssl.SSLContext | None]:
    context = None if task.mode == "default context" else ssl.create_default_context(cafile=task.ca)
    auth = Password(task.user, task.password) if task.user else None
    return Endpoint(HOST, task.port, Security(task.security)), auth, context


def _structured(task: Task) -> object:
    from mailslot.message import Attachment, Message  # noqa: PLC0415 - its memory counts only where it is used

    make = partial(Message, sender=SENDER, to=[task.recipient], subject="a scan")
    return make(attachments=[Attachment.from_path(task.path)]) if task.path else make(text=message(task.size).decode())


async def _submit(task: Task) -> dict[str, float]:
    endpoint, auth, context = _connection(task)
    prepared = message(task.size) if task.source == "octets" else None
    sessions = iter(task.sessions)

    def submission(_: int) -> Submission:
        return Submission(SENDER, [task.recipient], prepared or _structured(task))

    async def work() -> None:
        for numbers in sessions:
            async with connect_smtp(endpoint, auth, ssl_context=context, chunking=task.mode == "chunked") as smtp:
                if task.mode in {"many", "chunked"}:
                    results = await smtp.submit_many(map(submission, numbers))
                    assert not any(isinstance(result, MailError) for result in results)
                else:
                    for _ in numbers:
                        await smtp.submit(SENDER, [task.recipient], prepared or _structured(task))

    async with _measuring_gaps(task) as result:
        start = perf_counter()
        async with anyio.create_task_group() as group:
            for _ in range(task.parallel):
                group.start_soon(work)
        result["seconds"] = perf_counter() - start
    return result


@asynccontextmanager
async def _measuring_gaps(task: Task) -> AsyncGenerator[dict[str, float]]:
    """Measure the longest time for which the event loop was blocked, if a file is sent."""
    result: dict[str, float] = {}

    async def tick() -> None:
        last = perf_counter()
        while True:
            await anyio.sleep(0.002)
            now = perf_counter()
            result["gap"], last = max(result.get("gap", 0), now - last - 0.002), now

    async with anyio.create_task_group() as group:
        if task.source == "file":
            group.start_soon(tick)
        yield result
        group.cancel_scope.cancel()


async def _fetch(task: Task) -> dict[str, float]:
    endpoint, auth, context = _connection(task)
    start = perf_counter()
    async with connect_pop3(endpoint, auth, ssl_context=context) as pop:
        async for retrieval in pop.retrieve_many(await pop.listing()):
            with FileIO(f"{task.folder}/{retrieval.entry.number}", "wb") as file:
                async for octets in retrieval:
                    file.write(octets)
    return {"seconds": perf_counter() - start}


async def _poll(task: Task) -> dict[str, float]:
    endpoint, auth, context = _connection(task)
    start = perf_counter()
    async with connect_pop3(endpoint, auth, ssl_context=context) as pop:
        await pop.listing()
    return {"seconds": perf_counter() - start}
