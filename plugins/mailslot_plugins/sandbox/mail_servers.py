"""The sandbox's SMTP and POP3 servers: the library's, with sessions that play the sandbox's personality."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from mailslot.net.mail_server import MailServer
from mailslot.net.server_session import ServerSettings
from mailslot.net.sign_in_delay import SignInDelay
from mailslot.pop3.server.replies import READY
from mailslot.pop3.server.session import SessionSettings as Pop3Settings
from mailslot.smtp.server.session import SessionSettings as SmtpSettings
from mailslot_plugins.sandbox.personality import parse_reply
from mailslot_plugins.sandbox.pop3 import PlayedPop3Session, Pop3Client
from mailslot_plugins.sandbox.smtp import PlayedSmtpSession, SmtpClient

if TYPE_CHECKING:
    import ssl

    from mailslot.net.accepted import AcceptedConnection
    from mailslot.net.endpoint import Security
    from mailslot.net.listener import Listener
    from mailslot_plugins.sandbox.state import SandboxState

# Only tests decide how long something takes.
_smtp_settings: Final = partial(SmtpSettings, idle_timeout=math.inf, tls_timeout=math.inf, slow_message_time=math.inf)
_pop3_settings: Final = partial(
    Pop3Settings, idle_timeout=math.inf, signed_in_timeout=math.inf, tls_timeout=math.inf, slow_message_time=math.inf
)


class _NoDelay(SignInDelay):
    """Adds no delay."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)

    def failed(self, address: str) -> float:  # noqa: ARG002 - nobody is slowed down
        return 0.0


class SandboxServer(MailServer[ServerSettings]):
    """Serves the clients of one listener."""

    def __init__(
        self, listener: Listener, state: SandboxState, protocol: Literal["smtp", "pop3"], security: Security
    ) -> None:
        """Make a server; `serve` runs it."""
        super().__init__(listener, ServerSettings("", security), b"")
        self._state = state
        self._protocol = protocol
        self._delay = _NoDelay()

    def _tls_context(self) -> ssl.SSLContext:
        return self._state.tls

    def _open_session(self, channel: AcceptedConnection, delay: SignInDelay) -> PlayedSmtpSession | PlayedPop3Session:
        state, personality, security = self._state, self._state.personality, self.settings.security
        session: PlayedSmtpSession | PlayedPop3Session
        if self._protocol == "smtp":
            behavior, smtp = personality.smtp, SmtpClient(state)
            smtp_settings = _smtp_settings("", security, self._tls_context, wording=behavior.wording)
            session = PlayedSmtpSession(channel, smtp_settings, smtp, delay, smtp.offers)
            session.play(smtp.authenticator)
        else:
            behavior, pop3 = personality.pop3, Pop3Client(state)
            wording = {READY: parse_reply(behavior.greeting), **behavior.wording}
            pop3_settings = _pop3_settings("", security, self._tls_context, wording=wording)
            session = PlayedPop3Session(channel, pop3_settings, pop3, delay, pop3.offers)
            session.play(pop3.authenticator)
        return session
