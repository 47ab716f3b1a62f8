"""Everything that plugins may import: `mailslot`, `mailslot.message`, and the types that each kind of plugin needs.

These names are stable. Those that need an extra, or are slow to import, are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from mailslot import (
    AccessToken,
    ClosedError,
    DeletionsRefusedError,
    DeliveryStatus,
    Endpoint,
    Entry,
    InputError,
    MailError,
    NetworkError,
    OAuth,
    Password,
    Receipt,
    RecipientsRefusedError,
    RefusedError,
    Reply,
    Secret,
    Security,
    ServerError,
    SignInError,
    StaticToken,
    TokenError,
    TokenSource,
    Transcript,
)
from mailslot.message import Attachment, Mailbox, Message
from mailslot.oauth.endpoint_url import check_endpoint_url
from mailslot.service.pipeline import Done, Handled, Later, PanelPackage, Pipeline, SetAside
from mailslot.service.retry_policy import ATTENDED, RESUBMIT_AFTER, UNATTENDED, RetryPolicy
from mailslot.slots import keys
from mailslot.slots.keys import Key
from mailslot.slots.section import DEVICE, Section
from mailslot.spool.incoming import Incoming
from mailslot.spool.job import Job, NewJob
from mailslot.timestamps import iso

if TYPE_CHECKING:
    from mailslot import Pop3Session, SmtpSession, Submission, connect_pop3, connect_smtp
    from mailslot.oauth.authlib_source import AuthlibSource
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.flow import AddressDisplay, AddressPrompt, CodeDisplay, Flow, Person, UserCode
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp
    from mailslot.oauth.refresh_token_flow import RefreshTokenFlow
    from mailslot.oauth.refresh_token_source import RefreshTokenSource
    from mailslot.oauth.token_response import (
        TokenResponse,
        new_grant,
        parse_token_response,
        refreshed_grant,
        request_token,
    )
    from mailslot.sasl.authentication import authenticate
    from mailslot.service.device import Device, Identity, open_device
    from mailslot.service.poller import poll_once
    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot.slots.connector import Connector
    from mailslot.slots.maildrop import Maildrop, MaildropSession, PushingMaildrop, maildrop_of, pop3
    from mailslot.slots.records import Records
    from mailslot.slots.submitter import SubmissionSession, Submitter
    from mailslot.smtp.capabilities import Capabilities
    from mailslot.smtp.content import Content
    from mailslot.spool.spool import Spool
    from mailslot.spool.store import Store

_LAZY: Final = {
    "AddressDisplay": "oauth.flow",
    "AddressPrompt": "oauth.flow",
    "AuthlibSource": "oauth.authlib_source",
    "Capabilities": "smtp.capabilities",
    "CodeDisplay": "oauth.flow",
    "ConnectionProfile": "slots.connection_profile",
    "Connector": "slots.connector",
    "Content": "smtp.content",
    "Device": "service.device",
    "Flow": "oauth.flow",
    "Grant": "oauth.grant",
    "Identity": "service.device",
    "Maildrop": "slots.maildrop",
    "MaildropSession": "slots.maildrop",
    "OAuthClient": "oauth.client",
    "Person": "oauth.flow",
    "Pop3Session": "pop3.session",
    "PushingMaildrop": "slots.maildrop",
    "Records": "slots.records",
    "RefreshTokenFlow": "oauth.refresh_token_flow",
    "RefreshTokenSource": "oauth.refresh_token_source",
    "SmtpSession": "smtp.session",
    "Spool": "spool.spool",
    "Store": "spool.store",
    "Submission": "smtp.batch",
    "SubmissionSession": "slots.submitter",
    "Submitter": "slots.submitter",
    "TokenHttp": "oauth.http",
    "TokenResponse": "oauth.token_response",
    "UserCode": "oauth.flow",
    "authenticate": "sasl.authentication",
    "connect_pop3": "pop3.connect",
    "connect_smtp": "smtp.connect",
    "maildrop_of": "slots.maildrop",
    "new_grant": "oauth.token_response",
    "open_device": "service.device",
    "parse_token_response": "oauth.token_response",
    "poll_once": "service.poller",
    "pop3": "slots.maildrop",
    "refreshed_grant": "oauth.token_response",
    "request_token": "oauth.token_response",
}
"""The names that are loaded on first use, with their module."""

__all__ = [
    "ATTENDED",
    "DEVICE",
    "RESUBMIT_AFTER",
    "UNATTENDED",
    "AccessToken",
    "AddressDisplay",
    "AddressPrompt",
    "Attachment",
    "AuthlibSource",
    "Capabilities",
    "ClosedError",
    "CodeDisplay",
    "ConnectionProfile",
    "Connector",
    "Content",
    "DeletionsRefusedError",
    "DeliveryStatus",
    "Device",
    "Done",
    "Endpoint",
    "Entry",
    "Flow",
    "Grant",
    "Handled",
    "Identity",
    "Incoming",
    "InputError",
    "Job",
    "Key",
    "Later",
    "MailError",
    "Mailbox",
    "Maildrop",
    "MaildropSession",
    "Message",
    "NetworkError",
    "NewJob",
    "OAuth",
    "OAuthClient",
    "PanelPackage",
    "Password",
    "Person",
    "Pipeline",
    "Pop3Session",
    "PushingMaildrop",
    "Receipt",
    "RecipientsRefusedError",
    "Records",
    "RefreshTokenFlow",
    "RefreshTokenSource",
    "RefusedError",
    "Reply",
    "RetryPolicy",
    "Secret",
    "Section",
    "Security",
    "ServerError",
    "SetAside",
    "SignInError",
    "SmtpSession",
    "Spool",
    "StaticToken",
    "Store",
    "Submission",
    "SubmissionSession",
    "Submitter",
    "TokenError",
    "TokenHttp",
    "TokenResponse",
    "TokenSource",
    "Transcript",
    "UserCode",
    "authenticate",
    "check_endpoint_url",
    "connect_pop3",
    "connect_smtp",
    "iso",
    "keys",
    "maildrop_of",
    "new_grant",
    "open_device",
    "parse_token_response",
    "poll_once",
    "pop3",
    "refreshed_grant",
    "request_token",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"mailslot.{_LAZY[name]}"), name)
    return found
