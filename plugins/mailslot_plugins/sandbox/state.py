"""The state that the SMTP and POP3 servers share: users, maildrops, rules, and the recorded dialogues."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailslot_plugins.sandbox.faults import Fault

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from mailslot.net.server_connection import ServerConnection
    from mailslot.plugin import Secret, Transcript
    from mailslot_plugins.sandbox.maildrop import Maildrop
    from mailslot_plugins.sandbox.personality import Personality
    from mailslot_plugins.sandbox.provider import Provider


@dataclass(frozen=True, slots=True)
class EnvelopePath:
    """A sender or a recipient, with the parameters of its command (RFC 5321 section 4.1.2).

    Attributes:
        address: the mailbox; empty for the null sender.
        parameters: by keyword in capitals; an empty text for a keyword without a value.
    """

    address: str
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class SubmittedMessage:
    """A message that SMTP accepted.

    Attributes:
        sender: its sender.
        recipients: the accepted recipients.
        content: its octets, dot-unstuffed and otherwise unchanged.
        user: the authenticated user; None if there was none.
        verb: ``DATA`` or ``BDAT``.
        violations: violations of standards in it, for example a bare CR or LF, or a wrong SIZE.
    """

    sender: EnvelopePath
    recipients: list[EnvelopePath]
    content: bytes = field(repr=False)
    user: str | None
    verb: str
    violations: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Dialogue:
    """The dialogue on one connection, without secrets and without messages.

    Attributes:
        protocol: ``smtp`` or ``pop3``.
        number: the number of the connection of that protocol, counted from 1.
        connection: the server's data about the client.
        violations: violations of standards by the client that the server tolerated.
        verb: the last command.
    """

    protocol: str
    number: int
    connection: ServerConnection
    violations: list[str] = field(default_factory=list[str])
    verb: str = ""

    @property
    def transcript(self) -> Transcript:
        """The transcript."""
        return self.connection.transcript

    @property
    def user(self) -> str | None:
        """The authenticated user; None if there is none."""
        return self.connection.user

    @property
    def tls(self) -> bool:
        """Whether TLS is active."""
        return self.connection.peer.tls is not None

    def add_violation(self, text: str) -> None:
        """Record a violation of a standard."""
        self.violations.append(text)
        self.transcript.event(f"flaw: {text}")

    def __str__(self) -> str:
        return f"{self.protocol} connection {self.number}\n{self.transcript}"


@dataclass(slots=True)
class RefusalRules:
    """Complete replies that refuse, for example ``"452 4.2.2 Mailbox full"``.

    Addresses are in lower case.

    Attributes:
        senders: at MAIL, by address.
        recipients: at RCPT, by address.
        content: after the message; None to accept it.
    """

    senders: dict[str, str] = field(default_factory=dict[str, str])
    recipients: dict[str, str] = field(default_factory=dict[str, str])
    content: str | None = None


@dataclass(kw_only=True)
class SandboxState:
    """The state of a sandbox; tests may read and change all of it at any time.

    Attributes:
        personality: the simulated service.
        provider: the authorization server.
        passwords: the passwords by user, in lower case.
        maildrops: the maildrops by user, in lower case.
        tls: the TLS context of the servers.
        rules: the refusals.
        faults: the faults to inject; the first one that matches counts.
        submissions: the messages that SMTP accepted, oldest first.
        dialogues: the dialogues by connection, oldest first.
        errors: errors of the sandbox itself; always empty.
    """

    personality: Personality
    provider: Provider
    passwords: dict[str, Secret]
    maildrops: dict[str, Maildrop]
    tls: ssl.SSLContext
    rules: RefusalRules = field(default_factory=RefusalRules)
    faults: list[Fault] = field(default_factory=list[Fault])
    submissions: list[SubmittedMessage] = field(default_factory=list[SubmittedMessage])
    dialogues: list[Dialogue] = field(default_factory=list[Dialogue])
    errors: list[Exception] = field(default_factory=list[Exception])

    @property
    def transcript(self) -> str:
        """The transcripts of all dialogues, without secrets."""
        return "\n\n".join(map(str, self.dialogues))

    @property
    def violations(self) -> list[str]:
        """All violations of standards by clients, in dialogues and messages."""
        found = [flaw for dialogue in self.dialogues for flaw in dialogue.violations]
        return found + [flaw for submission in self.submissions for flaw in submission.violations]

    def open_dialogue(self, protocol: str, connection: ServerConnection) -> Dialogue:
        """Start the record of a new connection."""
        number = 1 + sum(dialogue.protocol == protocol for dialogue in self.dialogues)
        dialogue = Dialogue(protocol, number, connection)
        self.dialogues.append(dialogue)
        return dialogue

    def deliver(self, submission: SubmittedMessage) -> None:
        """Store a submission, and add it to the maildrops of its recipients."""
        self.submissions.append(submission)
        for recipient in submission.recipients:
            if maildrop := self.maildrops.get(recipient.address.lower()):
                maildrop.add(submission.content)
