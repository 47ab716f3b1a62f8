"""An SMTP server: the sessions of one listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.net.mail_server import MailServer
from mailslot.smtp.server.replies import TOO_MANY_CONNECTIONS, encode_reply
from mailslot.smtp.server.session import SessionSettings, SmtpServerSession

if TYPE_CHECKING:
    from mailslot.net.accepted import AcceptedConnection
    from mailslot.net.listener import Listener
    from mailslot.net.sign_in_delay import SignInDelay
    from mailslot.smtp.server.backend import Backend


class SmtpServer(MailServer[SessionSettings]):
    """Receives mail on one listener, and hands it to a backend.

        listener = await open_listener("scan", "192.0.2.1", 587)
        server = SmtpServer(listener, SessionSettings("gate.example", Security.STARTTLS, contexts), backend)
        await server.serve()

    When it is stopped, it ends each session between transactions, with ``421 4.3.2``. If `serve` is cancelled, messages
    that are being received are discarded without a reply, so that each client sends its message again.
    """

    def __init__(self, listener: Listener, settings: SessionSettings, backend: Backend) -> None:
        """Create a server; `serve` runs it."""
        super().__init__(listener, settings, encode_reply(TOO_MANY_CONNECTIONS))
        self._backend = backend

    def _open_session(self, channel: AcceptedConnection, delay: SignInDelay) -> SmtpServerSession:
        return SmtpServerSession(channel, self.settings, self._backend, delay)
