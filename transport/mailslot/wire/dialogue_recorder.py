"""Recording a server's session in a transcript, without secrets and messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.wire.redact import Redactor
from mailslot.wire.secret import MASK

if TYPE_CHECKING:
    from mailslot.wire.reply import Reply
    from mailslot.wire.secret import Secret
    from mailslot.wire.transcript import Transcript

_WORD: Final = re.compile(r"[A-Za-z]{1,12}(?=\s|\Z)")

# The commands that sign in, in SMTP, POP3, FTP and IMAP.
_SIGN_IN: Final = re.compile("auth|user|pass|login|apop", re.IGNORECASE)


_HARMLESS: Final = frozenset({b"", b"*", b"AQ=="})
"""SASL responses without a secret: an empty one, a cancellation, and the acknowledgement of a refusal (RFC 7628)."""


_MECHANISM: Final = re.compile(
    r"PLAIN(-CLIENTTOKEN)?|LOGIN|NTLM|GSSAPI|GSS-SPNEGO|EXTERNAL|ANONYMOUS|X?OAUTH(2|BEARER)?|(CRAM|DIGEST)-MD5"
    r"|SCRAM-SHA-[0-9]{1,3}(-PLUS)?",
    re.IGNORECASE,
)


def masked_auth(argument: str) -> str:
    """Return the argument of AUTH without secrets; an unknown mechanism is masked, since it may be a password."""
    name, _, initial = argument.strip().partition(" ")
    known = name if not name or _MECHANISM.fullmatch(name) else MASK
    return f"{known} {MASK}" if initial and known != MASK else known


class DialogueRecorder:
    """Records a dialogue; a protocol's subclass records its commands.

    Of an unknown line, only the first word is shown, since it may be part of a message or a sign-in. A client that was
    refused may still send its password as the next line, or use another protocol's command for it. So after a sign-in
    attempt, such lines are masked completely. A known password is masked wherever it occurs.
    """

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._redactor: Redactor | None = None
        self._sign_in_tried = False

    def add_secret(self, secret: Secret) -> None:
        """Mask a password from now on."""
        self._redactor = self._redactor or Redactor()
        self._redactor.add(secret)

    def other_line(self, line: bytes) -> None:
        """Record a line that is not a command."""
        text = line.decode("utf-8", "replace")
        self._sign_in_tried = self._sign_in_tried or _SIGN_IN.search(text) is not None
        word = _WORD.match(text)
        if self._sign_in_tried or word is None:
            self._record(MASK)
        else:
            self._record(word[0] if word[0] == text else f"{word[0]} …")

    def response(self, line: bytes) -> None:
        """Record a SASL response, masked if it may contain a secret."""
        self._transcript.client(line.decode() if line in _HARMLESS else MASK)

    def reply(self, reply: Reply) -> None:
        """Record our reply."""
        self._transcript.server(str(reply))

    def event(self, text: str) -> None:
        """Record an event of the connection."""
        self._transcript.event(text)

    def _record(self, text: str) -> None:
        self._transcript.client(text if self._redactor is None else self._redactor.mask(text))
