"""The envelope: sender, recipients and the parameters of MAIL and RCPT (RFC 5321 section 2.3.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mailslot.errors import InputError
from mailslot.smtp.address import Address, parse_address, parse_sender
from mailslot.smtp.limits import MAX_ENVID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.smtp.capabilities import Capabilities

Notify = Literal["SUCCESS", "FAILURE", "DELAY", "NEVER"]

_XCHAR: Final = re.compile(r"[!-*,-<>-~]")


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """The delivery status notifications to request, if the server offers DSN (RFC 3461).

    Attributes:
        notify: the events to report; ``NEVER`` only alone; empty for the server's default (section 4.1).
        whole_message: whether a failure report returns the whole message rather than its headers; None for the server's
            default (section 4.3).
        envelope_id: the identifier of the message in reports, at most 100 characters when encoded (section 4.4).

    Raises:
        InputError: the combination is not allowed, or the identifier is invalid.
    """

    notify: tuple[Notify, ...] = ()
    whole_message: bool | None = None
    envelope_id: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.notify, tuple | list) or not all(isinstance(event, str) for event in self.notify):
            raise InputError("What is to be reported is a tuple of words, such as ('FAILURE',).", stage="envelope")
        events = set(self.notify)
        if len(events) != len(self.notify) or not (events <= {"SUCCESS", "FAILURE", "DELAY"} or events == {"NEVER"}):
            raise InputError(
                "Delivery reports are asked for by SUCCESS, FAILURE and DELAY, once each, or by NEVER alone.",
                stage="envelope",
            )
        if self.envelope_id is not None and not (
            isinstance(self.envelope_id, str)
            and self.envelope_id.isascii()
            and self.envelope_id.isprintable()
            and 1 <= len(xtext(self.envelope_id)) <= MAX_ENVID
        ):
            raise InputError(
                f"The envelope identifier must be printable ASCII of at most {MAX_ENVID} characters.",
                stage="envelope",
            )


class Envelope:
    """A validated envelope.

    Attributes:
        sender: the reverse-path.
        recipients: the forward-paths, without duplicates.
        delivery: the notifications to request.
    """

    def __init__(self, sender: str, recipients: Sequence[str], delivery: DeliveryStatus | None) -> None:
        """Validate all addresses.

        Raises:
            InputError: an address is invalid, or there is no recipient.
        """
        if isinstance(recipients, (str, bytes)) or not isinstance(recipients, Iterable):
            raise InputError("The recipients must be a list of addresses.", stage="envelope")
        if delivery is not None and not isinstance(delivery, DeliveryStatus):
            raise InputError(f"delivery is a {type(delivery).__name__}; it must be a DeliveryStatus.", stage="envelope")
        self.sender: Address = parse_sender(sender)
        unique: dict[str, Address] = {}
        for recipient in recipients:
            address = parse_address(recipient, "recipient")
            unique[address.wire] = address
        self.recipients: list[Address] = list(unique.values())
        if not self.recipients:
            raise InputError("The message has no recipient.", stage="envelope")
        self.delivery = delivery

    def mail_parameters(self, capabilities: Capabilities, *, size: int | None, eight_bit: bool, smtputf8: bool) -> str:
        """Return the parameters after ``MAIL FROM:<…>`` that the server supports (RFC 5321 section 4.1.1.3).

        Args:
            capabilities: the server's capabilities.
            size: the message's octets, with CRLFs and without stuffed dots (RFC 1870 section 3); None to leave it out.
            eight_bit: whether the content contains octets over 127 (RFC 6152).
            smtputf8: whether an address of this transaction or the header needs SMTPUTF8 (RFC 6531 section 3.4).
        """
        parameters: list[str] = []
        if size is not None and "SIZE" in capabilities:
            parameters.append(f"SIZE={size}")
        if "8BITMIME" in capabilities and (eight_bit or smtputf8):
            parameters.append("BODY=8BITMIME")
        if smtputf8:
            parameters.append("SMTPUTF8")
        if self.delivery is not None and "DSN" in capabilities:
            if self.delivery.whole_message is not None:
                parameters.append("RET=FULL" if self.delivery.whole_message else "RET=HDRS")
            if self.delivery.envelope_id is not None:
                parameters.append(f"ENVID={xtext(self.delivery.envelope_id)}")
        return "".join(f" {parameter}" for parameter in parameters)

    def rcpt_parameters(self, recipient: Address, capabilities: Capabilities) -> str:
        """Return the parameters after ``RCPT TO:<…>`` (RFC 3461 sections 4.1 and 4.2)."""
        if self.delivery is None or not self.delivery.notify or "DSN" not in capabilities:
            return ""
        parameters = f" NOTIFY={','.join(self.delivery.notify)}"
        if recipient.wire.isascii():
            # An address that is short enough for RCPT is never too long for ORCPT, even if fully encoded.
            parameters += f" ORCPT=rfc822;{xtext(recipient.wire)}"
        return parameters


def xtext(text: str) -> str:
    """Encode ASCII text as xtext, for a parameter's value (RFC 3461 section 4)."""
    return "".join(c if _XCHAR.fullmatch(c) else f"+{ord(c):02X}" for c in text)
