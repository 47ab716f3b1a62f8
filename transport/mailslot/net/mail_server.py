"""A mail server on one listener, for any protocol: its sessions, and stopping them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

from mailslot.net.endpoint import Security
from mailslot.net.server_session import ServerSettings
from mailslot.net.sign_in_delay import SignInDelay

if TYPE_CHECKING:
    from mailslot.net.accepted import AcceptedConnection
    from mailslot.net.listener import Listener
    from mailslot.net.server_session import ServerSession

Settings = TypeVar("Settings", bound=ServerSettings)


class MailServer(ABC, Generic[Settings]):
    """Serves the clients of one listener.

    Attributes:
        listener: the listener.
        settings: its settings; a change applies to the next connection.
    """

    def __init__(self, listener: Listener, settings: Settings, too_many: bytes) -> None:
        """Create a server; `serve` runs it.

        Args:
            listener: the listener.
            settings: its settings.
            too_many: the reply to a client if there are too many connections.
        """
        self.listener = listener
        self.settings = settings
        self._delay = SignInDelay(anyio.current_time)
        self._too_many = too_many
        self._sessions: set[ServerSession[Any, Any]] = set()
        self._stopping = False

    @abstractmethod
    def _open_session(self, channel: AcceptedConnection, delay: SignInDelay) -> ServerSession[Any, Any]:
        """Return the session of a new connection."""

    async def serve(self) -> None:
        """Serve until `stop` is called and the last session has ended. Cancellation ends all sessions at once."""
        # With implicit TLS, a client cannot read a reply before the handshake.
        too_many = b"" if self.settings.security is Security.TLS else self._too_many
        await self.listener.serve(self._serve_one, too_many=too_many)

    def stop(self) -> None:
        """Stop accepting connections, and end each session once it is idle.

        Clients may take long; to limit the wait, cancel `serve`.
        """
        self._stopping = True
        self.listener.close()
        for session in self._sessions:
            session.stop()

    async def _serve_one(self, channel: AcceptedConnection) -> None:
        session = self._open_session(channel, self._delay)
        self._sessions.add(session)
        if self._stopping:
            session.stop()
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
