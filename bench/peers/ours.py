"""mailslot, by its public face."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import anyio

from bench.task import HOST, SENDER, Task
from mailslot import Endpoint, MailError, Password, Security, Submission, connect_pop3, connect_smtp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def submit(task: Task) -> dict[str, float]:
    return anyio.run(_submit, task, backend=task.backend)


def fetch(task: Task) -> dict[str, float]:
    return anyio.run(_fetch, task, backend=task.backend)


def poll(task: Task) -> dict[str, float]:
    return anyio.run(_poll, task, backend=task.backend)


def _where(task: Task) -> tuple[Endpoint, Password | None, ssl.SSLContext | None]:
    context = None if task.way == "default context" else ssl.create_default_context(cafile=task.ca)
    auth = Password(task.user, task.password) if task.user else None
    return Endpoint(HOST, task.port, Security(task.security)), auth, context


def _message(task: Task) -> object:
    if task.source == "octets":
        return task.octets()
    from mailslot.message import Attachment, Message  # noqa: PLC0415 - not to count its memory where it is not used

    parts = {"sender": SENDER, "to": [task.recipient], "subject": "a scan"}
    if task.source == "file":
        return Message(**parts, attachments=[Attachment.from_path(task.path)])
    return Message(**parts, text=task.octets().decode())


async def _submit(task: Task) -> dict[str, float]:
    endpoint, auth, context = _where(task)
    ready = _message(task) if task.source != "file" else None
    sessions = iter(task.sessions)

    async def work() -> None:
        for numbers in sessions:
            async with connect_smtp(endpoint, auth, ssl_context=context, chunking=task.way == "chunked") as smtp:
                if task.way in {"many", "chunked"}:
                    results = await smtp.submit_many(Submission(SENDER, [task.recipient], ready) for _ in numbers)
                    if failed := next((result for result in results if isinstance(result, MailError)), None):
                        raise failed
                else:
                    for _ in numbers:
                        await smtp.submit(SENDER, [task.recipient], ready or _message(task))

    async with _ticking(task) as result:
        start = perf_counter()
        async with anyio.create_task_group() as group:
            for _ in range(task.parallel):
                group.start_soon(work)
        result["seconds"] = perf_counter() - start
    return result


@asynccontextmanager
async def _ticking(task: Task) -> AsyncGenerator[dict[str, float]]:
    """Measure the longest time that the event loop is kept from other work, where a task is long."""
    result: dict[str, float] = {}

    async def tick() -> None:
        last = perf_counter()
        while True:
            await anyio.sleep(0.001)
            now = perf_counter()
            result["gap"] = max(result.get("gap", 0), now - last - 0.001)
            last = now

    async with anyio.create_task_group() as group:
        if task.source == "file":
            group.start_soon(tick)
        yield result
        group.cancel_scope.cancel()


async def _fetch(task: Task) -> dict[str, float]:
    endpoint, auth, context = _where(task)
    folder = Path(task.folder)
    start = perf_counter()
    async with connect_pop3(endpoint, auth, ssl_context=context) as pop:
        async for message in pop.retrieve_many(await pop.listing()):
            with (folder / str(message.entry.number)).open("wb", buffering=0) as file:
                async for octets in message:
                    file.write(octets)
    return {"seconds": perf_counter() - start}


async def _poll(task: Task) -> dict[str, float]:
    endpoint, auth, context = _where(task)
    start = perf_counter()
    async with connect_pop3(endpoint, auth, ssl_context=context) as pop:
        assert await pop.listing() == []
    return {"seconds": perf_counter() - start}
