"""What the SMTP and the POP3 server share: users, maildrops, rules, and what happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailslot_plugins.sandbox.connection import Dialogue, Fault

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from mailslot.wire.secret import Secret
    from mailslot_plugins.sandbox.maildrop import Maildrop
    from mailslot_plugins.sandbox.personality import Personality
    from mailslot_plugins.sandbox.provider import Provider


@dataclass(frozen=True, slots=True)
class Path:
    """A sender or a recipient, with the parameters of its command (RFC 5321 section 4.1.2).

    Attributes:
        address: the mailbox; empty for the null sender.
        parameters: by keyword in capitals; an empty text where a keyword stood alone.
    """

    address: str
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class SubmittedMessage:
    """A message that SMTP took.

    Attributes:
        sender: where it came from.
        recipients: where it goes to, those that were accepted.
        content: its octets, dots unstuffed, nothing else changed.
        user: who had signed in; None for nobody.
        verb: ``DATA`` or ``BDAT``.
        flaws: what is forbidden in it: a bare CR or LF, a SIZE that was not true, and the like.
    """

    sender: Path
    recipients: list[Path]
    content: bytes = field(repr=False)
    user: str | None
    verb: str
    flaws: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Rules:
    """Complete answers that refuse, such as ``"452 4.2.2 Mailbox full"``.

    Addresses are in small letters.

    Attributes:
        senders: at MAIL, by address.
        recipients: at RCPT, by address.
        content: after the message; None where it is taken.
    """

    senders: dict[str, str] = field(default_factory=dict[str, str])
    recipients: dict[str, str] = field(default_factory=dict[str, str])
    content: str | None = None


@dataclass(kw_only=True)
class SandboxState:
    """The state of a sandbox; tests may look at all of it and change it at any time.

    Attributes:
        personality: which service it plays.
        provider: the authorization server.
        passwords: by user, in small letters.
        maildrops: by user, in small letters.
        tls: the certificate that is shown in handshakes.
        rules: who and what is refused.
        faults: what goes wrong; of several that fit, the first counts.
        submissions: what SMTP took, oldest first.
        dialogues: what was said, by connection, oldest first.
        errors: the sandbox's own bugs; always empty.
    """

    personality: Personality
    provider: Provider
    passwords: dict[str, Secret]
    maildrops: dict[str, Maildrop]
    tls: ssl.SSLContext
    rules: Rules = field(default_factory=Rules)
    faults: list[Fault] = field(default_factory=list[Fault])
    submissions: list[SubmittedMessage] = field(default_factory=list[SubmittedMessage])
    dialogues: list[Dialogue] = field(default_factory=list[Dialogue])
    errors: list[Exception] = field(default_factory=list[Exception])

    @property
    def transcript(self) -> str:
        """Everything that was said, without secrets."""
        return "\n\n".join(map(str, self.dialogues))

    @property
    def flaws(self) -> list[str]:
        """Everything that clients did against a standard, in dialogues and messages."""
        found = [flaw for dialogue in self.dialogues for flaw in dialogue.flaws]
        return found + [flaw for submission in self.submissions for flaw in submission.flaws]

    def open_dialogue(self, protocol: str) -> Dialogue:
        """Begin to note what is said on a new connection."""
        number = 1 + sum(dialogue.protocol == protocol for dialogue in self.dialogues)
        dialogue = Dialogue(protocol, number)
        self.dialogues.append(dialogue)
        return dialogue

    def deliver(self, submission: SubmittedMessage) -> None:
        """Keep a submission, and put it into the maildrops of its recipients."""
        self.submissions.append(submission)
        for recipient in submission.recipients:
            if maildrop := self.maildrops.get(recipient.address.lower()):
                maildrop.add(submission.content)
