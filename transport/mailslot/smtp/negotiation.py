"""What of an envelope a server supports: found out before anything is sent, once for each envelope of a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot.errors import MailError
from mailslot.smtp.commands import mail_command, rcpt_command
from mailslot.smtp.envelope import DeliveryStatus, Envelope
from mailslot.smtp.refusals import all_refused_error
from mailslot.smtp.states import Verb
from mailslot.wire.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.smtp.address import Address
    from mailslot.smtp.capabilities import Capabilities
    from mailslot.smtp.content import Content

_MAX_REMEMBERED: Final = 256
"""Envelopes that a session remembers."""

_LISTS: Final = frozenset({list, tuple})
"""What recipients are remembered from."""

_LONGEST_SIZE: Final = 10**20 - 1
"""The longest number that SIZE may have (RFC 1870 section 4)."""


@dataclass(slots=True)
class NegotiatedEnvelope:
    """The envelope that the server supports, for any message of the same kind.

    Attributes:
        sender: the reverse-path.
        recipients: the recipients to send to the server.
        refused: the others, by address as the caller gave it, with the reply that the server would send.
        announces_size: whether MAIL has the parameter SIZE.
        further_parameters: the other parameters of MAIL.
        rcpt_parameters: the parameters of RCPT, for each recipient.
        accepted: the recipients, as the caller gave them, once the server has accepted all of them.
        verbs: the verbs of `commands`.
    """

    sender: Address
    recipients: list[Address]
    refused: dict[str, Reply]
    announces_size: bool
    further_parameters: str
    rcpt_parameters: list[str]
    accepted: list[str] = field(init=False)
    verbs: tuple[Verb, ...] = field(init=False)
    _mail: tuple[bytes, bytes] | None = None
    _group: tuple[bytes, bytes] | None = None
    _rcpts: list[bytes] = field(default_factory=list[bytes])

    def __post_init__(self) -> None:
        self.accepted = [recipient.original for recipient in self.recipients]
        self.verbs = (Verb.MAIL, *(Verb.RCPT,) * len(self.recipients))

    def mail_parameters(self, size: int) -> str:
        """Return the parameters of MAIL for a message of `size` octets."""
        return f" SIZE={size}{self.further_parameters}" if self.announces_size else self.further_parameters

    def mail(self, size: int) -> bytes:
        """Return MAIL for a message of `size` octets."""
        before, after = self._around_size()
        return b"%b%d%b" % (before, size, after) if self.announces_size else before

    def _around_size(self) -> tuple[bytes, bytes]:
        """Return MAIL in two parts, with the size in between if it is announced."""
        if self._mail is None:
            # Checked with the longest number; for each message only the number is another one.
            longest = mail_command(self.sender, self.mail_parameters(_LONGEST_SIZE))
            before, size_parameter, after = longest.rpartition(b"> SIZE=%d" % _LONGEST_SIZE)
            self._mail = (before + size_parameter[: len(b"> SIZE=")], after) if self.announces_size else (longest, b"")
        return self._mail

    def rcpts(self) -> list[bytes]:
        """Return RCPT for each recipient."""
        if not self._rcpts:
            self._rcpts = list(map(rcpt_command, self.recipients, self.rcpt_parameters))
        return self._rcpts

    def commands(self, size: int) -> bytes:
        """Return MAIL, and RCPT for each recipient, as one group (RFC 2920)."""
        if self._group is None:
            before, after = self._around_size()
            self._group = before, after + b"".join(self.rcpts())
        before, after = self._group
        return b"%b%d%b" % (before, size, after) if self.announces_size else before + after


class Negotiator:
    """Validates the envelopes of a session and compares them with the server's capabilities.

    A device sends to few recipients again and again, so what was found for an envelope is remembered.

    Attributes:
        capabilities: the server's capabilities.
        max_transactions: its limit for one session (RFC 9422 section 5.1); None without one.
        can_pipeline: whether it takes commands in groups (PIPELINING).
        can_chunk: whether it also takes messages in chunks (CHUNKING).
    """

    def __init__(self, capabilities: Capabilities, host: str) -> None:
        """Prepare for a session.

        Args:
            capabilities: the server's capabilities.
            host: the server's name, for errors.
        """
        self.capabilities = capabilities
        self._host = host
        self.max_transactions = capabilities.limit("MAILMAX")
        self.can_pipeline = "PIPELINING" in capabilities
        self.can_chunk = self.can_pipeline and "CHUNKING" in capabilities
        self._max_size = capabilities.size
        self._envelopes: dict[tuple[str, tuple[str, ...], DeliveryStatus | None], Envelope] = {}
        self._negotiated: dict[tuple[Envelope, bool, bool], NegotiatedEnvelope] = {}

    def validate(self, sender: str, recipients: Sequence[str], delivery: DeliveryStatus | None) -> Envelope:
        """Return the envelope.

        Raises:
            InputError: as for `Envelope`.
        """
        if type(recipients) not in _LISTS:
            return Envelope(sender, recipients, delivery)
        key = sender, tuple(recipients), delivery
        try:
            return self._envelopes[key]
        except TypeError:
            # Something in it is no text, or the events of `delivery` are a list.
            return Envelope(sender, recipients, delivery)
        except KeyError:
            if len(self._envelopes) >= _MAX_REMEMBERED:
                self._envelopes.clear()
        envelope = self._envelopes[key] = Envelope(sender, recipients, delivery)
        return envelope

    def negotiate(self, envelope: Envelope, content: Content) -> NegotiatedEnvelope:
        """Compare an envelope and its message with the server's capabilities.

        Raises:
            MailError: they rule this message out; stage `envelope`.
        """
        if self._max_size is not None and content.size > self._max_size:
            raise _unsupported_error(
                "message_too_large",
                f"The message has {content.size:,} octets, and the mail server takes at most {self._max_size:,}.",
            )
        key = envelope, content.eight_bit, content.smtputf8
        try:
            return self._negotiated[key]
        except KeyError:
            if len(self._negotiated) >= _MAX_REMEMBERED:
                self._negotiated.clear()
        negotiated = self._negotiated[key] = self._compare(*key)
        return negotiated

    def _compare(self, envelope: Envelope, eight_bit: bool, smtputf8: bool) -> NegotiatedEnvelope:  # noqa: FBT001 - a key
        capabilities = self.capabilities
        international = "SMTPUTF8" in capabilities
        if smtputf8 and not international:
            raise _unsupported_error(
                "content_refused",
                "The message's header is international, and the mail server takes no such (SMTPUTF8).",
            )
        if eight_bit and "8BITMIME" not in capabilities:
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
            raise all_refused_error(self._host, refused)
        smtputf8 = smtputf8 or envelope.sender.smtputf8 or any(recipient.smtputf8 for recipient in recipients)
        return NegotiatedEnvelope(
            envelope.sender,
            recipients,
            refused,
            "SIZE" in capabilities,
            envelope.mail_parameters(capabilities, size=None, eight_bit=eight_bit, smtputf8=smtputf8),
            [envelope.rcpt_parameters(recipient, capabilities) for recipient in recipients],
        )


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
