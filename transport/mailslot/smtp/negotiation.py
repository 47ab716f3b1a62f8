"""Comparing what a message needs with the server's capabilities, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.errors import MailError
from mailslot.smtp.refusals import all_refused_error
from mailslot.wire.reply import Reply

if TYPE_CHECKING:
    from mailslot.smtp.address import Address
    from mailslot.smtp.capabilities import Capabilities
    from mailslot.smtp.content import Content
    from mailslot.smtp.envelope import Envelope


@dataclass(frozen=True, slots=True)
class NegotiatedEnvelope:
    """The envelope that the server supports.

    Attributes:
        recipients: the recipients to send to the server.
        refused: the others, by address as the caller gave it, with the reply that the server would send.
        mail_parameters: the parameters after ``MAIL FROM:<…>``.
    """

    recipients: list[Address]
    refused: dict[str, Reply]
    mail_parameters: str


def negotiate_envelope(
    envelope: Envelope, content: Content, capabilities: Capabilities, host: str
) -> NegotiatedEnvelope:
    """Compare an envelope and its message with the server's capabilities.

    Args:
        envelope: the envelope.
        content: the message.
        capabilities: the server's capabilities.
        host: the server's name, for errors.

    Raises:
        MailError: the server's capabilities rule this message out; stage `envelope`.
    """
    limit = capabilities.size
    if limit is not None and content.size > limit:
        raise _unsupported_error(
            "message_too_large",
            f"The message has {content.size:,} octets, and the mail server takes at most {limit:,}.",
        )
    international = "SMTPUTF8" in capabilities
    if content.smtputf8 and not international:
        raise _unsupported_error(
            "content_refused",
            "The message's header is international, and the mail server takes no such (SMTPUTF8).",
        )
    if content.eight_bit and "8BITMIME" not in capabilities:
        raise _unsupported_error(
            "content_refused",
            "The message is not in 7-bit form, and the mail server takes no other (8BITMIME).",
        )
    if envelope.sender.smtputf8 and not international:
        raise _unsupported_error(
            "sender_refused",
            "The sender's address is international, and the mail server takes no such (SMTPUTF8).",
        )
    recipients, refused = _supported_recipients(envelope, capabilities)
    if not recipients:
        raise all_refused_error(host, refused)
    smtputf8 = content.smtputf8 or envelope.sender.smtputf8 or any(recipient.smtputf8 for recipient in recipients)
    parameters = envelope.mail_parameters(
        capabilities, size=content.size, eight_bit=content.eight_bit, smtputf8=smtputf8
    )
    return NegotiatedEnvelope(recipients, refused, parameters)


def _supported_recipients(envelope: Envelope, capabilities: Capabilities) -> tuple[list[Address], dict[str, Reply]]:
    """Return the supported recipients, and the others with a refusal."""
    recipients, refused = list(envelope.recipients), dict[str, Reply]()
    if "SMTPUTF8" not in capabilities:
        reply = Reply(553, "5.6.7", "The server takes no international addresses (SMTPUTF8).", positive=False)
        refused = {recipient.original: reply for recipient in recipients if recipient.smtputf8}
        recipients = [recipient for recipient in recipients if not recipient.smtputf8]
    limit = capabilities.limit("RCPTMAX")
    if limit is not None:
        reply = Reply(452, "4.5.3", f"The server takes {limit} recipients a message.", positive=False)
        refused |= {recipient.original: reply for recipient in recipients[limit:]}
        recipients = recipients[:limit]
    return recipients, refused


def _unsupported_error(cause: str, sentence: str) -> MailError:
    return MailError(sentence, stage="envelope", cause=cause)
