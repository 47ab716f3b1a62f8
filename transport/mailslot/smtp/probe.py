"""A transaction that ends where the message would begin: MAIL, RCPT, RSET (RFC 5321 section 4.1.1.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import MailError
from mailslot.smtp.refusals import nobody_accepted
from mailslot.smtp.states import State, Verb

if TYPE_CHECKING:
    from mailslot.errors import RefusedError
    from mailslot.smtp.base_dialogue import BaseSmtpDialogue
    from mailslot.smtp.envelope import Envelope
    from mailslot.wire.reply import Reply

SIZE: Final = 1_024
"""Octets of the message that is asked about; some servers refuse by the declared size alone."""


async def probe(dialogue: BaseSmtpDialogue[Any], envelope: Envelope) -> None:
    """Give the server an envelope and take it back.

    One command at a time, so that each answer is known to be that command's.

    Raises:
        RefusedError: the sender or every recipient is refused; the session can go on.
        MailError: an address needs what the server does not offer, and nothing was said; or anything else.
    """
    parameters = _parameters(dialogue, envelope)
    async with dialogue.exclusive_use("envelope"):
        dialogue.poll_unsolicited()
        refusal = await _asked(dialogue, envelope, parameters)
        if dialogue.alive and dialogue.protocol.state is not State.READY:
            # Only then: where TLS or a sign-in has to come first, some servers refuse RSET, too.
            await dialogue.ask(dialogue.protocol.rset())
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
    return envelope.mail_parameters(capabilities, size=SIZE, eight_bit=False, smtputf8=international)


async def _asked(dialogue: BaseSmtpDialogue[Any], envelope: Envelope, parameters: str) -> RefusedError | None:
    """Return why the envelope is not taken; None where it is."""
    reply = await dialogue.ask(dialogue.protocol.mail(envelope.sender, parameters))
    if not reply.positive:
        return dialogue.refusal(reply, verb=Verb.MAIL)
    refused: dict[str, Reply] = {}
    for recipient in envelope.recipients:
        reply = await dialogue.ask(dialogue.protocol.rcpt(recipient, ""))
        if not reply.positive:
            refused[recipient.given] = reply
        if not dialogue.alive:
            return dialogue.refusal(reply)
    return None if len(refused) < len(envelope.recipients) else nobody_accepted(dialogue.channel.endpoint.host, refused)
