"""The wire behaviour of different mail services, as data.

A variant is made with `dataclasses.replace`, for example
``replace(DOVECOT, smtp=replace(DOVECOT.smtp, line_limit=512))``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolBehavior:
    """The behaviour of one protocol; the lines of a reply are joined with LF.

    Attributes:
        greeting: the greeting.
        capabilities: EHLO keywords or CAPA lines before TLS; for SMTP the first is the server's name.
        capabilities_tls: the same inside TLS.
        capabilities_authenticated: CAPA lines after authentication; unused for SMTP.
        scope: the scope that an access token needs.
        replies: complete replies by key; see `POSTFIX_REPLIES` and `DOVECOT_REPLIES`.
        closes_after: the keys of replies after which the server closes the connection.
        line_limit: octets of a command line, including CRLF.
        response_limit: octets of base64 in a SASL response.
        initial_response: whether AUTH with an initial response is supported.
    """

    greeting: str
    capabilities: tuple[str, ...]
    capabilities_tls: tuple[str, ...]
    capabilities_authenticated: tuple[str, ...] = ()
    scope: str
    replies: Mapping[str, str]
    closes_after: frozenset[str] = frozenset()
    line_limit: int
    response_limit: int = 12_288
    initial_response: bool = True

    def capability_parameters(self, keyword: str, *, tls: bool) -> str | None:
        """Return the parameters of a capability; None if it is not offered."""
        for line in self.capabilities_tls if tls else self.capabilities:
            name, _, parameters = line.partition(" ")
            if name == keyword:
                return parameters
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Personality:
    """A mail service to simulate.

    Attributes:
        name: the name of the service.
        source: where its behaviour was documented or measured; other replies are those of Postfix or Dovecot.
        smtp, pop3: its behaviour in each protocol.
        mechanisms: the SASL mechanisms that it supports, offered or not.
        xoauth2, oauthbearer: the members of the JSON challenge that refuses a token, in which
            ``{issuer}`` stands for the provider's address; None for a refusal without challenge.
        passwords: whether passwords are accepted.
        tls_required: whether TLS is required before MAIL, AUTH, USER and PASS.
        sign_in_required: the command at which SMTP refuses unauthenticated clients; None for an open relay.
        own_sender: the moment at which a sender other than the account is refused; None for never.
        retrieving_removes: whether retrieved messages are deleted at QUIT without DELE.
        login_delay: the least seconds between two POP3 sign-ins (RFC 2449 section 6.5).
    """

    name: str
    source: str
    smtp: ProtocolBehavior
    pop3: ProtocolBehavior
    mechanisms: frozenset[str]
    xoauth2: Mapping[str, str] | None
    oauthbearer: Mapping[str, str] | None
    passwords: bool = True
    tls_required: bool = True
    sign_in_required: Literal["MAIL", "RCPT"] | None = "MAIL"
    own_sender: Literal["MAIL", "RCPT", "message"] | None = None
    retrieving_removes: bool = False
    login_delay: float = 0.0


def _split_lines(text: str) -> tuple[str, ...]:
    return tuple(text.split(" / "))


POSTFIX_REPLIES: Final[Mapping[str, str]] = {
    "starttls": "220 2.0.0 Ready to start TLS",
    "signed_in": "235 2.7.0 Authentication successful",
    "token": "535 5.7.8 Error: authentication failed: (reason unavailable)",
    "password": "535 5.7.8 Error: authentication failed: (reason unavailable)",
    "unavailable": "535 5.7.8 Error: authentication failed: (reason unavailable)",
    "malformed": "535 5.7.8 Error: authentication failed: Invalid base64 data",
    "mechanism": "535 5.7.8 Error: authentication failed: Invalid authentication mechanism",
    "cancelled": "501 5.7.0 Authentication aborted",
    "long_line": "500 5.5.2 Error: line too long",
    "long_auth": "535 5.7.8 Error: authentication failed: Invalid base64 data in initial response",
    "long_response": "500 5.5.6 SASL response limit exceeded",
    "tls_first": "530 5.7.0 Must issue a STARTTLS command first",
    "sign_in_first": "553 5.7.1 Sender address rejected: not logged in",
    "own_sender": "553 5.7.1 Sender address rejected: not owned by user",
    "sender": "250 2.1.0 Ok",
    "recipient": "250 2.1.5 Ok",
    "data": "354 End data with <CR><LF>.<CR><LF>",
    "queued": "250 2.0.0 Ok: queued",
    "too_large": "552 5.3.4 Message size exceeds fixed limit",
    "quit": "221 2.0.0 Bye",
}
"""Postfix's replies; the other personalities replace some of them."""

DOVECOT_REPLIES: Final[Mapping[str, str]] = {
    "capabilities": "+OK",
    "starttls": "+OK Begin TLS negotiation now.",
    "user": "+OK",
    "signed_in": "+OK Logged in.",
    "token": "-ERR [AUTH] Authentication failed.",
    "password": "-ERR [AUTH] Authentication failed.",
    "unavailable": "-ERR [SYS/TEMP] Temporary authentication failure.",
    "malformed": "-ERR [AUTH] Invalid base64 data in initial response",
    "mechanism": "-ERR [AUTH] Unsupported authentication mechanism.",
    "cancelled": "-ERR Authentication aborted by client.",
    "long_line": "-ERR Command line too long.",
    "long_response": "",
    "one_line": "-ERR",
    "tls_first": "-ERR [AUTH] Plaintext authentication disabled.",
    "in_use": "-ERR [IN-USE] Mailbox is locked by another POP3 session.",
    "login_delay": "-ERR [LOGIN-DELAY] You have to wait before you may log in again.",
    "quit": "+OK Logging out.",
}
"""Dovecot's responses."""

_POSTFIX_CAPABILITIES: Final = (
    "mail.test / PIPELINING / SIZE 104857600 / VRFY / {} / ENHANCEDSTATUSCODES / 8BITMIME / DSN / SMTPUTF8 / CHUNKING"
)

DOVECOT: Final = Personality(
    name="Dovecot and Postfix",
    source="measured on Dovecot 2.3.19 and Postfix 3.7.11; RFC 5321, RFC 1939, RFC 7628",
    smtp=ProtocolBehavior(
        greeting="220 mail.test ESMTP Postfix",
        capabilities=_split_lines(_POSTFIX_CAPABILITIES.format("STARTTLS")),
        capabilities_tls=_split_lines(
            _POSTFIX_CAPABILITIES.format("AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER SCRAM-SHA-256")
        ),
        scope="mail.send",
        replies=POSTFIX_REPLIES,
        line_limit=2_048,
    ),
    pop3=ProtocolBehavior(
        greeting="+OK Dovecot ready.",
        capabilities=_split_lines("CAPA / TOP / UIDL / RESP-CODES / PIPELINING / AUTH-RESP-CODE / STLS / SASL"),
        capabilities_tls=_split_lines(
            "CAPA / TOP / UIDL / RESP-CODES / PIPELINING / AUTH-RESP-CODE / USER / "
            "SASL PLAIN LOGIN XOAUTH2 OAUTHBEARER SCRAM-SHA-256"
        ),
        capabilities_authenticated=_split_lines("CAPA / TOP / UIDL / RESP-CODES / PIPELINING / AUTH-RESP-CODE"),
        scope="mail.pop",
        replies=DOVECOT_REPLIES,
        closes_after=frozenset({"long_response", "in_use"}),
        line_limit=8_192,
        response_limit=8_192,
    ),
    mechanisms=frozenset({"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "SCRAM-SHA-256"}),
    xoauth2={
        "status": "401",
        "schemes": "bearer",
        "scope": "mail",
        "openid-configuration": "{issuer}/.well-known/openid-configuration",
    },
    oauthbearer={
        "status": "invalid_token",
        "openid-configuration": "{issuer}/.well-known/openid-configuration",
    },
    sign_in_required="RCPT",
    own_sender="RCPT",
)

_EXCHANGE_CAPABILITIES: Final = (
    "outlook.test Hello [127.0.0.1] / SIZE 157286400 / PIPELINING / DSN / ENHANCEDSTATUSCODES / {} / "
    "8BITMIME / BINARYMIME / CHUNKING / SMTPUTF8"
)

EXCHANGE: Final = Personality(
    name="Exchange Online",
    source=(
        'Microsoft, "Authenticate an IMAP, POP or SMTP connection using OAuth"; logs in '
        "jstedfast/MailKit #1770, simonrob/email-oauth2-proxy #95 and #244, kisli/vmime #267, "
        "IndySockets/Indy #192, getmail6 #256; its limit for an SMTP line is unknown and RFC 5321's here"
    ),
    smtp=ProtocolBehavior(
        greeting="220 outlook.test Microsoft ESMTP MAIL Service ready",
        capabilities=_split_lines(_EXCHANGE_CAPABILITIES.format("STARTTLS")),
        capabilities_tls=_split_lines(_EXCHANGE_CAPABILITIES.format("AUTH LOGIN XOAUTH2")),
        scope="https://outlook.office.com/SMTP.Send",
        replies={
            **POSTFIX_REPLIES,
            "starttls": "220 2.0.0 SMTP server ready",
            "token": "535 5.7.3 Authentication unsuccessful [outlook.test]",
            "password": "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
            "unavailable": "451 4.7.0 Temporary server error. Please try again later. PRX4",
            "malformed": "535 5.7.3 Authentication unsuccessful [outlook.test]",
            "mechanism": "504 5.7.4 Unrecognized authentication type",
            "cancelled": "535 5.7.3 Authentication unsuccessful [outlook.test]",
            "sign_in_first": "530 5.7.57 Client not authenticated to send mail. [outlook.test]",
            "own_sender": "554 5.2.252 SendAsDenied; account not allowed to send as sender",
            "sender": "250 2.1.0 Sender OK",
            "recipient": "250 2.1.5 Recipient OK",
            "data": "354 Start mail input; end with <CRLF>.<CRLF>",
            "queued": "250 2.0.0 OK [Hostname=outlook.test]",
            "quit": "221 2.0.0 Service closing transmission channel",
        },
        line_limit=512,
    ),
    pop3=ProtocolBehavior(
        greeting="+OK The Microsoft Exchange POP3 service is ready. [dABlAHMAdAA=]",
        capabilities=_split_lines("TOP / UIDL / STLS"),
        capabilities_tls=_split_lines("TOP / UIDL / SASL PLAIN XOAUTH2 / USER"),
        capabilities_authenticated=_split_lines("TOP / UIDL"),
        scope="https://outlook.office.com/POP.AccessAsUser.All",
        replies={
            **DOVECOT_REPLIES,
            "starttls": "+OK Begin TLS negotiation.",
            "signed_in": "+OK User successfully logged on.",
            "token": "-ERR Authentication failure: unknown user name or bad password.",
            "password": "-ERR Logon failure: unknown user name or bad password.",
            "malformed": "-ERR Authentication failure: unknown user name or bad password.",
            "tls_first": "-ERR Command is not valid in this state.",
            "one_line": "-ERR Protocol error. Connection is closed. 10",
            "long_response": "-ERR Protocol error. Connection is closed. 10",
            "quit": "+OK Microsoft Exchange Server POP3 server signing off.",
        },
        closes_after=frozenset({"long_response", "one_line", "in_use"}),
        line_limit=255,
        response_limit=5_632,
        initial_response=False,
    ),
    mechanisms=frozenset({"PLAIN", "LOGIN", "XOAUTH2"}),
    xoauth2=None,
    oauthbearer=None,
    passwords=False,
    own_sender="message",
)

_GMAIL_CAPABILITIES: Final = (
    "smtp.gmail.test at your service, [127.0.0.1] / SIZE 35882577 / 8BITMIME / {} / ENHANCEDSTATUSCODES / "
    "PIPELINING / CHUNKING / SMTPUTF8"
)

GMAIL: Final = Personality(
    name="Gmail",
    source=(
        'Google, "OAuth 2.0 Mechanism"; logs in simonrob/email-oauth2-proxy #287, '
        "bokysan/docker-postfix #101, horde/Imap_Client #36, jstedfast/MailKit #962 and #1343, "
        "postalsys/imapflow #157; Gmail Help on POP; it has no STLS of its own"
    ),
    smtp=ProtocolBehavior(
        greeting="220 smtp.gmail.test ESMTP - gsmtp",
        capabilities=_split_lines(_GMAIL_CAPABILITIES.format("STARTTLS")),
        capabilities_tls=_split_lines(
            _GMAIL_CAPABILITIES.format("AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH")
        ),
        scope="https://mail.google.com/",
        replies={
            **POSTFIX_REPLIES,
            "signed_in": "235 2.7.0 Accepted",
            "token": "535-5.7.8 Username and Password not accepted. For more information, go to\n"
            "535 5.7.8  https://support.google.com/mail/?p=BadCredentials - gsmtp",
            "password": "534-5.7.9 Application-specific password required. For more information,\n"
            "534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor - gsmtp",
            "unavailable": "454 4.7.0 Temporary authentication failure - gsmtp",
            "malformed": "501 5.5.2 Cannot Decode response - gsmtp",
            "mechanism": "504 5.7.4 Unrecognized Authentication Type - gsmtp",
            "long_line": "555 5.5.2 Syntax error, goodbye - gsmtp",
            "long_auth": "555 5.5.2 Syntax error, goodbye - gsmtp",
            "sign_in_first": "530 5.7.0 Authentication Required. - gsmtp",
            "sender": "250 2.1.0 OK - gsmtp",
            "recipient": "250 2.1.5 OK - gsmtp",
            "data": "354 Go ahead - gsmtp",
            "queued": "250 2.0.0 OK - gsmtp",
            "too_large": "552 5.2.3 Your message exceeded Google's message size limits. - gsmtp",
            "quit": "221 2.0.0 closing connection - gsmtp",
        },
        closes_after=frozenset({"long_line", "long_auth"}),
        line_limit=1_007,
    ),
    pop3=ProtocolBehavior(
        greeting="+OK Gpop ready for requests from 127.0.0.1",
        capabilities=_split_lines("USER / RESP-CODES / EXPIRE 0 / LOGIN-DELAY 300 / TOP / UIDL / STLS"),
        capabilities_tls=_split_lines(
            "USER / RESP-CODES / EXPIRE 0 / LOGIN-DELAY 300 / TOP / UIDL / X-GOOGLE-RICO / "
            "SASL PLAIN XOAUTH2 OAUTHBEARER"
        ),
        capabilities_authenticated=_split_lines("USER / RESP-CODES / EXPIRE 0 / LOGIN-DELAY 300 / TOP / UIDL"),
        scope="https://mail.google.com/",
        replies={
            **DOVECOT_REPLIES,
            "capabilities": "+OK Capability list follows",
            "user": "+OK send PASS",
            "signed_in": "+OK Welcome.",
            "token": "-ERR [AUTH] Username and password not accepted.",
            "password": "-ERR [AUTH] Application-specific password required",
            "quit": "+OK Farewell.",
        },
        closes_after=frozenset({"in_use"}),
        line_limit=8_192,
    ),
    mechanisms=frozenset({"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}),
    xoauth2={"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"},
    oauthbearer={"status": "invalid_request", "scope": "https://mail.google.com/"},
    passwords=False,
    retrieving_removes=True,
)
