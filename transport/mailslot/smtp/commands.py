"""The commands of an envelope as octets, checked so that nothing in them can end a line (RFC 5321 section 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.smtp.limits import MAX_COMMAND, MAX_MAIL_COMMAND, MAX_RCPT_COMMAND
from mailslot.wire.protocol_error import LocalProtocolError

if TYPE_CHECKING:
    from mailslot.smtp.address import Address

DATA: Final = b"DATA\r\n"


def encode_command(line: str, limit: int = MAX_COMMAND) -> bytes:
    """Return a command with CRLF.

    Args:
        line: the command; its first word is shown in errors, not its arguments.
        limit: the maximum octets, including CRLF.

    Raises:
        LocalProtocolError: it is longer, or contains a control character.
    """
    octets = line.encode() + b"\r\n"
    if len(octets) > limit:
        raise LocalProtocolError(f"a {line.partition(' ')[0]} command of over {limit} octets")
    if not line.isprintable():
        raise LocalProtocolError(f"a control character in a {line.partition(' ')[0]} command")
    return octets


def mail_command(sender: Address, parameters: str = "") -> bytes:
    """Return MAIL; `parameters` come from `mailslot.smtp.envelope`. Raises as `encode_command` does."""
    return encode_command(f"MAIL FROM:<{sender.wire}>{parameters}", MAX_MAIL_COMMAND)


def rcpt_command(recipient: Address, parameters: str = "") -> bytes:
    """Return RCPT. Raises as `encode_command` does."""
    return encode_command(f"RCPT TO:<{recipient.wire}>{parameters}", MAX_RCPT_COMMAND)
