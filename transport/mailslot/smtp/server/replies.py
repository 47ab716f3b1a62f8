"""The server's replies, as values (RFC 5321 section 4.2, RFC 3463, RFC 5248)."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Final

from mailslot.sasl.server_core import ExchangeReplies
from mailslot.wire.reply import Reply


def reply(code: int, enhanced: str | None, text: str) -> Reply:
    """Return a reply of this code, enhanced status code and text, whose lines are joined with LF."""
    return Reply(code, enhanced, text, code < 400)


@lru_cache(maxsize=256)
def encode_reply(value: Reply) -> bytes:
    """Return a reply as it is sent, with the enhanced status code in each line (RFC 2034 section 3)."""
    status = f"{value.enhanced} " if value.enhanced else ""
    *first, last = value.text.split("\n")
    lines = [f"{value.code}-{status}{line}" for line in first] + [f"{value.code} {status}{last}"]
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "backslashreplace")


# Positive replies.

SENDER_ACCEPTED: Final = reply(250, "2.1.0", "Sender accepted")
RECIPIENT_ACCEPTED: Final = reply(250, "2.1.5", "Recipient accepted")
DONE: Final = reply(250, "2.0.0", "Done")
CHUNK_RECEIVED: Final = reply(250, "2.0.0", "Chunk received")
SEND_MESSAGE: Final = reply(354, None, "Send the message, and end it with <CRLF>.<CRLF>")
SIGNED_IN: Final = reply(235, "2.7.0", "Signed in")
START_TLS: Final = reply(220, "2.0.0", "Ready to start TLS")
GOODBYE: Final = reply(221, "2.0.0", "Goodbye")


def challenge(octets: bytes) -> Reply:
    """Return the prompt for a SASL response; an empty one keeps its blank (RFC 4954 section 4)."""
    return reply(334, None, base64.b64encode(octets).decode())


def queued_as(job: str) -> Reply:
    """Return the reply to a message that is stored."""
    return reply(250, "2.0.0", f"queued as {job}")


# Refusals by the session, and the end of it.

TLS_REQUIRED: Final = reply(538, "5.7.11", "Sign in only after STARTTLS")
ALREADY_SIGNED_IN: Final = reply(503, "5.5.1", "Already signed in")
NO_AUTHENTICATION: Final = reply(502, "5.5.1", "Nobody signs in here")
UNKNOWN_MECHANISM: Final = reply(504, "5.5.4", "Use AUTH PLAIN or AUTH LOGIN")
MALFORMED_RESPONSE: Final = reply(501, "5.5.2", "This response cannot be decoded")
CANCELLED: Final = reply(501, "5.7.0", "Sign-in cancelled")
NO_TLS: Final = reply(502, "5.5.1", "STARTTLS is not offered")
TLS_ACTIVE: Final = reply(503, "5.5.1", "TLS is in use already")
UNKNOWN_COMMAND: Final = reply(500, "5.5.1", "Not a command")
LINE_TOO_LONG: Final = reply(500, "5.5.2", "The line is too long")
EXCHANGE: Final = ExchangeReplies(UNKNOWN_MECHANISM, MALFORMED_RESPONSE, CANCELLED, LINE_TOO_LONG)
TOO_MANY_RECIPIENTS: Final = reply(452, "4.5.3", "Too many recipients for one message")
OUT_OF_SYNC: Final = reply(554, "5.5.0", "Wait for the reply before you send on")
NOT_SMTP: Final = reply(500, "5.5.2", "This is an SMTP server")
TOO_MANY_BAD_COMMANDS: Final = reply(421, "4.7.0", "Too many commands that make no sense")
TOO_MANY_JUNK_COMMANDS: Final = reply(421, "4.7.0", "Too many commands without a message")
TOO_MANY_FAILURES: Final = reply(421, "4.7.0", "Too many failed sign-ins")
TOO_MANY_CONNECTIONS: Final = reply(421, "4.7.0", "Too many connections")
IDLE_TOO_LONG: Final = reply(421, "4.7.0", "Nothing was sent for too long")
STOPPING: Final = reply(421, "4.3.2", "The server is stopping; try again soon")
INTERNAL_ERROR: Final = reply(421, "4.3.0", "An error on this side; try again later")

# Decisions of a backend.

NOT_ALLOWED_HERE: Final = reply(554, "5.7.1", "This device is not known here")
"""Instead of the greeting: no entry fits this address, and nobody can sign in."""

AUTHENTICATION_REQUIRED: Final = reply(530, "5.7.0", "Sign in first")
"""At MAIL."""

AUTHENTICATION_FAILED: Final = reply(535, "5.7.8", "User name or password is wrong")
"""The same whether the user exists or not."""

AUTHENTICATION_UNAVAILABLE: Final = reply(454, "4.7.0", "Sign-in cannot be checked now")
"""At AUTH: the passwords cannot be read."""

SENDER_NOT_ALLOWED: Final = reply(550, "5.7.1", "This device may not send from this address")
"""At MAIL."""

RECIPIENT_NOT_ALLOWED: Final = reply(550, "5.7.1", "This device may not send to this address")
"""At RCPT."""

SPOOL_FULL: Final = reply(452, "4.3.1", "There is no room for a message now")
"""At MAIL, and after the message if it could not be stored."""

MAIL_LOOP: Final = reply(554, "5.4.6", "This message has been here before, or passed through too many servers")
"""After the message."""

TOO_LARGE: Final = reply(552, "5.3.4", "The message is larger than this server takes")
"""At MAIL if the size was declared, else after the message."""


def too_fast(seconds: float) -> Reply:
    """Return the refusal at MAIL of a device that sends too often, which may try again after some seconds."""
    return reply(451, "4.7.1", f"Too many messages; try again in {max(1, round(seconds))} seconds")
