"""A transaction without a message: MAIL, RCPT, RSET (RFC 5321 section 4.1.1.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import MailError
from mailslot.smtp.refusals import all_refused_error
from mailslot.smtp.states import State, Verb

if TYPE_CHECKING:
    from mailslot.errors import RefusedError
    from mailslot.smtp.base_dialogue import BaseSmtpDialogue
    from mailslot.smtp.envelope import Envelope
    from mailslot.wire.reply import Reply

PROBE_SIZE: Final = 1_024
"""The declared size of the message; some servers refuse by that alone."""


async def probe(dialogue: BaseSmtpDialogue[Any], envelope: Envelope) -> None:
    """Send an envelope, then reset it.

    One command at a time, so that each reply certainly belongs to its command.

    Raises:
        RefusedError: the sender or every recipient is refused; the session can continue.
        MailError: an address needs an extension that the server does not offer, and nothing was sent; or any other
            error.
    """
    parameters = _parameters(dialogue, envelope)
    async with dialogue.exclusive_use("envelope"):
        dialogue.poll_unsolicited()
        refusal = await _try_envelope(dialogue, envelope, parameters)
        if dialogue.alive and dialogue.protocol.state is not State.READY:
            # Only if needed: servers that require TLS or authentication first may refuse RSET as well.
            await dialogue.execute(dialogue.protocol.rset())
        if refusal is not None:
            raise refusal


def _parameters(dialogue: BaseSmtpDialogue[Any], envelope: Envelope) -> str:
    capabilities = dialogue.protocol.capabilities
    international = any(address.smtputf8 for address in (envelope.sender, *envelope.recipients))
    if international and "SMTPUTF8" not in capabilities:
        raise MailError(
            "The address is international, and the mail server takes no such (SMTPUTF8).",
            stage="envelope",
            cause="sender_refused" if envelope.sender.smtputf8 else "recipient_refused",
        )
    return envelope.mail_parameters(capabilities, size=PROBE_SIZE, eight_bit=False, smtputf8=international)


async def _try_envelope(dialogue: BaseSmtpDialogue[Any], envelope: Envelope, parameters: str) -> RefusedError | None:
    """Return the refusal of the envelope; None if it is accepted."""
    reply = await dialogue.execute(dialogue.protocol.mail(envelope.sender, parameters))
    if not reply.positive:
        return dialogue.refusal(reply, verb=Verb.MAIL)
    refused: dict[str, Reply] = {}
    for recipient in envelope.recipients:
        reply = await dialogue.execute(dialogue.protocol.rcpt(recipient, ""))
        if not reply.positive:
            refused[recipient.original] = reply
        if not dialogue.alive:
            return dialogue.refusal(reply)
    return (
        None if len(refused) < len(envelope.recipients) else all_refused_error(dialogue.channel.endpoint.host, refused)
    )
