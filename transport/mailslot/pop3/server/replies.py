"""The server's responses, as values (RFC 1939 section 3, RFC 2449 section 8, RFC 3206)."""

from __future__ import annotations

from typing import Final

from mailslot.sasl.server_core import ExchangeReplies
from mailslot.wire.reply import Reply


def ok(text: str) -> Reply:
    """Return a positive response."""
    return Reply(None, None, text, positive=True)


def error(text: str, code: str | None = None) -> Reply:
    """Return a refusal, with a response code such as ``"IN-USE"`` or without."""
    return Reply(None, code, text, positive=False)


def encode_reply(value: Reply) -> bytes:
    """Return a response as it is sent: one line."""
    return f"{value}\r\n".encode("utf-8", "backslashreplace")


# Positive responses.

READY: Final = ok("POP3 server ready")
SEND_PASSWORD: Final = ok("Send the password")
CAPABILITIES: Final = ok("Capabilities follow")
MESSAGE_FOLLOWS: Final = ok("The message follows")
START_TLS: Final = ok("Ready to start TLS")
DONE: Final = ok("Done")
GOODBYE: Final = ok("Goodbye")

# Refusals by the session, and the end of it.

SYNTAX: Final = error("Not a command")
NOT_NOW: Final = error("Not now")
SIGN_IN_FIRST: Final = error("Sign in first")
USER_FIRST: Final = error("Send USER first")
SIGNED_IN_ALREADY: Final = error("Already signed in")
NO_ARGUMENT: Final = error("This command has no argument")
NUMBER_EXPECTED: Final = error("This command needs the number of a message")
TOP_SYNTAX: Final = error("Syntax: TOP message lines")
USER_SYNTAX: Final = error("Syntax: USER name")
PASS_SYNTAX: Final = error("Syntax: PASS password")
APOP_SYNTAX: Final = error("Syntax: APOP name digest")
NO_SUCH_MESSAGE: Final = error("There is no such message")
NO_TLS: Final = error("STLS is not offered")
TLS_ACTIVE: Final = error("TLS is in use already")
TLS_REQUIRED: Final = error("Sign in only after STLS", "AUTH")
NO_APOP: Final = error("APOP is not offered; use USER and PASS")
UNKNOWN_MECHANISM: Final = error("There is no such mechanism")
MALFORMED_RESPONSE: Final = error("This response cannot be decoded")
CANCELLED: Final = error("Sign-in cancelled")
LINE_TOO_LONG: Final = error("The line is too long")
EXCHANGE: Final = ExchangeReplies(UNKNOWN_MECHANISM, MALFORMED_RESPONSE, CANCELLED, LINE_TOO_LONG)
OUT_OF_SYNC: Final = error("Wait for the response before you send on")
NOT_POP3: Final = error("This is a POP3 server")
TOO_MANY_BAD_COMMANDS: Final = error("Too many commands that make no sense")
TOO_MANY_JUNK_COMMANDS: Final = error("Too many commands for so few messages")
TOO_MANY_FAILURES: Final = error("Too many failed sign-ins", "AUTH")
TOO_MANY_CONNECTIONS: Final = error("Too many connections; try again later", "SYS/TEMP")
STOPPING: Final = error("The server is stopping; try again soon", "SYS/TEMP")
INTERNAL_ERROR: Final = error("An error on this side; try again later", "SYS/TEMP")
UNREADABLE: Final = error("This message cannot be read now", "SYS/TEMP")
NOT_DELETED: Final = error("The messages could not be deleted", "SYS/TEMP")
"""At QUIT; all of them are still there (RFC 1939 section 6)."""

# Decisions of a backend, at PASS or APOP.

AUTHENTICATION_FAILED: Final = error("User name or password is wrong", "AUTH")
"""The same whether the user exists or not."""

UNAVAILABLE: Final = error("The mailbox cannot be opened now", "SYS/TEMP")
IN_USE: Final = error("The mailbox is in use by another session", "IN-USE")

# Decisions of a backend, later in the session. RFC 3206 section 5 has [AUTH] for the sign-in alone, and nothing for
# what changes after it.

PASSWORD_CHANGED: Final = error("The password has changed; connect and sign in again", "AUTH")
ENTRY_CHANGED: Final = error("What this device may fetch has changed; connect and sign in again", "AUTH")
