"""The limits of the POP3 server, with their sources."""

from __future__ import annotations

from typing import Final

MAX_COMMAND_LINE: Final = 12_290
"""Octets of a command line with its end, and of a SASL response (RFC 5034 section 4). RFC 2449 section 4 demands 255,
which is too few for a long password, or for a token as an initial response."""

MAX_OUTPUT: Final = 65_536
"""Octets of responses after which they are sent before the next command is looked at. A listing may be longer."""

MAX_MESSAGES: Final = 20_000
"""Messages that one session shows, the newest: enough for any device, and a few megabytes."""

COMMANDS_PER_MESSAGE: Final = 10
"""Commands that a session may have for each message, besides `mailslot.wire.server_core.MAX_JUNK_COMMANDS`."""
