"""For each cause, at least one scenario: its set-up, and the stage where the connection test then fails."""

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
class Scenario:
    """A scenario that leads to a cause.

    Attributes:
        cause: the cause.
        stage: where the test fails; None where it passes.
        prepare: the set-up.
        slot: what is tested.
        send: whether the test has to send a message.
        personality: what the sandbox plays.
    """

    cause: str
    stage: str | None
    prepare: Prepare = field(repr=False)
    slot: str = SMTP
    send: bool = False
    personality: Personality = field(default=DOVECOT, repr=False)

    def __str__(self) -> str:
        return f"{self.cause} {self.prepare.__name__}"


SCENARIOS: list[Scenario] = []


def scenario(cause: str, stage: str | None, **more: Any) -> Callable[[Prepare], Prepare]:
    """Return a decorator that adds a scenario with this set-up to `SCENARIOS`."""

    def put(prepare: Prepare) -> Prepare:
        SCENARIOS.append(Scenario(cause, stage, prepare, **more))
        return prepare

    return put


def add_scenario(cause: str, stage: str | None, prepare: Prepare, name: str, **more: Any) -> None:
    """Add a scenario with a one-line set-up to `SCENARIOS`."""
    prepare.__name__ = name
    SCENARIOS.append(Scenario(cause, stage, prepare, **more))


def with_values(**values: Any) -> Prepare:
    """Return a set-up with other settings."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.set_up_slot(SMTP, sandbox, **values)

    return prepare


def with_fault(fault: Fault, slot: str = SMTP, **values: Any) -> Prepare:
    """Return a set-up with a fault of the mail server."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.set_up_slot(slot, sandbox, **values)
        sandbox.faults.append(fault)

    return prepare


def with_reply(moment: str, text: str, slot: str = SMTP, **values: Any) -> Prepare:
    """Return a set-up in which the mail server gives another reply."""
    return with_fault(Fault(moment, act=False, replace=f"{text}\r\n".encode()), slot, **values)


def with_token_response(answer: ScriptedResponse) -> Prepare:
    """Return a set-up in which the token has expired, and the token service gives this response."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.set_up_slot(SMTP, sandbox, left=-10)
        sandbox.token_service.faults.append(WebFault("token", act=False, answer=answer))

    return prepare


def with_rejection(*, sender: str = "", recipient: str = "", content: str = "") -> Prepare:
    """Return a set-up in which the mail server refuses sender, recipient or content."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.set_up_slot(SMTP, sandbox)
        rules = sandbox.rules
        rules.senders, rules.content = {SCANNER: sender} if sender else {}, content or None
        rules.recipients = {SCANNER: recipient} if recipient else {}

    return prepare


def with_certificate(
    *names: str, begins: float = -10, ends: float = 300, ahead: float = 0, trusted: bool = True
) -> Prepare:
    """Return a set-up in which the mail server shows another certificate; times are in days from now."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.set_up_slot(SMTP, sandbox)
        now = datetime.now(UTC)
        sandbox.tls = sandbox.authority.server_context(
            *names, not_before=now + timedelta(days=begins), not_after=now + timedelta(days=ends)
        )
        sandbox.provider.clock_ahead = ahead * 86_400
        if not trusted:
            device.set(SMTP, ca_file=None)

    return prepare


def jwt(**claims: object) -> str:
    """Return an unsigned JWT with these claims."""
    parts = [{"typ": "JWT", "alg": "none"}, claims]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + ".x"


def with_token(token: str, slot: str = SMTP, account: str | None = None, **values: Any) -> Prepare:
    """Return a set-up with a token that the mail server refuses and that cannot be refreshed."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.set_up_slot(slot, sandbox, keep=False, **values)
        await device.store_token(slot, token, account=account)

    return prepare


def without_authentication(**values: Any) -> Prepare:
    """Return a set-up without authentication."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.set_up_slot(SMTP, sandbox, keep=False, sender_address=SCANNER, authentication="none", **values)

    return prepare


def with_password(password: str, slot: str = SMTP) -> Prepare:
    """Return a set-up with password authentication."""

    async def prepare(device: Device, sandbox: Sandbox) -> None:
        await device.set_up_slot(slot, sandbox, keep=False)
        device.set(slot, authentication="password", password=password)

    return prepare


@contextmanager
def black_hole() -> Iterator[Endpoint]:
    """An endpoint that does not respond to connection attempts: its backlog is full."""
    with socket.create_server(("127.0.0.2", 0), backlog=0) as server, socket.socket() as one, socket.socket() as two:
        for client in (one, two):
            client.settimeout(0)
            client.connect_ex(server.getsockname())
        yield Endpoint("127.0.0.2", server.getsockname()[1], Security.STARTTLS)


@contextmanager
def silent_server() -> Iterator[Endpoint]:
    """An endpoint that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        yield Endpoint("127.0.0.1", server.getsockname()[1], Security.STARTTLS)


# The settings.

add_scenario("ok", None, with_values(), "everything works")
add_scenario("not_configured", "resolve", with_values(server=None), "no server")


@scenario("invalid_input", "token")
async def an_unknown_token_source(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox)
    path = device.home / "mailslot.toml"
    path.write_text(path.read_text() + 'token_source = "oracle of Delphi"\n')


# The way to the server.

add_scenario("name_not_found", "resolve", with_values(server="mail.invalid"), "no such name")
add_scenario("connection_refused", "connect", with_values(port=1), "nobody listens")
add_scenario("network_unreachable", "connect", with_values(server="255.255.255.255"), "no way leads there")
add_scenario("not_a_mail_server", "greeting", with_reply("greeting", "SSH-2.0-OpenSSH_9.2p1"), "SSH")
add_scenario("not_a_mail_server", "greeting", with_reply("greeting", "HTTP/1.1 400 Bad Request"), "HTTP")
add_scenario(
    "not_a_mail_server",
    "greeting",
    with_reply("greeting", "* OK IMAP4rev1 ready", POP, security="tls"),
    "IMAP",
    slot=POP,
)
add_scenario(
    "server_busy", "greeting", with_fault(Fault("greeting", replace=b"421 4.3.2 busy\r\n", ending="close")), "421"
)
add_scenario(
    "server_busy", "greeting", with_reply("greeting", "-ERR [SYS/TEMP] later", POP), "-ERR at the door", slot=POP
)


# Encryption.


@scenario("tls_port_mismatch", "tls")
async def tls_to_a_starttls_port(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox, security="tls")


@scenario("tls_port_mismatch", "greeting")
async def starttls_to_a_tls_port(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox, port=sandbox.smtps.port)


_NO_TLS = replace(DOVECOT, smtp=replace(DOVECOT.smtp, capabilities=DOVECOT.smtp.capabilities_tls), tls_required=False)

add_scenario("tls_not_offered", "tls", with_values(), "no STARTTLS", personality=_NO_TLS)
add_scenario("tls_not_offered", "tls", with_values(security="tls"), "TLS where nothing is spoken", personality=_NO_TLS)
add_scenario("tls_failed", "tls", with_fault(Fault("TLS", act=False, ending="close")), "it ends in the handshake")
add_scenario("tls_injection", "tls", with_fault(Fault("STARTTLS", append=b"250 evil\r\n")), "octets slipped in")
add_scenario("certificate_expired", "tls", with_certificate(begins=-20, ends=-5), "expired")
add_scenario("certificate_not_yet_valid", "tls", with_certificate(begins=5), "from the future")
add_scenario("certificate_name_mismatch", "tls", with_certificate("mail.example.com"), "another name")
add_scenario("certificate_untrusted", "tls", with_certificate(trusted=False), "nobody's authority")
add_scenario("clock_wrong", "tls", with_certificate(begins=5, ahead=10), "the clock is behind")
add_scenario("clock_wrong", "tls", with_certificate(begins=-20, ends=-5, ahead=-10), "the clock is ahead")


# The token.

add_scenario("token_not_retrieved", "token", with_values(keep=False), "none was obtained")
add_scenario("token_not_retrieved", "token", with_values(keep=False, client_id=None), "there is no application either")
add_scenario("token_source_failed", "token", with_values(token_source="file /nowhere/token"), "there is no such file")
add_scenario("token_source_failed", "token", with_values(token_source="command /bin/false"), "the program fails")
add_scenario(
    "token_source_failed", "token", with_values(token_source="command /bin/echo no token"), "it prints rubbish"
)
add_scenario("token_update_failed", "token", with_token_response(ENTRA[700082]), "not used for 90 days")
add_scenario("consent_missing", "token", with_token_response(ENTRA[65001]), "no consent")
add_scenario("app_secret_invalid", "token", with_token_response(ENTRA[7000215]), "wrong secret")
add_scenario("app_secret_expired", "token", with_token_response(ENTRA[7000222]), "expired secret")
add_scenario("app_type_wrong", "token", with_token_response(ENTRA[7000218]), "a public application")
add_scenario("app_or_tenant_unknown", "token", with_token_response(ENTRA[700016]), "unknown application")
add_scenario("sign_in_blocked_by_policy", "token", with_token_response(ENTRA[53003]), "conditional access")


@scenario("device_code_blocked", "token")
async def by_device_code(device: Device, sandbox: Sandbox) -> None:
    await with_token_response(ENTRA[53003])(device, sandbox)
    device.set(SMTP, device_authorization_endpoint=f"{sandbox.issuer}/device_authorization")
    store = device.records.tokens.store("smtp")
    grant = await store.load()
    assert grant is not None
    await store.save(replace(grant, flow="device"))


add_scenario("token_service_busy", "token", with_token_response(ENTRA[90033]), "503")
add_scenario("scope_wrong", "token", with_token_response(ScriptedResponse(400, {"error": "invalid_scope"})), "scope")
add_scenario(
    "account_locked",
    "token",
    with_token_response(ScriptedResponse(400, {"error": "invalid_grant", "error_codes": [50057]})),
    "disabled",
)
add_scenario(
    "unknown", "token", with_token_response(ScriptedResponse(400, {"error": "what_is_that"})), "an error nobody knows"
)
add_scenario(
    "token_service_unreachable",
    "token",
    with_values(left=-10, token_endpoint="http://127.0.0.1:1/token"),
    "nobody listens",
)


add_scenario(
    "not_a_token_service",
    "token",
    with_token_response(ScriptedResponse(200, b"<!DOCTYPE html><title>Welcome</title>Please sign in.")),
    "a sign-in page",
)
add_scenario(
    "token_update_failed", "token", with_token_response(ScriptedResponse(400, b"", source="glewlwyd")), "a bare 400"
)
add_scenario(
    "app_or_tenant_unknown",
    "token",
    with_token_response(ScriptedResponse(403, {"error": "unauthorized_client"}, source="glewlwyd")),
    "an unknown client id",
)


@scenario("token_update_failed", "token")
async def revoked(device: Device, sandbox: Sandbox) -> None:
    sandbox.provider.revoke(await device.set_up_slot(SMTP, sandbox, left=-10))


@scenario("token_not_renewable", "token")
async def expired_without_a_refresh_token(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox, keep=False)
    await device.store_token(SMTP, "opaque", left=-10)


@scenario("home_copied", "token")
async def a_copied_home(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox, left=-10)
    store = device.records.tokens.store("smtp")
    grant = await store.load()
    assert grant is not None
    await store.save(replace(grant, location=Location((), None, "/elsewhere/locks/smtp.lock", 1)))


@scenario("token_store_unreadable", "token")
async def a_lost_key(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox)
    (device.home / "key").unlink()
    (device.home / "key").write_bytes(base64.b64encode(b"k" * 32))
    (device.home / "key").chmod(0o600)


@scenario("token_store_unwritable", "token")
async def an_unusable_lock_file(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox, left=-10)
    for file in (device.home / "locks").iterdir():
        file.unlink()
    (device.home / "locks").rmdir()
    (device.home / "locks").write_text("a file where a folder should be")


# The sign-in.

_FORBIDDEN = replace(
    DOVECOT, xoauth2={"status": "403", "scope": "mail.send"}, oauthbearer={"status": "insufficient_scope"}
)

add_scenario(
    "token_for_other_service", "sign_in", with_values(valid=False, scopes="mail.pop"), "403", personality=_FORBIDDEN
)
add_scenario("token_refused", "sign_in", with_token("opaque"), "nobody knows why")
add_scenario(
    "account_mismatch", "sign_in", with_token("opaque", account=ALICE), "somebody else signed in", personality=GMAIL
)
add_scenario(
    "mailbox_not_allowed", "sign_in", with_token(jwt(roles=["SMTP.SendAsApp"])), "an application", personality=EXCHANGE
)
add_scenario(
    "smtp_auth_disabled",
    "sign_in",
    with_reply(
        "sign_in", "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."
    ),
    "switched off",
    personality=EXCHANGE,
)
add_scenario(
    "pop_disabled",
    "sign_in",
    with_reply("sign_in", "-ERR [SYS/PERM] Your account is not enabled for POP access.", POP),
    "switched off",
    slot=POP,
    personality=GMAIL,
)
add_scenario("password_refused", "sign_in", with_password("wrong"), "wrong")
add_scenario(
    "password_no_longer_accepted",
    "sign_in",
    with_password("right or wrong"),
    "basic authentication",
    personality=EXCHANGE,
)
add_scenario("app_password_required", "sign_in", with_password("right or wrong"), "second factor", personality=GMAIL)
add_scenario(
    "sign_in_method_not_offered",
    "sign_in",
    with_values(),
    "no bearer mechanism",
    personality=replace(DOVECOT, smtp=replace(DOVECOT.smtp, capabilities_tls=("mail.test", "AUTH PLAIN LOGIN"))),
)
add_scenario("token_too_long", "sign_in", with_token("x" * 12_000), "too long")


@scenario("sign_in_temporarily_unavailable", "sign_in", personality=GMAIL)
async def an_unavailable_provider(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox)
    sandbox.provider.available = False


@scenario("mailbox_in_use", "sign_in", slot=POP)
async def a_locked_maildrop(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(POP, sandbox)
    sandbox.maildrops[SCANNER].locked = True


@scenario("login_delay", "sign_in", slot=POP, personality=replace(DOVECOT, login_delay=100.0))
async def polled_too_soon(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(POP, sandbox)
    assert (await device.test(POP)).ok


# After it.

add_scenario("tls_required", "probe", without_authentication(security="none"), "encryption is off")
add_scenario("authentication_required", "probe", without_authentication(), "nobody signs in", personality=GMAIL)


@scenario("authentication_required", "sign_in", slot=POP)
async def without_credentials(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(POP, sandbox, keep=False, authentication="none")


add_scenario(
    "too_many_connections", "sign_in", with_reply("sign_in", "432 4.3.2 Concurrent connections limit exceeded."), "432"
)
add_scenario(
    "sending_limit_reached",
    "probe",
    with_rejection(recipient="550 5.1.90 Your message can't be sent because you've reached your daily limit"),
    "daily limit",
)
add_scenario(
    "sender_refused",
    "probe",
    with_values(sender_address=ALICE),
    "somebody else's",
    personality=replace(DOVECOT, own_sender="RCPT"),
)
add_scenario("recipient_refused", "probe", with_rejection(recipient="550 5.1.1 no such user"), "no such user")
add_scenario("mailbox_full", "probe", with_rejection(recipient="452 4.2.2 Mailbox full"), "full")
add_scenario(
    "sender_blocked",
    "probe",
    with_rejection(sender="550 5.1.8 Access denied, bad outbound sender"),
    "bad outbound sender",
)
add_scenario("try_again_later", "probe", with_rejection(recipient="450 4.7.1 Greylisted"), "greylisted")
add_scenario("connection_lost", "capabilities", with_fault(Fault("EHLO", keep=0, ending="reset")), "reset")
add_scenario("protocol_error", "capabilities", with_reply("EHLO", "what do you mean"), "no reply")
add_scenario("unknown", "probe", with_reply("STAT", "-ERR I do not feel like it", POP), "no reason", slot=POP)

# With a message.

add_scenario(
    "message_too_large", "send", with_rejection(content="552 5.3.4 Message size exceeds fixed limit"), "size", send=True
)
add_scenario("content_refused", "send", with_rejection(content="554 5.7.1 Spam"), "spam", send=True)
add_scenario("in_doubt", "send", with_fault(Fault("message", keep=0, ending="close")), "no last word", send=True)
add_scenario(
    "sender_refused", "send", with_values(sender_address=ALICE), "SendAsDenied", send=True, personality=EXCHANGE
)
