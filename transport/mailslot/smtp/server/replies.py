"""The server's replies, as values (RFC 5321 section 4.2, RFC 3463, RFC 5248)."""

from __future__ import annotations

from typing import Final

from mailslot.wire.reply import Reply


def reply(code: int, enhanced: str | None, text: str) -> Reply:
    """Return a reply of this code, enhanced status code and text, whose lines are joined with LF."""
    return Reply(code, enhanced, text, code < 400)


def encode_reply(value: Reply) -> bytes:
    """Return a reply as it is sent, with the enhanced status code in each line (RFC 2034 section 3)."""
    status = f"{value.enhanced} " if value.enhanced else ""
    *first, last = value.text.split("\n")
    lines = [f"{value.code}-{status}{line}" for line in first] + [f"{value.code} {status}{last}"]
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "backslashreplace")


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
