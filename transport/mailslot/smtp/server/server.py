"""An SMTP server: the sessions of one listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from mailslot.net.endpoint import Security
from mailslot.net.sign_in_delay import SignInDelay
from mailslot.smtp.server.replies import TOO_MANY_CONNECTIONS, encode_reply
from mailslot.smtp.server.session import SmtpServerSession

if TYPE_CHECKING:
    from mailslot.net.accepted import AcceptedConnection
    from mailslot.net.listener import Listener
    from mailslot.smtp.server.backend import Backend
    from mailslot.smtp.server.session import SessionSettings


class SmtpServer:
    """Receives mail on one listener, and hands it to a backend.

        listener = await open_listener("scan", "192.0.2.1", 587)
        server = SmtpServer(listener, SessionSettings("gate.example", Security.STARTTLS, contexts), backend)
        await server.serve()

    Attributes:
        listener: the listener.
        settings: how it speaks; a change applies to the next connection.
    """

    def __init__(self, listener: Listener, settings: SessionSettings, backend: Backend) -> None:
        """Make a server; `serve` runs it."""
        self.listener = listener
        self.settings = settings
        self._backend = backend
        self._delay = SignInDelay(anyio.current_time)
        self._sessions: set[SmtpServerSession] = set()
        self._stopping = False

    async def serve(self) -> None:
        """Serve until `stop` is called and the last session has ended.

        Cancellation ends it at once: messages that are being received are discarded, and nobody is told. Each client
        then sends its message again, since it got no reply.
        """
        # A client that begins with TLS cannot read a reply before it.
        too_many = b"" if self.settings.security is Security.TLS else encode_reply(TOO_MANY_CONNECTIONS)
        await self.listener.serve(self._serve_one, too_many=too_many)

    def stop(self) -> None:
        """Accept nothing more, and end each session between transactions, with ``421 4.3.2``.

        A client within a transaction may take its time; whoever cannot wait cancels `serve` after a while.
        """
        self._stopping = True
        self.listener.close()
        for session in self._sessions:
            session.stop()

    async def _serve_one(self, channel: AcceptedConnection) -> None:
        session = SmtpServerSession(channel, self.settings, self._backend, self._delay)
        self._sessions.add(session)
        if self._stopping:
            session.stop()
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
