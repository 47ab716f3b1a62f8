"""mailslot: the mail side of a scanner, fax machine or printer, with OAuth 2.0 done right."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
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

# A program that only submits loads nothing of POP3, and the reverse.
_MODULES: Final = {
    "AccessToken": "sasl.credentials",
    "ClosedError": "errors",
    "DeletionsRefusedError": "errors",
    "DeliveryStatus": "smtp.envelope",
    "Endpoint": "net.endpoint",
    "Entry": "pop3.listing",
    "InputError": "errors",
    "MailError": "errors",
    "NetworkError": "errors",
    "OAuth": "sasl.credentials",
    "Password": "sasl.credentials",
    "Pop3Session": "pop3.session",
    "Receipt": "smtp.receipt",
    "RecipientsRefusedError": "errors",
    "RefusedError": "errors",
    "Reply": "wire.reply",
    "Secret": "wire.secret",
    "Security": "net.endpoint",
    "ServerError": "errors",
    "SignInError": "errors",
    "SmtpSession": "smtp.session",
    "StaticToken": "sasl.credentials",
    "Submission": "smtp.batch",
    "TokenError": "errors",
    "TokenSource": "sasl.credentials",
    "Transcript": "wire.transcript",
    "connect_pop3": "pop3.connect",
    "connect_smtp": "smtp.connect",
}
"""The module of each name, loaded when the name is first used (PEP 562)."""

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


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the names are of many types
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found
