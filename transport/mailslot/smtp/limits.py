"""The limits of the SMTP core, with their sources."""

from __future__ import annotations

from typing import Final

MAX_LOCAL_PART: Final = 64
"""Octets before the @ (RFC 5321 section 4.5.3.1.1)."""

MAX_DOMAIN: Final = 255
"""Octets of a domain (RFC 5321 section 4.5.3.1.2)."""

MAX_PATH: Final = 256
"""Octets of a reverse-path or forward-path with its brackets (RFC 5321 section 4.5.3.1.3)."""

MAX_COMMAND: Final = 512
"""Octets of a command line with CRLF (RFC 5321 section 4.5.3.1.4), including AUTH (RFC 4954 section 4)."""

MAX_AUTH_COMMAND: Final = MAX_COMMAND
"""Octets of an AUTH command with its initial response; a longer response follows the prompt (RFC 4954 section 4)."""

MAX_MAIL_COMMAND: Final = MAX_COMMAND + 26 + 16 + 10 + 109
"""MAIL FROM with SIZE, BODY, SMTPUTF8, RET and ENVID (RFC 1870, 3030, 6531, 3461 section 7)."""

MAX_RCPT_COMMAND: Final = MAX_COMMAND + 28 + 501
"""RCPT TO with NOTIFY and ORCPT (RFC 3461 section 7)."""

MAX_ENVID: Final = 100
"""Characters of an envelope identifier, encoded (RFC 3461 section 4.4)."""

MAX_REPLY_LINE: Final = 16_384
"""Octets of a line that we accept: a challenge may have 12,288 (RFC 4954 section 4), a reply 512."""

MAX_REPLY_LINES: Final = 1_000
"""Lines of one reply; real ones have less than a tenth of it (RFC 5321 section 4.2 sets no limit)."""

MAX_REPLY: Final = 262_144
"""Octets of one reply (RFC 5321 sets no limit)."""

MAX_PIPELINED_RECIPIENTS: Final = 100
"""Recipients sent before their replies are read, so that neither side's buffers fill (RFC 2920 section 3.1)."""
