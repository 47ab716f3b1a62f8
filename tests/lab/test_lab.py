"""The lab itself: that its servers speak, take a good token by both ways, and refuse a bad one.

It is played with `smtplib` and `poplib`, so that a failure here is the lab's and never ours.
"""

from __future__ import annotations

import base64
import json
import poplib
import smtplib
import time
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lab.process import wait_until

if TYPE_CHECKING:
    import ssl

    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider
    from mailslot.net.endpoint import Endpoint

DAEMON = "daemon@example.test"
MESSAGE = b"From: daemon@example.test\r\nSubject: a scan\r\n\r\n.a line that begins with a dot\r\n"


@pytest.mark.parametrize("way", ["starttls", "tls"])
@pytest.mark.parametrize("jwt", [False, True], ids=["opaque", "jwt"])
def test_a_message_is_submitted_and_fetched(
    provider: Provider,
    dovecot: Dovecot,
    postfix: Postfix,
    lab_context: ssl.SSLContext,
    way: str,
    jwt: bool,
) -> None:
    token = provider.token(jwt=jwt, pad=2400 if jwt else 0)
    assert len(token) > 3900 if jwt else len(token) < 100
    dovecot.empty(DAEMON)
    with submission(postfix, way, lab_context) as smtp:
        assert smtp.docmd("AUTH", "XOAUTH2") == (334, b"")
        assert smtp.docmd(xoauth2(DAEMON, token))[0] == 235
        recipients = [DAEMON, "nobody@example.test", "later@example.test"]
        refused = smtp.sendmail(DAEMON, recipients, MESSAGE)
    assert {recipient: code for recipient, (code, _) in refused.items()} == {
        "nobody@example.test": 554,
        "later@example.test": 450,
    }
    wait_until(lambda: bool(dovecot.messages(DAEMON)))
    with closing(maildrop(dovecot, way, lab_context)) as pop:
        assert sign_in(pop, DAEMON, token).startswith(b"+OK")
        assert len(pop.uidl()[1]) == 1
        _, lines, _ = pop.retr(1)
        assert b"\r\n".join(lines).endswith(b"\r\n.a line that begins with a dot")
        pop.dele(1)
        pop.quit()
    assert dovecot.messages(DAEMON) == []


@pytest.mark.parametrize("jwt", [False, True], ids=["opaque", "jwt"])
def test_another_users_token_is_refused(
    provider: Provider, dovecot: Dovecot, lab_context: ssl.SSLContext, jwt: bool
) -> None:
    assert is_refused(dovecot, lab_context, provider.token("alice@example.test", jwt=jwt))


@pytest.mark.parametrize("jwt", [False, True], ids=["opaque", "jwt"])
def test_a_token_with_the_wrong_scope_is_refused(
    provider: Provider, dovecot: Dovecot, lab_context: ssl.SSLContext, jwt: bool
) -> None:
    assert is_refused(dovecot, lab_context, provider.token(scope="calendar", jwt=jwt))


def test_tokens_expire(provider: Provider, dovecot: Dovecot, lab_context: ssl.SSLContext) -> None:
    tokens = [provider.token(lifetime=1, jwt=jwt) for jwt in (False, True)]
    time.sleep(2)
    assert all(is_refused(dovecot, lab_context, token) for token in tokens)


def test_a_damaged_jwt_is_refused(provider: Provider, dovecot: Dovecot, lab_context: ssl.SSLContext) -> None:
    claims = provider.token(jwt=True).rpartition(".")[0]
    signature = provider.token(jwt=True).rpartition(".")[2]
    assert is_refused(dovecot, lab_context, f"{claims}.{signature}")


def test_postfix_refuses_a_bad_token_and_says_why(postfix: Postfix, lab_context: ssl.SSLContext) -> None:
    with submission(postfix, "starttls", lab_context) as smtp:
        code, challenge = smtp.docmd("AUTH", f"XOAUTH2 {xoauth2(DAEMON, 'malformed')}")
        assert code == 334
        assert json.loads(base64.b64decode(challenge))["status"] == "401"
        assert smtp.docmd("")[0] == 535


def test_a_login_sends_only_as_itself(provider: Provider, postfix: Postfix, lab_context: ssl.SSLContext) -> None:
    with submission(postfix, "tls", lab_context) as smtp:
        token = provider.token("alice@example.test")
        assert smtp.docmd("AUTH", f"XOAUTH2 {xoauth2('alice@example.test', token)}")[0] == 235
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refusal:
            smtp.sendmail("bob@example.test", ["carol@example.test"], MESSAGE)
    assert refusal.value.recipients["carol@example.test"][0] == 553


def test_passwords_are_accepted_too(dovecot: Dovecot, postfix: Postfix, lab_context: ssl.SSLContext) -> None:
    with closing(maildrop(dovecot, "tls", lab_context)) as pop:
        offered = pop.capa()["SASL"]
        pop.user("bob@example.test")
        assert pop.pass_("secret").startswith(b"+OK")
        pop.quit()
    with submission(postfix, "tls", lab_context) as smtp:
        assert smtp.login("bob@example.test", "secret")[0] == 235
    assert set(offered) == {"PLAIN", "LOGIN", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"}


def test_postfix_accepts_mail_without_tls_for_local_users_only(postfix: Postfix) -> None:
    with smtplib.SMTP(postfix.plain.host, postfix.plain.port) as smtp:
        smtp.ehlo()
        assert not smtp.has_extn("AUTH")
        assert smtp.esmtp_features["size"] == str(postfix.size_limit)
        smtp.mail("somebody@example.org")
        assert smtp.rcpt("bob@example.test")[0] == 250
        assert smtp.rcpt("somebody@example.org")[0] == 554


def test_the_provider_publishes_its_metadata(provider: Provider) -> None:
    with urllib.request.urlopen(f"{provider.issuer}/.well-known/openid-configuration") as answer:
        assert json.load(answer)["issuer"] == provider.issuer


def xoauth2(user: str, token: str) -> str:
    return base64.b64encode(f"user={user}\1auth=Bearer {token}\1\1".encode()).decode()


def submission(postfix: Postfix, way: str, context: ssl.SSLContext) -> smtplib.SMTP:
    if way == "tls":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(*address(postfix.submissions), context=context)
    else:
        smtp = smtplib.SMTP(*address(postfix.submission))
        smtp.starttls(context=context)
    smtp.ehlo()
    return smtp


def maildrop(dovecot: Dovecot, way: str, context: ssl.SSLContext) -> poplib.POP3:
    if way == "tls":
        return poplib.POP3_SSL(*address(dovecot.pop3s), context=context)
    pop = poplib.POP3(*address(dovecot.pop3))
    pop.stls(context)
    return pop


def address(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.host, endpoint.port


def sign_in(pop: poplib.POP3, user: str, token: str) -> bytes:
    """Sign in by XOAUTH2 in two steps; poplib has no face for that. Gives the last line."""
    assert exchange(pop, "AUTH XOAUTH2") == b"+ "
    line = exchange(pop, xoauth2(user, token))
    if line.startswith(b"+ "):
        assert json.loads(base64.b64decode(line[2:]))["status"] in {"401", "403"}
        line = exchange(pop, "")
    return line


def exchange(pop: poplib.POP3, command: str) -> bytes:
    pop.sock.sendall(f"{command}\r\n".encode())
    return bytes(pop.file.readline()).rstrip(b"\r\n")


def is_refused(dovecot: Dovecot, context: ssl.SSLContext, token: str) -> bool:
    with closing(maildrop(dovecot, "tls", context)) as pop:
        line = sign_in(pop, DAEMON, token)
        pop.quit()
    return line == b"-ERR [AUTH] Authentication failed."
