"""The wire behaviour of different mail services, as data.

A variant is made with `dataclasses.replace`, for example
``replace(DOVECOT, smtp=replace(DOVECOT.smtp, line_limit=512))``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from mailslot.pop3.replies import parse_status
from mailslot.pop3.server import replies as pop3
from mailslot.smtp.replies import ReplyParser
from mailslot.smtp.server import replies as smtp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.wire.reply import Reply

# Replies that a personality can replace, in addition to those of the library's servers.

QUEUED: Final = smtp.reply(250, "2.0.0", "queued")
TOKEN_REFUSED: Final = smtp.reply(535, "5.7.8", "The token is refused")
AUTH_TOO_LONG: Final = smtp.reply(500, "5.5.2", "The line of AUTH is too long")
RESPONSE_TOO_LONG: Final = smtp.reply(500, "5.5.6", "The response is too long")
POP3_TOKEN_REFUSED: Final = pop3.error("The token is refused", "AUTH")
POP3_RESPONSE_TOO_LONG: Final = pop3.error("The response is too long")
INITIAL_RESPONSE: Final = pop3.error("AUTH takes no initial response")
LOGIN_DELAY: Final = pop3.error("Too soon after the last sign-in", "LOGIN-DELAY")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolBehavior:
    """The behaviour of one protocol; the lines of a reply are joined with LF.

    Attributes:
        greeting: the greeting.
        capabilities: EHLO keywords or CAPA lines before TLS; for SMTP the first is the server's name.
        capabilities_tls: the same inside TLS.
        capabilities_authenticated: CAPA lines after authentication; unused for SMTP.
        scope: the scope that an access token needs.
        replies: complete replies that replace those of the library's servers or the ones below.
        closes_after: the replies, by the keys of `replies`, after which the server closes the connection.
        line_limit: octets of a command line, including CRLF.
        response_limit: octets of base64 in a SASL response.
        initial_response: whether AUTH with an initial response is supported.
    """

    greeting: str
    capabilities: tuple[str, ...]
    capabilities_tls: tuple[str, ...]
    capabilities_authenticated: tuple[str, ...] = ()
    scope: str
    replies: Mapping[Reply, str]
    closes_after: frozenset[Reply] = frozenset()
    line_limit: int
    response_limit: int = 12_288
    initial_response: bool = True

    @property
    def wording(self) -> dict[Reply, Reply]:
        """The replies, parsed."""
        return {reply: parse_reply(text) for reply, text in self.replies.items()}

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


@cache
def parse_reply(text: str) -> Reply:
    """Return a complete reply, of SMTP or POP3, as a value."""
    if text.startswith(("+OK", "-ERR")):
        return parse_status(text.encode())
    parser = ReplyParser()
    parser.feed("".join(f"{line}\r\n" for line in text.split("\n")).encode())
    reply = parser.next()
    if reply is None:
        raise ValueError(f"an incomplete reply: {text}")
    return reply


def _split_lines(text: str) -> tuple[str, ...]:
    return tuple(text.split(" / "))


POSTFIX_REPLIES: Final[Mapping[Reply, str]] = {
    smtp.START_TLS: "220 2.0.0 Ready to start TLS",
    smtp.SIGNED_IN: "235 2.7.0 Authentication successful",
    TOKEN_REFUSED: "535 5.7.8 Error: authentication failed: (reason unavailable)",
    smtp.AUTHENTICATION_FAILED: "535 5.7.8 Error: authentication failed: (reason unavailable)",
    smtp.AUTHENTICATION_UNAVAILABLE: "535 5.7.8 Error: authentication failed: (reason unavailable)",
    smtp.MALFORMED_RESPONSE: "535 5.7.8 Error: authentication failed: Invalid base64 data",
    smtp.UNKNOWN_MECHANISM: "535 5.7.8 Error: authentication failed: Invalid authentication mechanism",
    smtp.CANCELLED: "501 5.7.0 Authentication aborted",
    smtp.LINE_TOO_LONG: "500 5.5.2 Error: line too long",
    AUTH_TOO_LONG: "535 5.7.8 Error: authentication failed: Invalid base64 data in initial response",
    RESPONSE_TOO_LONG: "500 5.5.6 SASL response limit exceeded",
    smtp.TLS_REQUIRED: "530 5.7.0 Must issue a STARTTLS command first",
    smtp.AUTHENTICATION_REQUIRED: "553 5.7.1 Sender address rejected: not logged in",
    smtp.SENDER_NOT_ALLOWED: "553 5.7.1 Sender address rejected: not owned by user",
    smtp.SENDER_ACCEPTED: "250 2.1.0 Ok",
    smtp.RECIPIENT_ACCEPTED: "250 2.1.5 Ok",
    smtp.SEND_MESSAGE: "354 End data with <CR><LF>.<CR><LF>",
    QUEUED: "250 2.0.0 Ok: queued",
    smtp.TOO_LARGE: "552 5.3.4 Message size exceeds fixed limit",
    smtp.GOODBYE: "221 2.0.0 Bye",
}
"""Postfix's replies; the other personalities replace some of them."""

DOVECOT_REPLIES: Final[Mapping[Reply, str]] = {
    pop3.CAPABILITIES: "+OK",
    pop3.START_TLS: "+OK Begin TLS negotiation now.",
    pop3.SEND_PASSWORD: "+OK",
    POP3_TOKEN_REFUSED: "-ERR [AUTH] Authentication failed.",
    pop3.AUTHENTICATION_FAILED: "-ERR [AUTH] Authentication failed.",
    pop3.UNAVAILABLE: "-ERR [SYS/TEMP] Temporary authentication failure.",
    pop3.MALFORMED_RESPONSE: "-ERR [AUTH] Invalid base64 data in initial response",
    pop3.UNKNOWN_MECHANISM: "-ERR [AUTH] Unsupported authentication mechanism.",
    pop3.CANCELLED: "-ERR Authentication aborted by client.",
    pop3.LINE_TOO_LONG: "-ERR Command line too long.",
    INITIAL_RESPONSE: "-ERR",
    pop3.TLS_REQUIRED: "-ERR [AUTH] Plaintext authentication disabled.",
    pop3.IN_USE: "-ERR [IN-USE] Mailbox is locked by another POP3 session.",
    LOGIN_DELAY: "-ERR [LOGIN-DELAY] You have to wait before you may log in again.",
    pop3.GOODBYE: "+OK Logging out.",
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
        closes_after=frozenset({POP3_RESPONSE_TOO_LONG, pop3.IN_USE}),
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
            smtp.START_TLS: "220 2.0.0 SMTP server ready",
            TOKEN_REFUSED: "535 5.7.3 Authentication unsuccessful [outlook.test]",
            smtp.AUTHENTICATION_FAILED: "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
            smtp.AUTHENTICATION_UNAVAILABLE: "451 4.7.0 Temporary server error. Please try again later. PRX4",
            smtp.MALFORMED_RESPONSE: "535 5.7.3 Authentication unsuccessful [outlook.test]",
            smtp.UNKNOWN_MECHANISM: "504 5.7.4 Unrecognized authentication type",
            smtp.CANCELLED: "535 5.7.3 Authentication unsuccessful [outlook.test]",
            smtp.AUTHENTICATION_REQUIRED: "530 5.7.57 Client not authenticated to send mail. [outlook.test]",
            smtp.SENDER_NOT_ALLOWED: "554 5.2.252 SendAsDenied; account not allowed to send as sender",
            smtp.SENDER_ACCEPTED: "250 2.1.0 Sender OK",
            smtp.RECIPIENT_ACCEPTED: "250 2.1.5 Recipient OK",
            smtp.SEND_MESSAGE: "354 Start mail input; end with <CRLF>.<CRLF>",
            QUEUED: "250 2.0.0 OK [Hostname=outlook.test]",
            smtp.GOODBYE: "221 2.0.0 Service closing transmission channel",
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
            pop3.START_TLS: "+OK Begin TLS negotiation.",
            POP3_TOKEN_REFUSED: "-ERR Authentication failure: unknown user name or bad password.",
            pop3.AUTHENTICATION_FAILED: "-ERR Logon failure: unknown user name or bad password.",
            pop3.MALFORMED_RESPONSE: "-ERR Authentication failure: unknown user name or bad password.",
            pop3.TLS_REQUIRED: "-ERR Command is not valid in this state.",
            INITIAL_RESPONSE: "-ERR Protocol error. Connection is closed. 10",
            POP3_RESPONSE_TOO_LONG: "-ERR Protocol error. Connection is closed. 10",
            pop3.GOODBYE: "+OK Microsoft Exchange Server POP3 server signing off.",
        },
        closes_after=frozenset({POP3_RESPONSE_TOO_LONG, INITIAL_RESPONSE, pop3.IN_USE}),
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
            smtp.SIGNED_IN: "235 2.7.0 Accepted",
            TOKEN_REFUSED: "535-5.7.8 Username and Password not accepted. For more information, go to\n"
            "535 5.7.8  https://support.google.com/mail/?p=BadCredentials - gsmtp",
            smtp.AUTHENTICATION_FAILED: "534-5.7.9 Application-specific password required. For more information,\n"
            "534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor - gsmtp",
            smtp.AUTHENTICATION_UNAVAILABLE: "454 4.7.0 Temporary authentication failure - gsmtp",
            smtp.MALFORMED_RESPONSE: "501 5.5.2 Cannot Decode response - gsmtp",
            smtp.UNKNOWN_MECHANISM: "504 5.7.4 Unrecognized Authentication Type - gsmtp",
            smtp.LINE_TOO_LONG: "555 5.5.2 Syntax error, goodbye - gsmtp",
            AUTH_TOO_LONG: "555 5.5.2 Syntax error, goodbye - gsmtp",
            smtp.AUTHENTICATION_REQUIRED: "530 5.7.0 Authentication Required. - gsmtp",
            smtp.SENDER_ACCEPTED: "250 2.1.0 OK - gsmtp",
            smtp.RECIPIENT_ACCEPTED: "250 2.1.5 OK - gsmtp",
            smtp.SEND_MESSAGE: "354 Go ahead - gsmtp",
            QUEUED: "250 2.0.0 OK - gsmtp",
            smtp.TOO_LARGE: "552 5.2.3 Your message exceeded Google's message size limits. - gsmtp",
            smtp.GOODBYE: "221 2.0.0 closing connection - gsmtp",
        },
        closes_after=frozenset({smtp.LINE_TOO_LONG, AUTH_TOO_LONG}),
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
            pop3.CAPABILITIES: "+OK Capability list follows",
            pop3.SEND_PASSWORD: "+OK send PASS",
            POP3_TOKEN_REFUSED: "-ERR [AUTH] Username and password not accepted.",
            pop3.AUTHENTICATION_FAILED: "-ERR [AUTH] Application-specific password required",
            pop3.GOODBYE: "+OK Farewell.",
        },
        closes_after=frozenset({pop3.IN_USE}),
        line_limit=8_192,
    ),
    mechanisms=frozenset({"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}),
    xoauth2={"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"},
    oauthbearer={"status": "invalid_request", "scope": "https://mail.google.com/"},
    passwords=False,
    retrieving_removes=True,
)
