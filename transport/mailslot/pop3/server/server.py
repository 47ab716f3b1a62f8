"""A POP3 server: the sessions of one listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.net.mail_server import MailServer
from mailslot.pop3.server.replies import TOO_MANY_CONNECTIONS, encode_reply
from mailslot.pop3.server.session import Pop3ServerSession, SessionSettings

if TYPE_CHECKING:
    from mailslot.net.accepted import AcceptedConnection
    from mailslot.net.listener import Listener
    from mailslot.net.sign_in_delay import SignInDelay
    from mailslot.pop3.server.backend import Backend


class Pop3Server(MailServer[SessionSettings]):
    """Serves maildrops on one listener, from a backend.

        listener = await open_listener("fetch", "192.0.2.1", 995)
        server = Pop3Server(listener, SessionSettings("gate.example", Security.TLS, contexts), backend)
        await server.serve()

    When it is stopped, it ends the sessions in which nothing was fetched, and waits for QUIT in the others. If `serve`
    is cancelled, no further messages are deleted.
    """

    def __init__(self, listener: Listener, settings: SessionSettings, backend: Backend) -> None:
        """Create a server; `serve` runs it."""
        super().__init__(listener, settings, encode_reply(TOO_MANY_CONNECTIONS))
        self._backend = backend

    def _open_session(self, channel: AcceptedConnection, delay: SignInDelay) -> Pop3ServerSession:
        return Pop3ServerSession(channel, self.settings, self._backend, delay)
