"""The transcript of a session with a POP3 client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.wire.dialogue_recorder import DialogueRecorder, masked_auth
from mailslot.wire.secret import MASK

if TYPE_CHECKING:
    from mailslot.wire.command_input import Command


class Pop3Recorder(DialogueRecorder):
    """Records a dialogue. Every password and every digest is masked."""

    def command(self, command: Command) -> None:
        """Record a known command."""
        self._sign_in_tried = self._sign_in_tried or command.verb in {"USER", "PASS", "APOP", "AUTH"}
        if command.verb == "PASS":
            self._record(f"PASS {MASK}")
        elif command.verb == "APOP":
            name = command.argument.strip().partition(" ")[0]
            self._record(f"APOP {name} {MASK}")
        elif command.verb == "USER":
            # If a device joins lines by mistake, its password may be here, too.
            name, _, rest = command.argument.strip().partition(" ")
            self._record(f"USER {name} {MASK}" if rest else f"USER {name}".rstrip())
        elif command.verb == "AUTH":
            self._record(f"AUTH {masked_auth(command.argument)}".rstrip())
        else:
            words = command.argument.split(" ")
            shown = command.argument if all(word.isdigit() for word in words if word) else MASK
            self._record(f"{command.verb} {shown}".rstrip())

    def challenge(self) -> None:
        """Record that a challenge was sent."""
        self._transcript.server("+")

    def lines(self, count: int) -> None:
        """Record that lines of a listing were sent."""
        self._transcript.event(f"{count} lines of a listing")

    def message(self, size: int) -> None:
        """Record that a message was sent."""
        self._transcript.event(f"{size} octets of a message")
