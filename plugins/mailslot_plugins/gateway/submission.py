"""The gateway's SMTP side: identifies the device, and decides which senders and recipients it may use."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError, MailError
from mailslot.smtp.server import replies
from mailslot.smtp.server.replies import reply
from mailslot.smtp.server.trace import received_value
from mailslot.spool.errors import SpoolError
from mailslot.spool.limits import SpoolLimits
from mailslot.vault.errors import VaultError
from mailslot_plugins.gateway.client import Client
from mailslot_plugins.gateway.message_writer import MessageWriter, Transaction
from mailslot_plugins.gateway.rewriting import Sender
from mailslot_plugins.gateway.verdict import stranger_verdict, submission_verdict
from mailslot_plugins.rules.sending_rules import SendingRules, load_rules, with_recipients

if TYPE_CHECKING:
    from mailslot.plugin import Reply, Secret
    from mailslot.slots.gateway.device_entry import DeviceEntry
    from mailslot.smtp.server.backend import Connection, MailParameters
    from mailslot_plugins.gateway.gateway import Gateway

MAX_RECIPIENTS: Final = SpoolLimits().max_recipients

_MAX_REPLY_TEXT: Final = 400
"""Characters; a line of a reply has at most 512 octets (RFC 5321 section 4.5.3.1.5)."""

_PASSWORD_CHANGED: Final = reply(421, "4.7.0", "The password has changed; connect and sign in again")
_TOO_MANY_RECIPIENTS: Final = reply(452, "4.5.3", "Too many recipients")
# The code for a failed directory server (RFC 3463).
_DIRECTORY_FAILED: Final = reply(451, "4.4.3", "The directory that must know the recipient cannot be asked now")
_NO_ACCOUNT_ADDRESS: Final = reply(451, "4.3.5", "The account that this device sends through is not set up yet")


class SubmissionBackend:
    """Creates a handler for each connection.

    Args:
        gateway: the gateway.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def connected(self, connection: Connection) -> Submission:
        """Return the handler of a new connection."""
        return Submission(self._gateway, connection)


class Submission:
    """The handler of one connection; see `mailslot.smtp.server.backend.ConnectionHandler`.

    Changes of the settings take effect at the next message.

    Args:
        gateway: the gateway.
        connection: the connection.
    """

    def __init__(self, gateway: Gateway, connection: Connection) -> None:
        self._gateway = gateway
        self._connection = connection
        self._client = Client(gateway, connection)
        self._entry: DeviceEntry | None = None
        self._sender = ""
        self._size = 0
        self._recipients: list[str] = []
        self._rules = SendingRules()
        self._stored = 0
        self._refusal: Reply | None = None
        self._refused_command = ""

    @property
    def max_size(self) -> int:
        """The maximum octets of a message: the device's limit, or the highest of all while the device is not known."""
        entries = self._client.candidates() if self._entry is None else (self._entry,)
        return max((self._gateway.max_size(entry) for entry in entries), default=0)

    @property
    def offers_authentication(self) -> bool:
        """Whether a device with a password may connect from this address to this listener."""
        return any(entry.user is not None for entry in self._client.candidates())

    async def accept(self) -> Reply | None:
        """Refuse an address from which no device may connect."""
        if not self._client.candidates():
            return self._refuse(replies.NOT_ALLOWED_HERE)
        return None

    async def authenticate(self, user: str, password: Secret) -> Reply | None:
        """Verify a device's password; it also counts as wrong if the address or the certificate is wrong."""
        try:
            entry = await self._client.authenticate(user, password)
        except VaultError:
            return self._refuse(replies.AUTHENTICATION_UNAVAILABLE)
        if entry is None:
            return self._refuse(replies.AUTHENTICATION_FAILED)
        self._entry = entry
        return None

    async def mail(self, sender: str, parameters: MailParameters) -> Reply | None:
        """Identify the device, and decide whether it may send now with this sender."""
        self._recipients = []
        self._entry = entry = self._client.find()
        if entry is None:
            needs_password = any(each.user is not None for each in self._client.candidates())
            return self._refuse(
                replies.AUTHENTICATION_REQUIRED
                if needs_password and self._connection.user is None
                else replies.SENDER_NOT_ALLOWED
            )
        self._sender, self._size = sender, parameters.size or 0
        if refusal := await self._password_refusal(entry) or self._policy_refusal(entry):
            return self._refuse(refusal)
        try:
            self._rules = await load_rules(self._gateway.device)
        except SpoolError:
            return self._refuse(replies.SPOOL_FULL)
        except MailError:
            return self._refuse(_DIRECTORY_FAILED)
        return await self._check_room(self._size)

    async def _password_refusal(self, entry: DeviceEntry) -> Reply | None:
        try:
            return None if await self._client.is_signed_in_as(entry) else _PASSWORD_CHANGED
        except VaultError:
            return replies.AUTHENTICATION_UNAVAILABLE

    async def recipient(self, recipient: str) -> Reply | None:
        """Decide whether the device may send to a recipient."""
        entry = self._entry
        account = None if entry is None else self._account_address(entry)
        if entry is None or account is None or not entry.allows_recipient(recipient, account):
            return self._refuse(replies.RECIPIENT_NOT_ALLOWED, "RCPT")
        try:
            self._rules = await with_recipients(self._gateway.device, self._rules, [recipient])
        except MailError:
            return self._refuse(_DIRECTORY_FAILED, "RCPT")
        if refusal := self._rules.refusal(recipient, self._sender):
            return self._refuse(_refused_by_rule(refusal), "RCPT")
        if len(self._recipients) + len(self._rules.archive) >= MAX_RECIPIENTS:
            return self._refuse(_TOO_MANY_RECIPIENTS, "RCPT")
        if recipient not in self._recipients:
            self._recipients.append(recipient)
        return None

    async def begin(self) -> MessageWriter | Reply:
        """Return the writer for the message."""
        entry, gateway = self._entry, self._gateway
        account = None if entry is None else self._account_address(entry)
        if entry is None or account is None:
            return self._refuse(replies.SENDER_NOT_ALLOWED)
        # Other connections of the device may have sent since MAIL.
        if wait := gateway.rates.wait(entry):
            return self._refuse(replies.too_fast(wait))
        gateway.rates.count(entry)
        keeps = entry.sender == "keep"
        at = datetime.fromtimestamp(gateway.device.now()).astimezone()
        transaction = Transaction(
            device=entry.name,
            via=gateway.settings.slots.find(entry.via).record,
            envelope_sender=self._sender,
            upstream_sender=self._sender if keeps or not self._sender else account,
            recipients=tuple(self._recipients),
            sender=Sender(
                "keep" if keeps else "account",
                account if entry.sender in {"account", "keep"} else entry.sender,
                entry.name,
            ),
            received=partial(
                _received, self._connection, gateway.host, at, self._recipients[0] if len(self._recipients) == 1 else ""
            ),
            at=at,
            allows_sender=entry.allows_sender,
            wants_reports=entry.notify is not None,
            copies=self._rules.copies(self._recipients),
            send_at=self._rules.send_at(at.timestamp()),
        )
        return MessageWriter(
            transaction, gateway.device.spool.acceptance, gateway.guard, gateway.trace_ids, self._note_result
        )

    async def closed(self) -> None:
        """Record the dialogue."""
        connection, entry = self._connection, self._entry or self._client.likely_entry()
        if entry is None:
            verdict = stranger_verdict(connection, self._refusal)
            self._gateway.note_unknown(connection, verdict, helo=connection.hello or "")
            return
        verdict = submission_verdict(
            connection, self._refusal, stored=self._stored, refused_command=self._refused_command
        )
        self._gateway.note(connection, entry, verdict, messages=self._stored, since=self._client.removals)

    def _note_result(self, result: str | Reply) -> None:
        if isinstance(result, str):
            self._stored += 1
            self._refusal = None
        else:
            self._refuse(result)

    def _policy_refusal(self, entry: DeviceEntry) -> Reply | None:
        """Return the reply that refuses a message of this sender and size now; None if it is allowed."""
        # A name without a domain can identify the device, but cannot be the reverse-path of the relayed message.
        is_name = bool(self._sender) and "@" not in self._sender
        if not entry.allows_sender(self._sender) or (is_name and entry.sender == "keep"):
            return replies.SENDER_NOT_ALLOWED
        if self._account_address(entry) is None:
            return _NO_ACCOUNT_ADDRESS
        if wait := self._gateway.rates.wait(entry):
            return replies.too_fast(wait)
        return replies.TOO_LARGE if self._size > self._gateway.max_size(entry) else None

    def _account_address(self, entry: DeviceEntry) -> str | None:
        return self._gateway.settings.addresses.get(entry.via)

    async def _check_room(self, size: int) -> Reply | None:
        try:
            await self._gateway.device.spool.acceptance.check_room(size)
        except SpoolError:
            return self._refuse(replies.SPOOL_FULL)
        except InputError:
            return self._refuse(replies.TOO_LARGE)
        return None

    def _refuse(self, refusal: Reply, command: str = "") -> Reply:
        self._refusal, self._refused_command = refusal, command
        return refusal


def _refused_by_rule(sentence: str) -> Reply:
    # Addresses may have other characters, and a reply has only ASCII (RFC 5321 section 4.2).
    return reply(550, "5.7.1", sentence.encode("ascii", "replace").decode()[:_MAX_REPLY_TEXT])


def _received(connection: Connection, host: str, at: datetime, recipient: str, identifier: str) -> str:
    return received_value(connection, host=host, job=identifier, when=at, recipient=recipient)
