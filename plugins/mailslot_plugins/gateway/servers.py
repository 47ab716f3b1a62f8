"""The servers of listeners, with all that a session needs; loaded once a client wants to connect.

A gateway that nobody uses does without the memory of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.pop3.server import session as pop3_session
from mailslot.pop3.server.server import Pop3Server
from mailslot.smtp.server import session as smtp_session
from mailslot.smtp.server.server import SmtpServer
from mailslot_plugins.gateway.fetching import FetchingBackend
from mailslot_plugins.gateway.submission import SubmissionBackend

if TYPE_CHECKING:
    from mailslot.net.listener import Listener as OpenListener
    from mailslot.slots.gateway.listeners import Listener
    from mailslot_plugins.gateway.gateway import Gateway
    from mailslot_plugins.gateway.listener_tls import ListenerTls


def make_server(
    gateway: Gateway, settings: Listener, listener: OpenListener, tls: ListenerTls | None
) -> SmtpServer | Pop3Server:
    """Return the server of a listener, which is open.

    Args:
        gateway: what all connections share.
        settings: the listener's.
        listener: what it listens with.
        tls: its certificates; None without TLS.
    """
    context = None if tls is None else tls.context
    if settings.protocol == "POP":
        pop3 = pop3_session.SessionSettings(gateway.host, settings.security, context)
        return Pop3Server(listener, pop3, FetchingBackend(gateway))
    smtp = smtp_session.SessionSettings(gateway.host, settings.security, context)
    return SmtpServer(listener, smtp, SubmissionBackend(gateway))
