"""What a message needs, held against what the server offers, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.errors import MailError
from mailslot.smtp.refusals import nobody_accepted
from mailslot.wire.reply import Reply

if TYPE_CHECKING:
    from mailslot.smtp.address import Address
    from mailslot.smtp.capabilities import Capabilities
    from mailslot.smtp.content import Content
    from mailslot.smtp.envelope import Envelope


@dataclass(frozen=True, slots=True)
class NegotiatedEnvelope:
    """On which terms a message can go.

    Attributes:
        recipients: whom the server is to be asked about.
        refused: the others, by address as it was given, each with the answer that the server would give.
        mail_parameters: what follows ``MAIL FROM:<…>``.
    """

    recipients: list[Address]
    refused: dict[str, Reply]
    mail_parameters: str


def negotiate(envelope: Envelope, content: Content, capabilities: Capabilities, host: str) -> NegotiatedEnvelope:
    """Return the terms for a message.

    Args:
        envelope: from whom, to whom.
        content: the message.
        capabilities: what the server offers.
        host: the server, for errors.

    Raises:
        MailError: the server has said beforehand that it cannot take this message, stage `envelope`.
    """
    limit = capabilities.size
    if limit is not None and content.size > limit:
        raise _unfit(
            "message_too_large",
            f"The message has {content.size:,} octets, and the mail server takes at most {limit:,}.",
        )
    international = "SMTPUTF8" in capabilities
    if content.smtputf8 and not international:
        raise _unfit(
            "content_refused",
            "The message's header is international, and the mail server takes no such (SMTPUTF8).",
        )
    if content.eight_bit and "8BITMIME" not in capabilities:
        raise _unfit(
            "content_refused",
            "The message is not in 7-bit form, and the mail server takes no other (8BITMIME).",
        )
    if envelope.sender.smtputf8 and not international:
        raise _unfit(
            "sender_refused",
            "The sender's address is international, and the mail server takes no such (SMTPUTF8).",
        )
    recipients, refused = _recipients(envelope, capabilities)
    if not recipients:
        raise nobody_accepted(host, refused)
    smtputf8 = content.smtputf8 or envelope.sender.smtputf8 or any(recipient.smtputf8 for recipient in recipients)
    parameters = envelope.mail_parameters(
        capabilities, size=content.size, eight_bit=content.eight_bit, smtputf8=smtputf8
    )
    return NegotiatedEnvelope(recipients, refused, parameters)


def _recipients(envelope: Envelope, capabilities: Capabilities) -> tuple[list[Address], dict[str, Reply]]:
    """Return whom to ask about, and those whom the server has refused beforehand."""
    recipients, refused = list(envelope.recipients), dict[str, Reply]()
    if "SMTPUTF8" not in capabilities:
        reply = Reply(553, "5.6.7", "The server takes no international addresses (SMTPUTF8).", positive=False)
        refused = {recipient.given: reply for recipient in recipients if recipient.smtputf8}
        recipients = [recipient for recipient in recipients if not recipient.smtputf8]
    most = capabilities.limit("RCPTMAX")
    if most is not None:
        reply = Reply(452, "4.5.3", f"The server takes {most} recipients a message.", positive=False)
        refused |= {recipient.given: reply for recipient in recipients[most:]}
        recipients = recipients[:most]
    return recipients, refused


def _unfit(cause: str, sentence: str) -> MailError:
    return MailError(sentence, stage="envelope", cause=cause)
