"""For each cause of the catalogue, at least one way to reach it: what is set up, and where the test then fails."""

from __future__ import annotations

import base64
import json
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from diagnosis.device import ALICE, SCANNER, Device
from mailslot import Endpoint, Security
from mailslot.oauth.location import Location
from mailslot_plugins.sandbox import DOVECOT, ENTRA, EXCHANGE, GMAIL, Fault, Sandbox, ScriptedResponse, WebFault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from mailslot_plugins.sandbox import Personality

    Prepare = Callable[[Device, Sandbox], Awaitable[None]]

SMTP, POP = "network.smtp", "fax.pop"


@dataclass(frozen=True)
class Way:
    """A way to a cause.

    Attributes:
        cause: the cause.
        stage: where the test fails; None where it passes.
        prepare: sets it up.
        slot: what is tested.
        send: whether only a message brings it out.
        plays: what the sandbox plays.
    """

    cause: str
    stage: str | None
    prepare: Prepare = field(repr=False)
    slot: str = SMTP
    send: bool = False
    plays: Personality = field(default=DOVECOT, repr=False)

    def __str__(self) -> str:
        return f"{self.cause} {self.prepare.__name__}"


WAYS: list[Way] = []


def way(cause: str, stage: str | None, **more: Any) -> Callable[[Prepare], Prepare]:
    """Put what prepares it into the table."""

    def put(prepare: Prepare) -> Prepare:
        WAYS.append(Way(cause, stage, prepare, **more))
        return prepare

    return put


def simple(cause: str, stage: str | None, prepare: Prepare, name: str, **more: Any) -> None:
    """Put a way into the table whose set-up needs no more than a line."""
    prepare.__name__ = name
    WAYS.append(Way(cause, stage, prepare, **more))


def with_values(**values: Any) -> Prepare:
    """Return a set-up that differs in settings."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.use(SMTP, sandbox, **values)

    return prepare


def with_fault(fault: Fault, slot: str = SMTP, **values: Any) -> Prepare:
    """Return a set-up in which the mail server does something else."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.use(slot, sandbox, **values)
        sandbox.faults.append(fault)

    return prepare


def says(moment: str, text: str, slot: str = SMTP, **values: Any) -> Prepare:
    """Return a set-up in which the mail server gives another answer."""
    return with_fault(Fault(moment, act=False, replace=f"{text}\r\n".encode()), slot, **values)


def token_service_says(answer: ScriptedResponse) -> Prepare:
    """Return a set-up in which the token has ended, and the token service gives this answer."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.use(SMTP, sandbox, left=-10)
        sandbox.token_service.faults.append(WebFault("token", act=False, answer=answer))

    return prepare


def refuses(*, sender: str = "", recipient: str = "", content: str = "") -> Prepare:
    """Return a set-up in which the mail server refuses something after the sign-in."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.use(SMTP, sandbox)
        rules = sandbox.rules
        rules.senders, rules.content = {SCANNER: sender} if sender else {}, content or None
        rules.recipients = {SCANNER: recipient} if recipient else {}

    return prepare


def shows_certificate(
    *names: str, begins: float = -10, ends: float = 300, ahead: float = 0, trusted: bool = True
) -> Prepare:
    """Return a set-up in which the mail server shows another certificate; times are in days from now."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.use(SMTP, sandbox)
        now = datetime.now(UTC)
        sandbox.tls = sandbox.authority.server_context(
            *names, not_before=now + timedelta(days=begins), not_after=now + timedelta(days=ends)
        )
        sandbox.provider.clock_ahead = ahead * 86_400
        if not trusted:
            device.set(SMTP, ca_file=None)

    return prepare


def jwt(**claims: object) -> str:
    """Return a token with these claims, which nobody has signed."""
    parts = [{"typ": "JWT", "alg": "none"}, claims]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + ".x"


def with_token(token: str, slot: str = SMTP, account: str | None = None, **values: Any) -> Prepare:
    """Return a set-up with a token that the mail server does not take, and that cannot be renewed."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.use(slot, sandbox, keep=False, **values)
        await device.keep(slot, token, account=account)

    return prepare


def without_sign_in(**values: Any) -> Prepare:
    """Return a set-up of a slot that does not sign in."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.use(SMTP, sandbox, keep=False, sender_address=SCANNER, authentication="none", **values)

    return prepare


def with_password(password: str, slot: str = SMTP) -> Prepare:
    """Return a set-up that signs in with a password."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.use(slot, sandbox, keep=False)
        device.set(slot, authentication="password", password=password)

    return prepare


@contextmanager
def black_hole() -> Iterator[Endpoint]:
    """Give an address where nothing answers: the queue of connections to be accepted is full."""
    with socket.create_server(("127.0.0.2", 0), backlog=0) as server, socket.socket() as one, socket.socket() as two:
        for client in (one, two):
            client.settimeout(0)
            client.connect_ex(server.getsockname())
        yield Endpoint("127.0.0.2", server.getsockname()[1], Security.STARTTLS)


@contextmanager
def silent_at_the_door() -> Iterator[Endpoint]:
    """Give an address where connections come about and nobody says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        yield Endpoint("127.0.0.1", server.getsockname()[1], Security.STARTTLS)


# The settings.

simple("ok", None, with_values(), "everything works")
simple("not_configured", "resolve", with_values(server=None), "no server")


@way("invalid_input", "token")
async def a_token_source_that_nobody_brings(device: Device, sandbox: Sandbox) -> None:
    await device.use(SMTP, sandbox)
    path = device.home / "mailslot.toml"
    path.write_text(path.read_text() + 'token_source = "oracle of Delphi"\n')


# The way to the server.

simple("name_not_found", "resolve", with_values(server="mail.invalid"), "no such name")
simple("connection_refused", "connect", with_values(port=1), "nobody listens")
simple("network_unreachable", "connect", with_values(server="255.255.255.255"), "no way leads there")
simple("not_a_mail_server", "greeting", says("greeting", "SSH-2.0-OpenSSH_9.2p1"), "SSH")
simple("not_a_mail_server", "greeting", says("greeting", "HTTP/1.1 400 Bad Request"), "HTTP")
simple("not_a_mail_server", "greeting", says("greeting", "* OK IMAP4rev1 ready", POP, security="tls"), "IMAP", slot=POP)
simple("server_busy", "greeting", with_fault(Fault("greeting", replace=b"421 4.3.2 busy\r\n", ending="close")), "421")
simple("server_busy", "greeting", says("greeting", "-ERR [SYS/TEMP] later", POP), "-ERR at the door", slot=POP)


# Encryption.


@way("tls_port_mismatch", "tls")
async def tls_where_starttls_is_spoken(device: Device, sandbox: Sandbox) -> None:
    await device.use(SMTP, sandbox, security="tls")


@way("tls_port_mismatch", "greeting")
async def starttls_where_tls_is_spoken(device: Device, sandbox: Sandbox) -> None:
    await device.use(SMTP, sandbox, port=sandbox.smtps.port)


_NO_TLS = replace(DOVECOT, smtp=replace(DOVECOT.smtp, capabilities=DOVECOT.smtp.capabilities_tls), tls_required=False)

simple("tls_not_offered", "tls", with_values(), "no STARTTLS", plays=_NO_TLS)
simple("tls_not_offered", "tls", with_values(security="tls"), "TLS where nothing is spoken", plays=_NO_TLS)
simple("tls_failed", "tls", with_fault(Fault("TLS", act=False, ending="close")), "it ends in the handshake")
simple("tls_injection", "tls", with_fault(Fault("STARTTLS", append=b"250 evil\r\n")), "octets slipped in")
simple("certificate_expired", "tls", shows_certificate(begins=-20, ends=-5), "expired")
simple("certificate_not_yet_valid", "tls", shows_certificate(begins=5), "from the future")
simple("certificate_name_mismatch", "tls", shows_certificate("mail.example.com"), "another name")
simple("certificate_untrusted", "tls", shows_certificate(trusted=False), "nobody's authority")
simple("clock_wrong", "tls", shows_certificate(begins=5, ahead=10), "the clock is behind")
simple("clock_wrong", "tls", shows_certificate(begins=-20, ends=-5, ahead=-10), "the clock is ahead")


# The token.

simple("token_not_retrieved", "token", with_values(keep=False), "none was obtained")
simple("token_not_retrieved", "token", with_values(keep=False, client_id=None), "there is no application either")
simple("token_source_failed", "token", with_values(token_source="file /nowhere/token"), "there is no such file")
simple("token_source_failed", "token", with_values(token_source="command /bin/false"), "the program fails")
simple("token_source_failed", "token", with_values(token_source="command /bin/echo no token"), "it prints rubbish")
simple("token_update_failed", "token", token_service_says(ENTRA[700082]), "not used for 90 days")
simple("consent_missing", "token", token_service_says(ENTRA[65001]), "no consent")
simple("app_secret_invalid", "token", token_service_says(ENTRA[7000215]), "wrong secret")
simple("app_secret_expired", "token", token_service_says(ENTRA[7000222]), "expired secret")
simple("app_type_wrong", "token", token_service_says(ENTRA[7000218]), "a public application")
simple("app_or_tenant_unknown", "token", token_service_says(ENTRA[700016]), "unknown application")
simple("sign_in_blocked_by_policy", "token", token_service_says(ENTRA[53003]), "conditional access")
simple("token_service_busy", "token", token_service_says(ENTRA[90033]), "503")
simple("scope_wrong", "token", token_service_says(ScriptedResponse(400, {"error": "invalid_scope"})), "scope")
simple(
    "account_locked",
    "token",
    token_service_says(ScriptedResponse(400, {"error": "invalid_grant", "error_codes": [50057]})),
    "disabled",
)
simple(
    "unknown", "token", token_service_says(ScriptedResponse(400, {"error": "what_is_that"})), "an error nobody knows"
)
simple(
    "token_service_unreachable",
    "token",
    with_values(left=-10, token_endpoint="http://127.0.0.1:1/token"),
    "nobody listens",
)


simple(
    "not_a_token_service",
    "token",
    token_service_says(ScriptedResponse(200, b"<!DOCTYPE html><title>Welcome</title>Please sign in.")),
    "a sign-in page",
)
simple("token_update_failed", "token", token_service_says(ScriptedResponse(400, b"", source="glewlwyd")), "a bare 400")
simple(
    "app_or_tenant_unknown",
    "token",
    token_service_says(ScriptedResponse(403, {"error": "unauthorized_client"}, source="glewlwyd")),
    "an unknown client id",
)


@way("token_update_failed", "token")
async def revoked(device: Device, sandbox: Sandbox) -> None:
    sandbox.provider.revoke(await device.use(SMTP, sandbox, left=-10))


@way("token_not_renewable", "token")
async def ended_without_a_renewal_token(device: Device, sandbox: Sandbox) -> None:
    await device.use(SMTP, sandbox, keep=False)
    await device.keep(SMTP, "opaque", left=-10)


@way("home_copied", "token")
async def copied_from_elsewhere(device: Device, sandbox: Sandbox) -> None:
    await device.use(SMTP, sandbox, left=-10)
    store = device.records.tokens.store("smtp")
    grant = await store.load()
    assert grant is not None
    await store.save(replace(grant, location=Location((), None, "/elsewhere/locks/smtp.lock", 1)))


@way("token_store_unreadable", "token")
async def another_key(device: Device, sandbox: Sandbox) -> None:
    await device.use(SMTP, sandbox)
    (device.home / "key").unlink()
    (device.home / "key").write_bytes(base64.b64encode(b"k" * 32))
    (device.home / "key").chmod(0o600)


@way("token_store_unwritable", "token")
async def no_place_for_the_lock(device: Device, sandbox: Sandbox) -> None:
    await device.use(SMTP, sandbox, left=-10)
    for file in (device.home / "locks").iterdir():
        file.unlink()
    (device.home / "locks").rmdir()
    (device.home / "locks").write_text("a file where a folder should be")


# The sign-in.

_FORBIDDEN = replace(
    DOVECOT, xoauth2={"status": "403", "scope": "mail.send"}, oauthbearer={"status": "insufficient_scope"}
)

simple("token_for_other_service", "sign_in", with_values(valid=False, scopes="mail.pop"), "403", plays=_FORBIDDEN)
simple("token_refused", "sign_in", with_token("opaque"), "nobody knows why")
simple("account_mismatch", "sign_in", with_token("opaque", account=ALICE), "somebody else signed in", plays=GMAIL)
simple("mailbox_not_allowed", "sign_in", with_token(jwt(roles=["SMTP.SendAsApp"])), "an application", plays=EXCHANGE)
simple(
    "smtp_auth_disabled",
    "sign_in",
    says("sign_in", "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."),
    "switched off",
    plays=EXCHANGE,
)
simple(
    "pop_disabled",
    "sign_in",
    says("sign_in", "-ERR [SYS/PERM] Your account is not enabled for POP access.", POP),
    "switched off",
    slot=POP,
    plays=GMAIL,
)
simple("password_refused", "sign_in", with_password("wrong"), "wrong")
simple(
    "password_no_longer_accepted", "sign_in", with_password("right or wrong"), "basic authentication", plays=EXCHANGE
)
simple("app_password_required", "sign_in", with_password("right or wrong"), "second factor", plays=GMAIL)
simple(
    "sign_in_method_not_offered",
    "sign_in",
    with_values(),
    "no bearer mechanism",
    plays=replace(DOVECOT, smtp=replace(DOVECOT.smtp, capabilities_tls=("mail.test", "AUTH PLAIN LOGIN"))),
)
simple("token_too_long", "sign_in", with_token("x" * 12_000), "too long")


@way("sign_in_temporarily_unavailable", "sign_in", plays=GMAIL)
async def the_server_cannot_ask_the_provider(device: Device, sandbox: Sandbox) -> None:
    await device.use(SMTP, sandbox)
    sandbox.provider.available = False


@way("mailbox_in_use", "sign_in", slot=POP)
async def another_session_holds_it(device: Device, sandbox: Sandbox) -> None:
    await device.use(POP, sandbox)
    sandbox.maildrops[SCANNER].locked = True


@way("login_delay", "sign_in", slot=POP, plays=replace(DOVECOT, login_delay=100.0))
async def asked_too_often(device: Device, sandbox: Sandbox) -> None:
    await device.use(POP, sandbox)
    assert (await device.test(POP)).ok


# After it.

simple("tls_required", "probe", without_sign_in(security="none"), "encryption is off")
simple("authentication_required", "probe", without_sign_in(), "nobody signs in", plays=GMAIL)


@way("authentication_required", "sign_in", slot=POP)
async def nobody_fetches(device: Device, sandbox: Sandbox) -> None:
    await device.use(POP, sandbox, keep=False, authentication="none")


simple("too_many_connections", "sign_in", says("sign_in", "432 4.3.2 Concurrent connections limit exceeded."), "432")
simple(
    "sending_limit_reached",
    "probe",
    refuses(recipient="550 5.1.90 Your message can't be sent because you've reached your daily limit"),
    "daily limit",
)
simple(
    "sender_refused",
    "probe",
    with_values(sender_address=ALICE),
    "somebody else's",
    plays=replace(DOVECOT, own_sender="RCPT"),
)
simple("recipient_refused", "probe", refuses(recipient="550 5.1.1 no such user"), "no such user")
simple("mailbox_full", "probe", refuses(recipient="452 4.2.2 Mailbox full"), "full")
simple("sender_blocked", "probe", refuses(sender="550 5.1.8 Access denied, bad outbound sender"), "bad outbound sender")
simple("try_again_later", "probe", refuses(recipient="450 4.7.1 Greylisted"), "greylisted")
simple("connection_lost", "capabilities", with_fault(Fault("EHLO", keep=0, ending="reset")), "reset")
simple("protocol_error", "capabilities", says("EHLO", "what do you mean"), "no reply")
simple("unknown", "probe", says("STAT", "-ERR I do not feel like it", POP), "no reason", slot=POP)

# With a message.

simple("message_too_large", "send", refuses(content="552 5.3.4 Message size exceeds fixed limit"), "size", send=True)
simple("content_refused", "send", refuses(content="554 5.7.1 Spam"), "spam", send=True)
simple("in_doubt", "send", with_fault(Fault("message", keep=0, ending="close")), "no last word", send=True)
simple("sender_refused", "send", with_values(sender_address=ALICE), "SendAsDenied", send=True, plays=EXCHANGE)
