"""The limits of the POP3 server, with their sources."""

from __future__ import annotations

from typing import Final

MAX_COMMAND_LINE: Final = 12_290
"""Octets of a command line with its end, and of a SASL response (RFC 5034 section 4). RFC 2449 section 4 demands 255,
which is too few for a long password, or for a token as an initial response."""

MAX_OUTPUT: Final = 65_536
"""Octets of responses after which they are sent before the next command is parsed. A listing may be longer."""

MAX_MESSAGES: Final = 20_000
"""Messages that a session shows, the newest ones: enough for any device, with a few megabytes of memory."""

COMMANDS_PER_MESSAGE: Final = 10
"""Commands allowed for each message, in addition to `mailslot.wire.server_core.MAX_JUNK_COMMANDS`."""
