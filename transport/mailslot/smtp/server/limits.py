"""The limits of the SMTP server, with their sources."""

from __future__ import annotations

from typing import Final

MAX_COMMAND_LINE: Final = 2_048
"""Octets of a command line with its end: four times what RFC 5321 section 4.5.3.1.4 demands."""

MAX_RESPONSE_LINE: Final = 12_290
"""Octets of a SASL response with CRLF (RFC 4954 section 4)."""

MAX_RECIPIENTS: Final = 1_000
"""Recipients of one message; RFC 5321 section 4.5.3.1.8 demands 100."""

MAX_DISCARDED: Final = 268_435_456
"""Octets of a refused message that are read before the reply at its end; with more, the session ends."""

MIN_CHUNK: Final = 512
"""Octets of a chunk below which its BDAT counts as a junk command."""
