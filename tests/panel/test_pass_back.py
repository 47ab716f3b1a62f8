"""Pass-back attacks: an attacker who may change settings sets their own server, and waits for the device's secrets."""

from __future__ import annotations

import ssl
from base64 import b64decode
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest
import trustme
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener
from anyio.to_thread import run_sync

from diagnosis.device import Device
from mailslot.slots.slot import SlotDirectory
from mailslot_plugins.panel.security.keys import ApiKeys
from panel.browser_client import BrowserClient, words
from panel.running_panel import run_panel
from panel.test_slots import fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import AnyByteStream, TaskStatus

    from panel.running_panel import RunningPanel

PASSWORD, SECRET, RENEWAL = "geheim-passwort", "geheim-client", "geheim-renewal"
SERVICE = {
    "authorization_endpoint": "http://127.0.0.1:9/authorize",
    "token_endpoint": "http://127.0.0.1:9/token",
    "client_id": "printer",
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough: what is asked is what leaves the device."""
    return "asyncio"


class Hostile:
    """A mail server and a token service of the attacker's, which take whatever they are sent.

    Attributes:
        seen: all that came, and what it is in base64.
        ca: who has signed the mail server's certificate, as anybody's is signed.
        mail: its port, for POP3 over TLS.
        web: the token service's port.
    """

    def __init__(self) -> None:
        self.received = b""
        self.ca = trustme.CA()
        self.mail = self.web = 0

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        """Listen until cancelled."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert("localhost").configure_cert(context)
        plain = [await anyio.create_tcp_listener(local_host="127.0.0.1") for _ in range(2)]
        self.mail, self.web = (each.extra(SocketAttribute.local_port) for each in plain)
        async with plain[0], plain[1], anyio.create_task_group() as group:
            group.start_soon(TLSListener(plain[0], context, standard_compatible=False).serve, self._mail)
            group.start_soon(plain[1].serve, self._web)
            task_status.started()

    async def _mail(self, peer: AnyByteStream) -> None:
        async with peer:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await peer.send(b"+OK\r\n")
                while line := await peer.receive():
                    self._note(line)
                    capa = line.upper().startswith(b"CAPA")
                    await peer.send(b"+OK\r\nUSER\r\nSASL PLAIN XOAUTH2\r\n.\r\n" if capa else b"+OK\r\n")

    async def _web(self, peer: AnyByteStream) -> None:
        async with peer:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                self._note(await peer.receive())
                await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}")

    def _note(self, octets: bytes) -> None:
        self.received += octets
        for word in octets.split():
            with suppress(ValueError):
                self.received += b64decode(word, validate=True)


@pytest.fixture
async def hostile(anyio_backend: str) -> AsyncIterator[Hostile]:
    found = Hostile()
    async with anyio.create_task_group() as group:
        await group.start(found.serve)
        yield found
        group.cancel_scope.cancel()
    for secret in (PASSWORD, SECRET, RENEWAL):
        assert secret.encode() not in found.received


@pytest.fixture(scope="module")
async def panel(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPanel]:
    async with run_panel(tmp_path_factory.mktemp("passback") / "home") as found:
        yield found


@pytest.fixture(scope="module")
async def client(panel: RunningPanel) -> AsyncIterator[BrowserClient]:
    async with BrowserClient(panel.address) as found:
        await found.sign_in()
        yield found


@pytest.fixture(scope="module")
async def script(panel: RunningPanel) -> AsyncIterator[httpx2.AsyncClient]:
    key = await run_sync(ApiKeys(panel.device.home, lambda: 0.0).make, "attacker")
    headers = {"authorization": f"Bearer {key.reveal()}"}
    async with httpx2.AsyncClient(
        base_url=f"{panel.address}/api", headers=headers, timeout=120, trust_env=False
    ) as api:
        yield api


@pytest.fixture
async def device(panel: RunningPanel) -> Device:
    """The device as its administrator has set it up, with secrets of every kind."""
    device = Device(panel.device.home)
    common = {"account": "scanner@example.com", "password": PASSWORD, "client_secret": SECRET, **SERVICE}
    for slot in ("alert.smtp", "fax.pop", "network.smtp"):
        reset = partial(device.set, slot, provider=None, issuer=None, port=None, security=None, authentication="oauth2")
        await run_sync(partial(reset, server="mail.example.com", **common))
        await device.store_token(slot, "geheim-access", RENEWAL, left=-10)
    return device


def kept(device: Device, slot: str) -> set[str]:
    return set(device.records.vault.fields(SlotDirectory().find(slot).record)) - {"grant"}


@pytest.mark.parametrize(
    ("change", "dropped"),
    [
        ({"server": "evil.example"}, {"password"}),
        ({"secondary_server": "evil.example"}, {"password"}),
        ({"port": 2525}, {"password"}),
        ({"security": "tls"}, {"password"}),
        ({"server": None, "provider": "google"}, {"password", "client_secret"}),
        ({"issuer": "https://evil.example"}, {"client_secret"}),
        ({"token_endpoint": "https://evil.example/token"}, {"client_secret"}),
        ({"authorization_endpoint": "https://evil.example/authorize"}, {"client_secret"}),
        ({"device_authorization_endpoint": "https://evil.example/device"}, {"client_secret"}),
        ({"revocation_endpoint": "https://evil.example/revoke"}, {"client_secret"}),
        ({"server": "evil.example", "password": "his own"}, set()),
        # Nothing goes anywhere else.
        ({"port": 587, "provider": "custom", "timeout": 31, "tenant": None}, set()),
    ],
)
async def test_a_change_by_the_api(
    script: httpx2.AsyncClient, device: Device, change: dict[str, object], dropped: set[str]
) -> None:
    answer = await script.patch("/slots/alert.smtp/settings", json=change)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert (set(document["dropped"]), len(document["notes"])) == (dropped, len(dropped))
    assert kept(device, "alert.smtp") == {"password", "client_secret"} - dropped
    assert document["secrets"] == {name: name not in dropped for name in ("password", "client_secret")}
    await script.patch("/slots/alert.smtp/settings", json={"secondary_server": None, **dict.fromkeys(change)})


async def test_a_refused_change_drops_nothing(script: httpx2.AsyncClient, device: Device) -> None:
    path = "/slots/alert.smtp/settings"
    assert (await script.patch(path, json={"server": "evil.example", "port": 0})).status_code == 422
    late = await script.patch(path, json={"server": "evil.example"}, headers={"if-match": '"old"'})
    assert late.status_code == 412
    assert kept(device, "alert.smtp") == {"password", "client_secret"}


async def test_a_change_in_the_panel_is_shown_before_it_drops(client: BrowserClient, device: Device) -> None:
    path = "/slots/fax.pop"
    asked = await client.post(path, data={**await fields(client, path), "server": "evil.example"})
    assert asked.headers["location"] == f"{path}/review"
    review = words(await client.get(f"{path}/review"))
    assert "The password was entered for another server, so it is removed" in review
    assert "Password is set removed" in review
    german = words(await client.get(f"{path}/review", headers={"accept-language": "de"}))
    assert "Das Kennwort wurde für einen anderen Server eingegeben" in german
    assert kept(device, "fax.pop") == {"password", "client_secret"}
    await client.submit(f"{path}/review")
    assert "The password was entered for another server" in words(await client.get(path))
    assert kept(device, "fax.pop") == {"client_secret"}
    # Whoever enters it anew at once has it kept.
    again = {"server": "mail.example.com", "password": PASSWORD}
    await client.post(path, data={**await fields(client, path), **again})
    assert kept(device, "fax.pop") == {"password", "client_secret"}


async def test_another_tenant_drops_the_client_secret(client: BrowserClient, device: Device) -> None:
    """Where the application is entered, too: a tenant is a part of the endpoint's address."""
    reset = dict.fromkeys(("authorization_endpoint", "token_endpoint"))
    await run_sync(partial(device.set, "fax.pop", provider="microsoft365", tenant="ours.example", **reset))
    page = "/slots/fax.pop/token"
    same = {"client_id": "printer", "tenant": "ours.example"}
    await client.submit(f"{page}/application", page, **same)
    assert kept(device, "fax.pop") == {"password", "client_secret"}
    await client.submit(f"{page}/application", page, **{**same, "tenant": "evil.example"})
    assert kept(device, "fax.pop") == {"password"}
    assert "The client secret was entered for another token service" in words(await client.get(page))
    await run_sync(partial(device.set, "fax.pop", tenant=None))


async def test_the_first_start_removes_secrets_too(client: BrowserClient, device: Device) -> None:
    await client.submit("/first-start/slot", provider="google", account="scanner@example.com")
    assert "client_secret" not in kept(device, "network.smtp")
    assert "The client secret was entered for another token service" in words(await client.get("/first-start/done"))


async def test_a_hostile_server_gets_nothing(script: httpx2.AsyncClient, device: Device, hostile: Hostile) -> None:
    """All that the attacker can name, then all that makes the device call."""
    panel_address = f"http://127.0.0.1:{hostile.web}"
    ends = {"token_endpoint": f"{panel_address}/token", "revocation_endpoint": f"{panel_address}/revoke"}
    settings = {"server": "localhost", "port": hostile.mail, "security": "tls"}
    await run_sync(partial(device.set, "fax.pop", ca_file=device.trust(hostile.ca.cert_pem.bytes())))
    causes = []
    for change in ({**ends, **settings}, {"authentication": "password"}, {"authentication": "oauth2"}):
        assert (await script.patch("/slots/fax.pop/settings", json=change)).status_code == 200
        causes.append((await device.test("fax.pop")).diagnosis.cause)
    assert causes == ["token_for_other_service", "not_configured", "token_for_other_service"]
    assert (await script.get("/slots/fax.pop")).json()["health"]["cause"] == "token_for_other_service"
    result = await device.records.tokens.delete("fax-pop", device.records.settings.load()["fax-pop"])
    assert "The provider was not told: the token came from http://127.0.0.1:9" in result.sentence
    # Whoever has a login on the device may: so the server would have seen it.
    await run_sync(partial(device.set, "fax.pop", authentication="password", password="geheim-anderes"))
    await device.test("fax.pop")
    assert b"geheim-anderes" in hostile.received
