"""Master keys in a key service: what it answers, what is kept while it is away, and what is said of it."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fleet.key_service import TOKEN, KeyService, run_key_service
from lab.process import free_ports
from mailslot.errors import InputError, MailError
from mailslot.fleet import key_cache
from mailslot.fleet.key_cache import ASK_AGAIN, FRESH, KEPT, KeyCache
from mailslot.fleet.key_service import KeyServiceClient, KeyServiceError
from mailslot.fleet.master_key import FileMasterKey, MasterKeys, WrappedKey
from mailslot.fleet.postgres.database import DeviceId
from mailslot.fleet.postgres.keys import TenantKeys, key_context
from mailslot.fleet.transit import TransitMasterKey
from mailslot.vault.errors import VaultError
from mailslot.vault.keys import Key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trustme import CA, LeafCert

DATA_KEY = b"k" * 32


@pytest.fixture
def service() -> Iterator[KeyService]:
    with run_key_service() as running:
        yield running


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


def test_a_key_opens_what_any_of_its_versions_has_wrapped_for_the_same_tenant(service: KeyService, token: Path) -> None:
    key = TransitMasterKey(service.address, KeyServiceClient(token))
    assert key.newest() == "transit/keys/fleet:v1"
    wrapped = key.wrap(DATA_KEY, "acme")
    assert wrapped.master == "transit/keys/fleet:v1"
    assert DATA_KEY not in wrapped.octets
    service.rotate()
    assert key.newest() == "transit/keys/fleet:v2"
    assert key.wrap(DATA_KEY, "acme").master == "transit/keys/fleet:v2"
    assert key.unwrap(wrapped, "acme") == DATA_KEY
    with pytest.raises(InputError, match="moved to another tenant"):
        key.unwrap(wrapped, "other")
    service.min_version = 2
    with pytest.raises(InputError, match="min_decryption_version"):
        key.unwrap(wrapped, "acme")
    with pytest.raises(InputError, match="old master key"):
        key.unwrap(WrappedKey("9f86d081884c7d65", wrapped.octets), "acme")
    assert key.has("transit/keys/fleet:v7")
    assert not key.has("transit/keys/fleet2:v7")


def test_what_is_said_of_a_key_service(service: KeyService, token: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = TransitMasterKey(service.address, KeyServiceClient(token))
    wrapped = key.wrap(DATA_KEY, "acme")
    said: list[tuple[str, bool]] = []

    def fail() -> None:
        for ask in (key.newest, lambda: key.unwrap(wrapped, "acme"), lambda: key.wrap(DATA_KEY, "acme")):
            with pytest.raises(KeyServiceError) as caught:
                ask()
            assert TOKEN not in repr(caught.value) + str(caught.value) + caught.value.detail
        said.append((str(caught.value), caught.value.is_away))
        assert (caught.value.cause, caught.value.retryable) == ("token_store_unreachable", True)

    service.sealed = True
    fail()
    service.sealed = False
    service.token = "another"
    fail()
    service.token = TOKEN
    service.kind = None
    fail()
    host = f"127.0.0.1:{service.port}"
    refusal = (
        f"The key service {host} refuses: the token in {token} has expired, or its policy does not allow to encrypt "
        "with the key fleet."
    )
    assert said == [
        (f"The key service {host} is sealed: somebody must unseal it.", True),
        (refusal, False),
        (f"The key service {host} has no key fleet.", False),
    ]
    service.kind = "rsa-4096"
    with pytest.raises(InputError, match="aes256-gcm96"):
        key.newest()
    token.unlink()
    with pytest.raises(KeyServiceError, match="missing or empty"):
        key.newest()
    key = TransitMasterKey(service.address, KeyServiceClient(token, token))
    token.write_text(TOKEN)
    with pytest.raises(KeyServiceError, match="authorities"):
        key.newest()
    assert TOKEN not in caplog.text


def test_an_address_that_is_none(token: Path) -> None:
    for address in (
        "https://bao.example.com:8200",
        "https://bao.example.com:8200/v1/transit/keys/",
        "http://bao.example.com:8200/v1/transit/keys/fleet",
        "https://token@bao.example.com/v1/transit/keys/fleet",
        "https://bao.example.com/v1/transit/keys/fleet?x=y",
    ):
        with pytest.raises(InputError):
            TransitMasterKey(address, KeyServiceClient(token))


def test_a_service_that_is_not_there(token: Path) -> None:
    [port] = free_ports(1)
    key = TransitMasterKey(f"http://127.0.0.1:{port}/v1/transit/keys/fleet", KeyServiceClient(token))
    with pytest.raises(KeyServiceError, match=f"The key service 127.0.0.1:{port} refuses connections") as caught:
        key.newest()
    assert caught.value.is_away


def test_what_a_broken_answer_repeats_is_masked(token: Path) -> None:
    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(10_000)
            connection.sendall(f"HTTP/1.1 200 OK\r\n{TOKEN}\r\n\r\n".encode())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        with pytest.raises(KeyServiceError) as caught:
            KeyServiceClient(token).send("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/v1/transit/keys/fleet")
        thread.join()
    error = caught.value
    assert "illegal header line" in error.detail
    assert TOKEN not in f"{error} {error.detail} {error.__cause__!r}"


def test_the_authority_of_a_key_service(token: Path, tmp_path: Path, ca: CA, certificate: LeafCert) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    (tmp_path / "ca.pem").write_bytes(ca.cert_pem.bytes())
    with run_key_service(context) as service:
        address = service.address.replace("http:", "https:")
        assert TransitMasterKey(address, KeyServiceClient(token, tmp_path / "ca.pem")).newest()
        with pytest.raises(KeyServiceError, match="certificate"):
            TransitMasterKey(address, KeyServiceClient(token)).newest()
        assert service.requests == ["read"]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_kept_while_the_service_is_away(service: KeyService, token: Path) -> None:
    clock = Clock()
    kept = KeyCache(TransitMasterKey(service.address, KeyServiceClient(token)), clock)
    wrapped, other = kept.wrap(DATA_KEY, "acme"), kept.wrap(DATA_KEY, "other")
    del service.requests[:]
    for _ in range(3):
        assert kept.unwrap(wrapped, "acme") == DATA_KEY
    assert service.requests == ["decrypt"]
    clock.now = FRESH + 1
    service.sealed = True
    # It is asked once in a while, whatever has to be done.
    for _ in range(3):
        assert kept.unwrap(wrapped, "acme") == DATA_KEY
        with pytest.raises(KeyServiceError, match="sealed"):
            kept.unwrap(other, "other")
    assert service.requests == ["decrypt"] * 2
    clock.now += ASK_AGAIN
    assert kept.unwrap(wrapped, "acme") == DATA_KEY
    assert service.requests == ["decrypt"] * 3
    clock.now = KEPT + 1
    with pytest.raises(KeyServiceError, match="sealed"):
        kept.unwrap(wrapped, "acme")
    service.sealed = False
    clock.now += ASK_AGAIN
    assert kept.unwrap(wrapped, "acme") == DATA_KEY
    assert kept.unwrap(other, "other") == DATA_KEY


def test_a_key_is_forgotten_when_the_service_refuses(service: KeyService, token: Path) -> None:
    clock = Clock()
    kept = KeyCache(TransitMasterKey(service.address, KeyServiceClient(token)), clock)
    wrapped = kept.wrap(DATA_KEY, "acme")
    kept.unwrap(wrapped, "acme")
    clock.now = FRESH + 1
    service.denied = {"decrypt"}
    with pytest.raises(KeyServiceError, match="policy"):
        kept.unwrap(wrapped, "acme")
    service.denied, service.sealed = set(), True
    with pytest.raises(KeyServiceError, match="sealed"):
        kept.unwrap(wrapped, "acme")


def test_an_answer_from_before_a_refusal_is_not_kept(service: KeyService, token: Path) -> None:
    master = TransitMasterKey(service.address, KeyServiceClient(token))
    answered, refused = threading.Event(), threading.Event()

    class Slow:
        """The answer comes late to one thread."""

        def unwrap(self, wrapped: WrappedKey, context: str) -> bytes:
            octets = master.unwrap(wrapped, context)
            answered.set()
            assert refused.wait(120)
            return octets

        def __getattr__(self, name: str) -> Any:
            return getattr(master, name)

    kept = KeyCache(Slow(), Clock())
    wrapped = kept.wrap(DATA_KEY, "acme")
    slow = threading.Thread(target=kept.unwrap, args=(wrapped, "acme"))
    slow.start()
    assert answered.wait(120)
    service.denied = {"decrypt"}
    with pytest.raises(KeyServiceError, match="policy"):
        kept.unwrap(wrapped, "acme")
    refused.set()
    slow.join()
    with pytest.raises(KeyServiceError, match="policy"):
        kept.unwrap(wrapped, "acme")


@pytest.mark.parametrize(("is_away", "seconds"), [(False, 300.0), (True, 3600.0)])
def test_for_how_long_devices_use_a_key(
    service: KeyService, token: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, *, is_away: bool
) -> None:
    """Each device of a tenant keeps it, too, from when it was opened; that does not add up."""
    clock, key = Clock(), Key(DATA_KEY)
    monkeypatch.setattr("mailslot.fleet.postgres.keys.time", SimpleNamespace(monotonic=clock))
    kept = KeyCache(TransitMasterKey(service.address, KeyServiceClient(token)), clock)
    wrapped = kept.wrap(DATA_KEY, key_context("acme"))
    rows = SimpleNamespace(tuples=lambda _: [(wrapped.master, wrapped.octets)])

    def device(number: int) -> TenantKeys:
        return TenantKeys(lambda question: question(rows), DeviceId("acme", str(number), 1, number), kept)

    assert device(0).find(key.id) is not None
    service.sealed, service.denied = is_away, set() if is_away else {"decrypt"}
    used_until, opened = 0.0, list[TenantKeys]()
    while clock.now < 2 * seconds:
        clock.now += 30.0
        opened = [*opened, device(1)][-20:]
        for each in opened:
            try:
                found = each.find(key.id)
            except VaultError:
                continue
            if found is not None:
                used_until = clock.now
    assert seconds - 100 < used_until <= seconds


def test_few_keys_are_kept(service: KeyService, token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_cache, "MOST", 2)
    kept = KeyCache(TransitMasterKey(service.address, KeyServiceClient(token)), Clock())
    wrapped = [kept.wrap(DATA_KEY, str(number)) for number in range(3)]
    del service.requests[:]
    for number in (0, 1, 2, 2, 1, 0):
        kept.unwrap(wrapped[number], str(number))
    assert service.requests == ["decrypt"] * 4


def test_the_old_master_key_only_unwraps(service: KeyService, token: Path, tmp_path: Path) -> None:
    file = FileMasterKey(tmp_path / "master.key")
    file.create()
    wrapped = file.wrap(DATA_KEY, "acme")
    keys = MasterKeys(TransitMasterKey(service.address, KeyServiceClient(token)), file)
    assert keys.unwrap(wrapped, "acme") == DATA_KEY
    fresh = keys.wrap(DATA_KEY, "acme")
    assert fresh.master == keys.newest() == "transit/keys/fleet:v1"
    assert keys.unwrap(fresh, "acme") == DATA_KEY
    back = MasterKeys(file, TransitMasterKey(service.address, KeyServiceClient(token)))
    assert back.unwrap(fresh, "acme") == DATA_KEY
    with pytest.raises(MailError, match="old master key"):
        back.unwrap(WrappedKey("unknown", b""), "acme")
