"""aiosmtplib."""

from __future__ import annotations

import asyncio
import ssl
from time import perf_counter

from aiosmtplib import SMTP

from bench.peers.standard_library import structured
from bench.task import HOST, SENDER, Task


def submit(task: Task) -> dict[str, float]:
    return asyncio.run(_submit(task))


async def _submit(task: Task) -> dict[str, float]:
    own = {} if task.way == "default context" else {"tls_context": ssl.create_default_context(cafile=task.ca)}
    auth = {"username": task.user, "password": task.password} if task.user else {}
    ready = {"octets": task.octets, "structured": lambda: structured(task), "file": lambda: None}[task.source]()
    sessions = iter(task.sessions)

    async def work() -> None:
        for numbers in sessions:
            security = {"use_tls": task.security == "tls", "start_tls": task.security == "starttls"}
            async with SMTP(hostname=HOST, port=task.port, **security, **own, **auth) as smtp:
                for _ in numbers:
                    if isinstance(ready, bytes):
                        await smtp.sendmail(SENDER, [task.recipient], ready)
                    else:
                        await smtp.send_message(ready or structured(task))

    gap = 0.0

    async def tick() -> None:
        nonlocal gap
        last = perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = perf_counter()
            gap, last = max(gap, now - last - 0.001), now

    ticking = asyncio.ensure_future(tick()) if task.source == "file" else None
    start = perf_counter()
    await asyncio.gather(*[work() for _ in range(task.parallel)])
    result = {"seconds": perf_counter() - start}
    if ticking is not None:
        await asyncio.sleep(0.002)
        ticking.cancel()
        result["gap"] = gap
    return result
