"""smtpproto, which takes nothing but an EmailMessage and knows no implicit TLS."""

from __future__ import annotations

import ssl
from time import perf_counter

import anyio
from smtpproto.auth import PlainAuthenticator
from smtpproto.client import AsyncSMTPClient

from bench.peers.standard_library import structured
from bench.task import HOST, SENDER, Task


def submit(task: Task) -> dict[str, float]:
    return anyio.run(_submit, task, backend=task.backend)


async def _submit(task: Task) -> dict[str, float]:
    auth = PlainAuthenticator(task.user, task.password) if task.user else None
    context = ssl.create_default_context(cafile=task.ca)
    client = AsyncSMTPClient(HOST, task.port, ssl_context=context, authenticator=auth)
    mail = structured(task)
    start = perf_counter()
    for numbers in task.sessions:
        async with client.connect() as smtp:
            for _ in numbers:
                await smtp.send_message(mail, sender=SENDER, recipients=[task.recipient])
    return {"seconds": perf_counter() - start}
