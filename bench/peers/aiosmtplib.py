"""aiosmtplib."""

from __future__ import annotations

import asyncio
import ssl
from time import perf_counter

from aiosmtplib import SMTP

from bench.peers.standard_library import structured
from bench.task import HOST, SENDER, Task, message


def submit(task: Task) -> dict[str, float]:
    return asyncio.run(_submit(task))


async def _submit(task: Task) -> dict[str, float]:
    settings = {"hostname": HOST, "port": task.port, "use_tls": task.security == "tls"}
    settings["start_tls"] = task.security == "starttls"
    if task.mode != "default context":
        settings["tls_context"] = ssl.create_default_context(cafile=task.ca)
    if task.user:
        settings |= {"username": task.user, "password": task.password}
    ready = message(task.size) if task.source == "octets" else None
    sessions = iter(task.sessions)

    async def work() -> None:
        for numbers in sessions:
            async with SMTP(**settings) as smtp:
                for _ in numbers:
                    if ready is not None:
                        await smtp.sendmail(SENDER, [task.recipient], ready)
                    else:
                        await smtp.send_message(structured(task))

    start = perf_counter()
    await asyncio.gather(*[work() for _ in range(task.parallel)])
    return {"seconds": perf_counter() - start}
