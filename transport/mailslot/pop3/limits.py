"""The limits of the POP3 core, with their sources."""

from __future__ import annotations

from typing import Final

MAX_COMMAND: Final = 255
"""Octets of a command with CRLF (RFC 2449 section 4), including AUTH (RFC 5034 section 4)."""

MAX_STATUS_LINE: Final = 16_384
"""Octets of a status line or challenge that we accept. RFC 2449 section 4 allows 512 for status lines, and RFC 5034
sets no limit for challenges."""

MAX_LISTING_LINE: Final = 1_024
"""Octets of a line in a listing; RFC 2449 section 4 allows 512."""

MAX_LISTING: Final = 16_777_216
"""Octets of a listing, enough for 200,000 messages with the longest unique-ids (RFC 1939 and RFC 2449 set no limit)."""

MAX_CAPABILITIES: Final = 500
"""Lines of a response to CAPA (RFC 2449 sets no limit)."""

MAX_ENTRIES: Final = 200_000
"""Messages in one listing (RFC 1939 sets no limit)."""

MAX_DIGITS: Final = 18
"""Digits of a size or a count that we accept, so that it fits into 64 bits."""

MAX_UID: Final = 255
"""Characters of a unique-id that we accept; RFC 1939 section 7 allows 70. Messages have no limit: they are streamed."""
