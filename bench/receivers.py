"""SMTP servers that accept every message and keep none: ``python -m bench.receivers NAME [PORT]``; prints the port.

``NAME`` is ``asyncio`` or ``trio`` for ours, or ``aiosmtpd``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from mailslot import Reply, Secret
    from mailslot.smtp.server.backend import Connection, MailParameters, MessageWriter

MAX_SIZE = 200_000_000


class Discarding:
    """A backend, and the handler and the writer of every connection, that accept everything and store nothing."""

    max_size = MAX_SIZE
    offers_authentication = False

    def connected(self, connection: Connection) -> Discarding:
        return self

    async def accept(self) -> Reply | None:
        return None

    async def authenticate(self, user: str, password: Secret) -> Reply | None:
        return None

    async def mail(self, sender: str, parameters: MailParameters) -> Reply | None:
        return None

    async def recipient(self, recipient: str) -> Reply | None:
        return None

    async def begin(self) -> MessageWriter | Reply:
        return self

    async def write(self, data: bytes) -> None:
        return

    async def commit(self) -> str | Reply:
        return "1"

    async def discard(self) -> None:
        return

    async def closed(self) -> None:
        return


async def serve_ours() -> None:
    # Only what is measured is imported.
    from mailslot import Security  # noqa: PLC0415 - as above
    from mailslot.net.listener import ConnectionLimits, open_listener  # noqa: PLC0415
    from mailslot.smtp.server.server import SmtpServer  # noqa: PLC0415
    from mailslot.smtp.server.session import SessionSettings  # noqa: PLC0415

    listener = await open_listener("bench", "127.0.0.1", 0, ConnectionLimits(1_000, 1_000))
    print(listener.port, flush=True)
    await SmtpServer(listener, SessionSettings("localhost", Security.NONE), Discarding()).serve()


async def serve_aiosmtpd(port: int) -> None:
    from aiosmtpd.smtp import SMTP  # noqa: PLC0415 - as in `serve_ours`

    class Accepting:
        async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: N802 - its name
            return "250 OK"

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Accepting(), data_size_limit=MAX_SIZE), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "aiosmtpd":
        asyncio.run(serve_aiosmtpd(int(sys.argv[2]) if len(sys.argv) > 2 else 0))
    else:
        anyio.run(serve_ours, backend=sys.argv[1])
