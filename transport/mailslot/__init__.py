"""mailslot: the mail side of a scanner, fax machine or printer, with OAuth 2.0 done right."""

from __future__ import annotations

from mailslot.errors import (
    ClosedError,
    DeletionsRefusedError,
    InputError,
    MailError,
    NetworkError,
    RecipientsRefusedError,
    RefusedError,
    ServerError,
    SignInError,
    TokenError,
)
from mailslot.net.endpoint import Endpoint, Security
from mailslot.pop3.connect import connect_pop3
from mailslot.pop3.listing import Entry
from mailslot.pop3.session import Pop3Session
from mailslot.sasl.credentials import AccessToken, OAuth, Password, StaticToken, TokenSource
from mailslot.smtp.batch import Submission
from mailslot.smtp.connect import connect_smtp
from mailslot.smtp.envelope import DeliveryStatus
from mailslot.smtp.receipt import Receipt
from mailslot.smtp.session import SmtpSession
from mailslot.wire.reply import Reply
from mailslot.wire.secret import Secret
from mailslot.wire.transcript import Transcript

__all__ = [
    "AccessToken",
    "ClosedError",
    "DeletionsRefusedError",
    "DeliveryStatus",
    "Endpoint",
    "Entry",
    "InputError",
    "MailError",
    "NetworkError",
    "OAuth",
    "Password",
    "Pop3Session",
    "Receipt",
    "RecipientsRefusedError",
    "RefusedError",
    "Reply",
    "Secret",
    "Security",
    "ServerError",
    "SignInError",
    "SmtpSession",
    "StaticToken",
    "Submission",
    "TokenError",
    "TokenSource",
    "Transcript",
    "connect_pop3",
    "connect_smtp",
]

__version__ = "0.1.0"
