"""Connection tests with Dovecot, Postfix and oidc-provider, and all their failures."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
import pytest

from diagnosis.scenarios import POP, SMTP
from lab.dovecot import start_dovecot
from lab.postfix import start_postfix
from lab.provider import start_provider
from lab.users import PASSWORD
from mailslot.slots.connector import Connector
from mailslot.slots.maildrop import open_maildrop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from trustme import CA, LeafCert

    from diagnosis.device import Device
    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider
    from mailslot import Endpoint
    from mailslot.diagnosis.result import TestResult

T = TypeVar("T")

DAEMON, ALICE = "daemon@example.test", "alice@example.test"


class LabDevice:
    """A device in front of the lab."""

    def __init__(self, device: Device, ca: CA, provider: Provider) -> None:
        self.device = device
        self._ca_file = device.trust(ca.cert_pem.bytes())
        self._provider = provider

    async def test(
        self,
        slot: str,
        endpoint: Endpoint,
        token: str | None,
        *,
        send: bool = False,
        left: float = 3600.0,
        **values: Any,
    ) -> TestResult:
        """Test a slot with a token."""
        usual = {
            "authentication": "oauth2",
            "account": DAEMON,
            "provider": "custom",
            "issuer": self._provider.issuer,
            "client_id": "panel",
            "scopes": "mail.send" if slot == SMTP else "mail.pop",
            "ca_file": self._ca_file,
            "timeout": 60,
        }
        self.device.set_endpoint(slot, endpoint, **{**usual, **values})
        if token is not None:
            await self.device.store_token(slot, token, left=left)
        return await self.device.test(slot, send=send)


@pytest.fixture
def lab_device(device: Device, ca: CA, provider: Provider) -> LabDevice:
    return LabDevice(device, ca, provider)


@asynccontextmanager
async def in_thread(server: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Start a server that takes a while, and stop it."""
    running = await anyio.to_thread.run_sync(server.__enter__)
    try:
        yield running
    finally:
        await anyio.to_thread.run_sync(partial(server.__exit__, None, None, None))


def found(result: TestResult) -> tuple[str | None, str]:
    return result.stage, result.diagnosis.cause


@pytest.mark.parametrize("jwt", [False, True], ids=["opaque", "jwt"])
async def test_the_test_passes(
    lab_device: LabDevice, provider: Provider, dovecot: Dovecot, postfix: Postfix, jwt: bool
) -> None:
    dovecot.empty(DAEMON)
    dovecot.deliver(DAEMON, b"Subject: a\r\n\r\nb\r\n")
    for slot, endpoint in (
        (SMTP, postfix.submission),
        (SMTP, postfix.submissions),
        (POP, dovecot.pop3),
        (POP, dovecot.pop3s),
    ):
        result = await lab_device.test(slot, endpoint, provider.token(jwt=jwt, pad=2400 if jwt else 0))
        assert result.ok, result
    assert len(dovecot.messages(DAEMON)) == 1


async def test_a_message_arrives(lab_device: LabDevice, provider: Provider, dovecot: Dovecot, postfix: Postfix) -> None:
    dovecot.empty(DAEMON)
    result = await lab_device.test(SMTP, postfix.submission, provider.token(), send=True)
    assert result.ok, result
    with anyio.fail_after(120):
        while not dovecot.messages(DAEMON):  # noqa: ASYNC110 - Postfix tells nobody
            await anyio.sleep(0.01)
    [message] = dovecot.messages(DAEMON)
    assert b"Subject: mailslot: connection test" in message


async def test_an_expired_token(lab_device: LabDevice, provider: Provider, dovecot: Dovecot, postfix: Postfix) -> None:
    token = provider.token(lifetime=1)
    assert found(await lab_device.test(POP, dovecot.pop3s, token, left=-1)) == ("token", "token_not_renewable")
    await anyio.sleep(2.1)
    # The device believes that it is still good.
    assert found(await lab_device.test(POP, dovecot.pop3s, token)) == ("sign_in", "token_refused")
    assert found(await lab_device.test(SMTP, postfix.submission, token)) == ("sign_in", "token_refused")


@pytest.mark.parametrize("jwt", [False, True], ids=["opaque", "jwt"])
async def test_another_users_token(
    lab_device: LabDevice, provider: Provider, dovecot: Dovecot, postfix: Postfix, jwt: bool
) -> None:
    token = provider.token(ALICE, jwt=jwt)
    for slot, endpoint in ((SMTP, postfix.submission), (POP, dovecot.pop3s)):
        result = await lab_device.test(slot, endpoint, token)
        assert result.stage == "sign_in"
        # Only a token that can be read says whose it is.
        assert result.diagnosis.cause == ("account_mismatch" if jwt else "token_refused")


async def test_a_token_with_the_wrong_scope(
    lab_device: LabDevice, provider: Provider, dovecot: Dovecot, postfix: Postfix
) -> None:
    token = provider.token(scope="calendar", jwt=True)
    for slot, endpoint in ((SMTP, postfix.submission), (POP, dovecot.pop3s)):
        assert found(await lab_device.test(slot, endpoint, token)) == ("sign_in", "token_for_other_service")


async def test_another_users_sender_address(lab_device: LabDevice, provider: Provider, postfix: Postfix) -> None:
    result = await lab_device.test(SMTP, postfix.submission, provider.token(), sender_address=ALICE)
    assert found(result) == ("probe", "sender_refused")
    assert "not owned by user" in result.diagnosis.facts["words"]


async def test_encryption_is_disabled(lab_device: LabDevice, postfix: Postfix) -> None:
    result = await lab_device.test(
        SMTP, postfix.submission, None, security="none", authentication="none", sender_address=DAEMON
    )
    assert found(result) == ("probe", "tls_required")


async def test_the_wrong_tls_mode(
    lab_device: LabDevice, provider: Provider, dovecot: Dovecot, postfix: Postfix
) -> None:
    for slot, endpoint in ((SMTP, postfix.submission), (POP, dovecot.pop3)):
        result = await lab_device.test(slot, endpoint, provider.token(), security="tls")
        assert found(result) == ("tls", "tls_port_mismatch")
        assert result.diagnosis.facts["security_right"] == "starttls"
    for slot, endpoint in ((SMTP, postfix.submissions), (POP, dovecot.pop3s)):
        result = await lab_device.test(slot, endpoint, provider.token(), security="starttls", timeout=5)
        assert found(result) == ("greeting", "tls_port_mismatch")
        assert result.diagnosis.facts["security_right"] == "tls"


async def test_a_wrong_password(lab_device: LabDevice, dovecot: Dovecot, postfix: Postfix) -> None:
    for slot, endpoint in ((SMTP, postfix.submission), (POP, dovecot.pop3s)):
        password = {"authentication": "password", "password": "another"}
        assert found(await lab_device.test(slot, endpoint, None, **password)) == ("sign_in", "password_refused")
        assert (await lab_device.test(slot, endpoint, None, authentication="password", password=PASSWORD)).ok


async def test_a_message_over_the_size_limit(
    lab_device: LabDevice,
    server_folder: Path,
    provider: Provider,
    dovecot: Dovecot,
    certificate: LeafCert,
    postfix: Postfix,
) -> None:
    async with in_thread(start_postfix(server_folder / "postfix", dovecot, certificate, size_limit=500)) as small:
        result = await lab_device.test(SMTP, small.submission, provider.token(), send=True)
    assert found(result) == ("probe", "message_too_large")


async def test_the_provider_is_unreachable(
    lab_device: LabDevice, server_folder: Path, dovecot: Dovecot, certificate: LeafCert
) -> None:
    async with AsyncExitStack() as stack:
        async with in_thread(start_provider(server_folder / "provider")) as gone:
            token = gone.token()
            starting = in_thread(start_dovecot(server_folder / "dovecot", gone, certificate))
            running = await stack.enter_async_context(starting)
        result = await lab_device.test(POP, running.pop3s, token)
    assert found(result) == ("sign_in", "sign_in_temporarily_unavailable")


LOCKED = "protocol pop3 {\n  pop3_lock_session = yes\n}\n"
ONE_AT_A_TIME = "protocol pop3 {\n  mail_max_userip_connections = 1\n}\n"


@pytest.mark.parametrize(
    ("more", "cause"), [(LOCKED, "mailbox_in_use"), (ONE_AT_A_TIME, "too_many_connections")], ids=["locked", "one"]
)
async def test_the_maildrop_is_locked(
    lab_device: LabDevice,
    server_folder: Path,
    provider: Provider,
    dovecot: Dovecot,
    certificate: LeafCert,
    more: str,
    cause: str,
    anyio_backend: str,
) -> None:
    if anyio_backend == "trio" and more == LOCKED:
        pytest.skip("Dovecot waits for eleven seconds, and once is enough")
    async with in_thread(start_dovecot(server_folder / "dovecot", provider, certificate, more=more)) as busy:
        token = provider.token()
        assert (await lab_device.test(POP, busy.pop3s, token)).ok
        async with Connector(lab_device.device.records) as connector, open_maildrop(await connector.profile("fax-pop")):
            result = await lab_device.test(POP, busy.pop3s, token)
    assert found(result) == ("sign_in", cause)
