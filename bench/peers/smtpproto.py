"""smtpproto, which takes nothing but an EmailMessage and knows no implicit TLS."""

from __future__ import annotations

import ssl
from time import perf_counter

import anyio
from smtpproto.client import AsyncSMTPClient

from bench.peers.standard_library import structured
from bench.task import HOST, SENDER, Task


def submit(task: Task) -> dict[str, float]:
    return anyio.run(_submit, task, backend=task.backend)


async def _submit(task: Task) -> dict[str, float]:
    client = AsyncSMTPClient(HOST, task.port, ssl_context=ssl.create_default_context(cafile=task.ca))
    mail = structured(task)
    start = perf_counter()
    async with client.connect() as smtp:
        for _ in range(task.count):
            await smtp.send_message(mail, sender=SENDER, recipients=[task.recipient])
    return {"seconds": perf_counter() - start}
