"""The transcript of a session with an SMTP client."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.wire.dialogue_recorder import DialogueRecorder, masked_auth
from mailslot.wire.secret import MASK

if TYPE_CHECKING:
    from mailslot.wire.command_input import Command

_INITIAL_RESPONSE: Final = re.compile(r"(AUTH\s+\S+\s+)\S.*", re.IGNORECASE | re.DOTALL)


class SmtpRecorder(DialogueRecorder):
    """Records a dialogue. An initial response and every SASL response is masked."""

    def command(self, command: Command) -> None:
        """Record a known command."""
        # After a chunk with a wrong size, a command line may begin anywhere, also within AUTH.
        self._sign_in_tried = self._sign_in_tried or command.verb in {"AUTH", "BDAT"}
        argument = masked_auth(command.argument) if command.verb == "AUTH" else command.argument
        self._record(f"{command.verb} {argument}" if argument else command.verb)

    def content(self, size: int) -> None:
        """Record that a message was received."""
        self._transcript.client(f"({size} octets of a message)")

    def _record(self, text: str) -> None:
        if "AUTH" in text.upper():
            # Also in lines that were not parsed as AUTH because they are damaged.
            text = _INITIAL_RESPONSE.sub(rf"\1{MASK}", text)
        super()._record(text)
