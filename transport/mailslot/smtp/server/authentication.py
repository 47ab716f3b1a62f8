"""AUTH on the server's side (RFC 4954 section 4): from the command's argument and the responses to a password."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from mailslot.sasl.mechanism import MechanismError
from mailslot.sasl.server import SERVER_MECHANISMS, ServerMechanism, SuppliedPassword
from mailslot.smtp.server import replies
from mailslot.wire.command_input import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

Step = bytes | SuppliedPassword
"""A challenge, or the end of the exchange."""


def begin_exchange(argument: str) -> tuple[ServerMechanism, Step]:
    """Return the mechanism that AUTH names, and its first step.

    Args:
        argument: the mechanism in any case, and perhaps an initial response: in base64, or ``=`` for an empty one.

    Raises:
        CommandError: there is no such mechanism, or the response cannot be decoded.
    """
    name, _, initial = argument.partition(" ")
    if name.upper() not in SERVER_MECHANISMS:
        raise CommandError(replies.UNKNOWN_MECHANISM)
    mechanism = SERVER_MECHANISMS[name.upper()]()
    initial = initial.strip()
    if not initial:
        return mechanism, mechanism.start(None)
    return mechanism, _decode_and(mechanism.start, b"" if initial == "=" else initial.encode("utf-8", "replace"))


def continue_exchange(mechanism: ServerMechanism, line: bytes) -> Step:
    """Return the step that follows a response.

    Raises:
        CommandError: the client cancels the exchange, or the response cannot be decoded.
    """
    if line.strip() == b"*":
        raise CommandError(replies.CANCELLED)
    return _decode_and(mechanism.next, line.strip())


def _decode_and(step: Callable[[bytes], Step], response: bytes) -> Step:
    try:
        # Some clients leave the padding out.
        return step(base64.b64decode(response + b"=" * (-len(response) % 4), validate=True))
    except (binascii.Error, MechanismError):
        raise CommandError(replies.MALFORMED_RESPONSE) from None
