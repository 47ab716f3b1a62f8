"""Authentication at both servers, as each service does it."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace

import pytest

from mailslot_plugins.sandbox import DOVECOT, EXCHANGE, GMAIL, Sandbox
from sandbox.raw_client import PASSWORD, USER, RawClient, b64, in_thread, oauthbearer, xoauth2

ACKNOWLEDGEMENT = {"XOAUTH2": "", "OAUTHBEARER": "AQ=="}


@pytest.fixture(params=["smtp", "pop3"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def connect(sandbox: Sandbox, protocol: str) -> RawClient:
    client = RawClient(sandbox, getattr(sandbox, f"{protocol}s"))
    if protocol == "smtp":
        client.execute("EHLO a")
    return client


def response(mechanism: str, sandbox: Sandbox, protocol: str, token: str, user: str = USER) -> str:
    port = getattr(sandbox, f"{protocol}s").port
    return xoauth2(token, user) if mechanism == "XOAUTH2" else oauthbearer(token, port, user)


def good(protocol: str) -> str:
    return "235" if protocol == "smtp" else "+OK"


def bad(protocol: str) -> str:
    return "535" if protocol == "smtp" else "-ERR"


def prompt(protocol: str) -> str:
    return "334 " if protocol == "smtp" else "+ "


@pytest.mark.parametrize("initial", [True, False])
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_a_good_token_signs_in(sandbox: Sandbox, protocol: str, mechanism: str, initial: bool) -> None:
    token = sandbox.provider.issue(USER).value.reveal()

    def talk() -> None:
        with connect(sandbox, protocol) as client:
            sent = response(mechanism, sandbox, protocol, token)
            if initial:
                assert client.execute(f"AUTH {mechanism} {sent}").startswith(good(protocol))
            else:
                assert client.execute(f"auth {mechanism.lower()}") == prompt(protocol)
                assert client.execute(sent).startswith(good(protocol))

    await in_thread(talk)
    assert sandbox.dialogues[0].user == USER
    assert sandbox.violations == []


# What each service says to a bad token, from its own documents and logs.
REFUSALS = [
    (DOVECOT, "XOAUTH2", {"status": "401", "schemes": "bearer", "scope": "mail", "openid-configuration": "{}"}),
    (DOVECOT, "OAUTHBEARER", {"status": "invalid_token", "openid-configuration": "{}"}),
    (GMAIL, "XOAUTH2", {"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"}),
    (GMAIL, "OAUTHBEARER", {"status": "invalid_request", "scope": "https://mail.google.com/"}),
    (EXCHANGE, "XOAUTH2", None),
]


@pytest.mark.parametrize("why", ["unknown", "expired", "revoked", "scope", "user", "stranger"])
@pytest.mark.parametrize(("personality", "mechanism", "reasons"), REFUSALS, ids=lambda v: getattr(v, "name", ""))
async def test_a_bad_token_is_refused(
    sandbox: Sandbox, protocol: str, mechanism: str, reasons: dict[str, str] | None, why: str
) -> None:
    provider = sandbox.provider
    token = provider.issue(
        {"user": "alice@example.com", "stranger": "who@example.com"}.get(why, USER),
        scopes=["other"] if why == "scope" else None,
        lifetime=-1 if why == "expired" else None,
    )
    if why == "revoked":
        provider.revoke(token)
    sent = "unknown" if why == "unknown" else token.value.reveal()

    def talk() -> None:
        with connect(sandbox, protocol) as client:
            client.execute(f"AUTH {mechanism}")
            user = "who@example.com" if why == "stranger" else USER
            answer = client.execute(response(mechanism, sandbox, protocol, sent, user))
            if reasons is not None:
                start = prompt(protocol)
                assert answer.startswith(start)
                metadata = f"{sandbox.issuer}/.well-known/openid-configuration"
                expected = {key: value.replace("{}", metadata) for key, value in reasons.items()}
                assert json.loads(b64decode(answer.removeprefix(start))) == expected
                answer = client.execute(ACKNOWLEDGEMENT[mechanism])
            assert answer.startswith(bad(protocol))
            # Not the end: another attempt is free.
            fresh = provider.issue(USER).value.reveal()
            client.execute(f"AUTH {mechanism}")
            assert client.execute(response(mechanism, sandbox, protocol, fresh)).startswith(good(protocol))

    await in_thread(talk)
    assert sandbox.violations == []


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_an_error_challenge_has_to_be_acknowledged(sandbox: Sandbox, protocol: str, mechanism: str) -> None:
    def talk() -> None:
        with connect(sandbox, protocol) as client:
            client.execute(f"AUTH {mechanism}")
            client.execute(response(mechanism, sandbox, protocol, "bad"))
            wrong = ACKNOWLEDGEMENT["OAUTHBEARER" if mechanism == "XOAUTH2" else "XOAUTH2"]
            assert client.execute(wrong).startswith(bad(protocol))

    await in_thread(talk)
    assert sandbox.violations == ["the reasons of a refusal were not acknowledged"]


@pytest.mark.parametrize("when", ["first", "reasons"])
async def test_an_asterisk_cancels_authentication(sandbox: Sandbox, protocol: str, when: str) -> None:
    def talk() -> None:
        with connect(sandbox, protocol) as client:
            client.execute("AUTH XOAUTH2")
            if when == "reasons":
                client.execute(xoauth2("bad"))
            answer = client.execute("*")
            assert answer in {"501 5.7.0 Authentication aborted", "-ERR Authentication aborted by client."}
            assert client.execute("AUTH XOAUTH2") == prompt(protocol)

    await in_thread(talk)
    assert "C: *" in sandbox.transcript


@pytest.mark.parametrize(
    ("mechanism", "initial"),
    [
        ("XOAUTH2", "!!!"),
        ("NTLM", "="),
    ],
)
async def test_malformed_responses_are_refused(sandbox: Sandbox, protocol: str, mechanism: str, initial: str) -> None:
    def talk() -> None:
        with connect(sandbox, protocol) as client:
            assert client.execute(f"AUTH {mechanism} {initial}").startswith(bad(protocol))
            assert client.execute("AUTH XOAUTH2") == prompt(protocol)

    await in_thread(talk)


@pytest.mark.parametrize("personality", [EXCHANGE, GMAIL], ids=lambda p: p.name)
async def test_passwords_are_refused_by_exchange_and_gmail(sandbox: Sandbox) -> None:
    def talk() -> None:
        with connect(sandbox, "pop3") as client:
            client.execute(f"USER {USER}")
            assert client.execute(f"PASS {PASSWORD}").startswith("-ERR")
        with connect(sandbox, "smtp") as client:
            client.execute("AUTH LOGIN")
            client.execute(b64(USER))
            assert client.execute(b64(PASSWORD))[:10] in {"535 5.7.13", "534-5.7.9 "}

    await in_thread(talk)


@pytest.mark.parametrize("personality", [EXCHANGE], ids=["EXCHANGE"])
async def test_exchange_requires_two_lines_in_pop3(sandbox: Sandbox) -> None:
    token = sandbox.provider.issue(USER, size=100).value.reveal()

    def talk() -> None:
        with connect(sandbox, "pop3") as client:
            assert client.execute("AUTH XOAUTH2 " + xoauth2(token)) == "-ERR Protocol error. Connection is closed. 10"
            assert client.is_closed

    await in_thread(talk)


@pytest.mark.parametrize(
    ("personality", "size", "answer"),
    [
        (DOVECOT, 6_000, None),
        (DOVECOT, 7_000, ""),
        (EXCHANGE, 4_000, None),
        (EXCHANGE, 4_300, "-ERR Protocol error. Connection is closed. 10"),
        (GMAIL, 8_000, None),
    ],
    ids=["Dovecot takes 8,192", "Dovecot drops", "Exchange takes 4,000", "Exchange closes", "Gmail"],
)
async def test_the_response_limit_in_pop3(sandbox: Sandbox, size: int, answer: str | None) -> None:
    token = sandbox.provider.issue(USER, size=size).value.reveal()

    def talk() -> None:
        with connect(sandbox, "pop3") as client:
            client.execute("AUTH XOAUTH2")
            got = client.execute(xoauth2(token))
            if answer is None:
                assert got.startswith("+OK")
            else:
                assert got == answer
                assert client.is_closed

    await in_thread(talk)


async def test_the_auth_line_limit_in_smtp(sandbox: Sandbox) -> None:
    tokens = {size: sandbox.provider.issue(USER, size=size).value.reveal() for size in (300, 2_500, 9_000, 9_300)}

    def talk() -> None:
        with connect(sandbox, "smtp") as client:
            # Postfix cuts a command line that is too long, and what is left is no base64.
            answer = client.execute("AUTH XOAUTH2 " + xoauth2(tokens[2_500]))
            assert answer.endswith("Invalid base64 data in initial response")
            client.execute("AUTH XOAUTH2")
            assert client.execute(xoauth2(tokens[9_300])) == "500 5.5.6 SASL response limit exceeded"
            client.execute("AUTH XOAUTH2")
            assert client.execute(xoauth2(tokens[9_000])).startswith("235")
            assert client.execute("AUTH XOAUTH2").startswith("503")

    await in_thread(talk)
    assert sandbox.violations == ["an AUTH line of over 512 octets"]


@pytest.mark.parametrize(
    ("personality", "smtp_answer", "pop3_answer"),
    [(DOVECOT, "535 5.7.8", "-ERR [SYS/TEMP]"), (EXCHANGE, "451 4.7.0", "-ERR [SYS/TEMP]")],
    ids=["DOVECOT", "EXCHANGE"],
)
async def test_an_unavailable_provider(sandbox: Sandbox, smtp_answer: str, pop3_answer: str) -> None:
    token = sandbox.provider.issue(USER).value.reveal()
    sandbox.provider.available = False

    def talk() -> None:
        for protocol, answer in (("smtp", smtp_answer), ("pop3", pop3_answer)):
            with connect(sandbox, protocol) as client:
                client.execute("AUTH XOAUTH2")
                assert client.execute(xoauth2(token)).startswith(answer)

    await in_thread(talk)


async def test_missing_padding_is_recorded(sandbox: Sandbox, protocol: str) -> None:
    sent = b64(f"\0{USER}\0{PASSWORD}xx")
    assert sent.endswith("=")

    def talk() -> None:
        with connect(sandbox, protocol) as client:
            client.execute("AUTH PLAIN")
            assert client.execute(sent.rstrip("=")).startswith(bad(protocol))

    await in_thread(talk)
    assert sandbox.violations == ["base64 without its padding"]


async def test_a_response_before_its_challenge_is_recorded(sandbox: Sandbox, protocol: str) -> None:
    sent = xoauth2(sandbox.provider.issue(USER).value.reveal())

    def talk() -> None:
        with connect(sandbox, protocol) as client:
            client.send(f"AUTH XOAUTH2\r\n{sent}\r\n".encode())
            assert client.line() == prompt(protocol)
            assert client.line().startswith(good(protocol))

    await in_thread(talk)
    assert "a response before its challenge" in sandbox.violations


@pytest.mark.parametrize("personality", [replace(DOVECOT, xoauth2={"status": "403"})], ids=[""])
async def test_an_app_opens_only_its_permitted_mailboxes(sandbox: Sandbox) -> None:
    app = sandbox.provider.register("app", "secret", [USER])
    token = sandbox.provider.client_credentials(app, "x/.default").token.value.reveal()

    def talk() -> None:
        with connect(sandbox, "pop3") as client:
            client.execute("AUTH XOAUTH2")
            answer = client.execute(xoauth2(token, "alice@example.com"))
            assert b64decode(answer.removeprefix("+ ")) == b'{"status":"403"}'
            assert client.execute("").startswith("-ERR")
            client.execute("AUTH XOAUTH2")
            assert client.execute(xoauth2(token)).startswith("+OK")

    await in_thread(talk)


async def test_another_host_in_oauthbearer_is_recorded(sandbox: Sandbox) -> None:
    token = sandbox.provider.issue(USER).value.reveal()

    def talk() -> None:
        with connect(sandbox, "pop3") as client:
            assert client.execute("AUTH OAUTHBEARER " + oauthbearer(token, 25)).startswith("+OK")

    await in_thread(talk)
    assert sandbox.violations == ["OAUTHBEARER names another host or port"]


@pytest.mark.parametrize(
    "personality", [replace(DOVECOT, smtp=replace(DOVECOT.smtp, capabilities_tls=("a", "AUTH PLAIN")))], ids=[""]
)
async def test_a_mechanism_that_was_not_offered_is_recorded(sandbox: Sandbox) -> None:
    token = sandbox.provider.issue(USER).value.reveal()

    def talk() -> None:
        with connect(sandbox, "smtp") as client:
            client.execute("AUTH XOAUTH2")
            assert client.execute(xoauth2(token)).startswith("235")

    await in_thread(talk)
    assert sandbox.violations == ["a sign-in by a mechanism that was not offered"]


async def test_no_secret_is_ever_shown(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a client does with its secrets, and however they are encoded."""
    token = sandbox.provider.issue(USER, size=64).value.reveal()
    refresh_token = sandbox.provider.consent(USER, sandbox.provider.register("app", "app-secret"))
    secrets = [token, xoauth2(token), PASSWORD, b64(PASSWORD), b64(f"\0{USER}\0{PASSWORD}"), refresh_token.reveal()]

    def talk() -> None:
        for protocol in ("smtp", "pop3"):
            for lines in (
                [f"AUTH XOAUTH2 {xoauth2(token)}"],
                ["AUTH XOAUTH2", xoauth2(token)],
                ["AUTH NONSENSE", xoauth2(token)],
                [f"AUTH {token}", f"{token} x", xoauth2(token)],
                [f"AUTH NONSENSE {token}"],
                [f"AUTH LOGIN {b64(USER)}", b64(PASSWORD)],
                [f"AUTH PLAIN {b64(f'{chr(0)}{USER}{chr(0)}{PASSWORD}')}"],
                ["AUTH LOGIN", "*", b64(PASSWORD), PASSWORD],
                [f"USER {USER}", f"PASS {PASSWORD}", f"PASS {PASSWORD}"],
                [f"PASS LOGIN {PASSWORD}", f"pass {PASSWORD}"],
            ):
                with connect(sandbox, protocol) as client:
                    for line in lines:
                        client.execute(line)

    await in_thread(talk)
    shown = f"{sandbox.transcript}\n{sandbox!r}\n{vars(sandbox)}\n{sandbox.violations}\n{caplog.text}"
    assert [secret for secret in secrets if secret in shown] == []
    assert "C: AUTH XOAUTH2 •••" in shown
    assert "C: PASS •••" in shown
