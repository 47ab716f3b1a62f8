"""The transcript of a session, as the server keeps it: without secrets and without messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.wire.redact import Redactor
from mailslot.wire.secret import MASK

if TYPE_CHECKING:
    from mailslot.smtp.server.commands import Command
    from mailslot.wire.reply import Reply
    from mailslot.wire.secret import Secret
    from mailslot.wire.transcript import Transcript


# How sign-ins begin in SMTP, POP3, FTP and IMAP.
_SIGN_IN: Final = re.compile("auth|user|pass|login", re.IGNORECASE)

_INITIAL_RESPONSE: Final = re.compile(r"(AUTH\s+\S+\s+)\S.*", re.IGNORECASE | re.DOTALL)


class DialogueNotes:
    """Records a dialogue.

    An initial response and every SASL response is masked. A client that was refused at AUTH may go on with the
    responses all the same, as if they were commands; so after AUTH, and after a password in the words of another
    protocol, whatever is no command is masked as well. A password that is known is masked wherever it occurs.
    """

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._redactor: Redactor | None = None
        self._auth_tried = False

    def add_secret(self, secret: Secret) -> None:
        """Mask a password from now on."""
        self._redactor = self._redactor or Redactor()
        self._redactor.add(secret)

    def command(self, command: Command) -> None:
        """Record a command that is known."""
        self._auth_tried = self._auth_tried or command.verb == "AUTH"
        self._record(f"{command.verb} {command.argument}" if command.argument else command.verb)

    def other_line(self, line: bytes) -> None:
        """Record a line that is no command."""
        text = line.decode("utf-8", "replace")
        self._auth_tried = self._auth_tried or _SIGN_IN.search(text) is not None
        self._record(MASK if self._auth_tried else text)

    def response(self) -> None:
        """Record that a SASL response came."""
        self._transcript.client(MASK)

    def content(self, size: int) -> None:
        """Record that a message came."""
        self._transcript.client(f"({size} octets of a message)")

    def reply(self, reply: Reply) -> None:
        """Record our reply."""
        self._transcript.server(str(reply))

    def event(self, text: str) -> None:
        """Record an event of the connection."""
        self._transcript.event(text)

    def _record(self, text: str) -> None:
        if "AUTH" in text.upper():
            # Also within a line that became no AUTH, since its end or its beginning was damaged.
            text = _INITIAL_RESPONSE.sub(rf"\1{MASK}", text)
        self._transcript.client(text if self._redactor is None else self._redactor.mask(text))
