"""Every limit of the SMTP core, with where it comes from."""

from __future__ import annotations

from typing import Final

MAX_LOCAL_PART: Final = 64
"""Octets before the @ (RFC 5321 section 4.5.3.1.1)."""

MAX_DOMAIN: Final = 255
"""Octets of a domain (RFC 5321 section 4.5.3.1.2)."""

MAX_PATH: Final = 256
"""Octets of a reverse-path or forward-path with its brackets (RFC 5321 section 4.5.3.1.3)."""

MAX_COMMAND: Final = 512
"""Octets of a command line with CRLF (RFC 5321 section 4.5.3.1.4); AUTH keeps to it (RFC 4954 section 4)."""

MAX_INITIAL_RESPONSE: Final = MAX_COMMAND
"""Octets of an AUTH line with its initial response; a longer one waits for the prompt (RFC 4954 section 4)."""

MAX_MAIL: Final = MAX_COMMAND + 26 + 16 + 10 + 109
"""MAIL FROM with SIZE, BODY, SMTPUTF8, RET and ENVID (RFC 1870, 3030, 6531, 3461 section 7)."""

MAX_RCPT: Final = MAX_COMMAND + 28 + 501
"""RCPT TO with NOTIFY and ORCPT (RFC 3461 section 7)."""

MAX_ENVID: Final = 100
"""Characters of an envelope identifier, encoded (RFC 3461 section 4.4)."""

MAX_REPLY_LINE: Final = 16_384
"""Octets of a line that we take: a challenge may have 12,288 (RFC 4954 section 4), a reply 512."""

MAX_REPLY_LINES: Final = 1_000
"""Lines of one reply; no real one has a tenth of it (RFC 5321 section 4.2 sets no limit)."""

MAX_REPLY: Final = 262_144
"""Octets of one reply (RFC 5321 sets no limit)."""

MAX_GROUP: Final = 100
"""Recipients sent before their replies are read, so that neither side's buffers fill up (RFC 2920 section 3.1)."""
