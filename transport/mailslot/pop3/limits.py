"""Every limit of the POP3 core, with where it comes from."""

from __future__ import annotations

from typing import Final

MAX_COMMAND: Final = 255
"""Octets of a command with CRLF (RFC 2449 section 4); AUTH keeps to it (RFC 5034 section 4)."""

MAX_STATUS_LINE: Final = 16_384
"""Octets of a status line or challenge that we take; RFC 2449 section 4 allows 512, and RFC 5034 challenges as
long as a mechanism wants."""

MAX_LISTING_LINE: Final = 1_024
"""Octets of a line in a listing; RFC 2449 section 4 allows 512."""

MAX_LISTING: Final = 16_777_216
"""Octets of a listing (RFC 1939 and RFC 2449 set no limit): those of 200,000 messages with the longest unique-ids."""

MAX_CAPABILITIES: Final = 500
"""Lines of an answer to CAPA (RFC 2449 sets no limit)."""

MAX_ENTRIES: Final = 200_000
"""Messages in one listing (RFC 1939 sets no limit)."""

MAX_DIGITS: Final = 18
"""Digits of a size or a count that is believed: any such number fits 64 bits."""

MAX_UID: Final = 255
"""Characters of a unique-id that we take; RFC 1939 section 7 allows 70."""
"""Octets of a message have no limit here: they pass through."""
