"""TLS of listeners: their own certificates, old devices, and clients with a certificate."""

from __future__ import annotations

import errno
import hashlib
import os
import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from mailslot import InputError
from mailslot.net.accepted import AcceptedConnection, TlsHandshakeError
from mailslot.net.certificates import NAMES, ensure_certificates
from mailslot.net.listener import open_listener
from mailslot.net.server_tls import server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import trustme

    from mailslot.net.peer import Peer

HOSTS = ("gate.example", "127.0.0.1")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    return ensure_certificates(tmp_path_factory.mktemp("tls"), HOSTS)


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[tuple[int, list[Peer]]]:
    """Answer each handshake with an octet."""
    peers: list[Peer] = []

    async def handle(connection: AcceptedConnection) -> None:
        peers.append(connection.peer)
        try:
            await connection.start_tls(context, anyio.current_time() + 60)
            await connection.send(b"x")
            await connection.receive()
        except TlsHandshakeError:
            await connection.close_gracefully()
        except (OSError, EOFError):
            return

    listener = await open_listener("tls", "127.0.0.1", 0)
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield listener.port, peers
        listener.close()


def client_of(certificates: list[tuple[Path, Path]], **changes: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for certificate, _ in certificates:
        context.load_verify_locations(cadata=certificate.read_text())
    for name, value in changes.items():
        setattr(context, name, value)
    return context


async def shake(port: int, context: ssl.SSLContext) -> tuple[str, str, bytes]:
    """Return version, cipher and the server's certificate."""
    async with await anyio.connect_tcp("127.0.0.1", port, ssl_context=context, tls_standard_compatible=False) as stream:
        assert await stream.receive() == b"x"
        return (
            stream.extra(anyio.streams.tls.TLSAttribute.tls_version),
            stream.extra(anyio.streams.tls.TLSAttribute.cipher)[0],
            stream.extra(anyio.streams.tls.TLSAttribute.peer_certificate_binary),
        )


def test_certificates_are_made_once(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path, HOSTS)
    octets = [path.read_bytes() for path, _ in made]
    assert ensure_certificates(tmp_path, ("other.example",)) == made
    assert [path.read_bytes() for path, _ in made] == octets
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    for path, key in made:
        assert path == key
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["gate.example"]
        assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
        assert certificate.not_valid_before_utc == datetime(2020, 1, 1, tzinfo=UTC)
        assert certificate.not_valid_after_utc.year == 2049
        certificate.verify_directly_issued_by(certificate)


def test_certificates_of_several_processes(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: ensure_certificates(tmp_path, HOSTS), range(4)))
    assert all(result == results[0] for result in results)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    server_context(results[0])


def test_certificates_where_files_have_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT, which memory cards have, refuses links so."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("os.link", refuse)
    made = ensure_certificates(tmp_path, HOSTS)
    octets = [path.read_bytes() for path, _ in made]
    server_context(made)
    assert ensure_certificates(tmp_path, HOSTS) == made
    assert [path.read_bytes() for path, _ in made] == octets
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


def test_a_crash_before_the_certificate_was_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="full"):
        ensure_certificates(tmp_path, HOSTS)
    assert list(tmp_path.iterdir()) == []


async def test_modern_clients(certificates: list[tuple[Path, Path]]) -> None:
    async with serving(server_context(certificates)) as (port, peers):
        version, cipher, certificate = await shake(port, client_of(certificates))
        assert version == "TLSv1.3"
        assert x509.load_der_x509_certificate(certificate).public_key().__class__.__name__.startswith("E")
        assert peers[0].tls is not None
        assert (peers[0].tls.version, peers[0].tls.cipher, peers[0].tls.fingerprint) == (version, cipher, None)
        assert peers[0].tls.bits >= 128
        # A client that knows RSA only gets that certificate.
        old = client_of(certificates, maximum_version=ssl.TLSVersion.TLSv1_2)
        old.set_ciphers("AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
        version, cipher, certificate = await shake(port, old)
        assert version == "TLSv1.2"
        assert "RSA" in x509.load_der_x509_certificate(certificate).public_key().__class__.__name__


def old_client(certificates: list[tuple[Path, Path]], version: str) -> ssl.SSLContext:
    context = client_of(certificates, minimum_version=ssl.TLSVersion.MINIMUM_SUPPORTED)
    context.set_ciphers("ALL:@SECLEVEL=0")
    for name in {"TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"} - {version}:
        context.options |= getattr(ssl.Options, f"OP_NO_{name}")
    return context


@pytest.mark.filterwarnings("ignore:ssl.OP_NO:DeprecationWarning")
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
async def test_old_devices(certificates: list[tuple[Path, Path]], version: str) -> None:
    async with serving(server_context(certificates, legacy=True)) as (port, peers):
        spoken, _, _ = await shake(port, old_client(certificates, version))
        assert spoken == version.replace("_", ".")
        # A modern client is served as well as elsewhere.
        assert (await shake(port, client_of(certificates)))[0] == "TLSv1.3"
    async with serving(server_context(certificates)) as (port, peers):
        with pytest.raises((ssl.SSLError, anyio.BrokenResourceError)):
            await shake(port, old_client(certificates, version))
    assert peers[0].tls is None
    assert peers[0].tls_error == "UNSUPPORTED_PROTOCOL"


async def test_a_client_with_a_certificate(
    certificates: list[tuple[Path, Path]], ca: trustme.CA, tmp_path: Path
) -> None:
    own = ca.issue_cert("scanner.example")
    pem = own.cert_chain_pems[0].bytes()
    expired = ca.issue_cert(
        "old.example", not_after=datetime(2020, 2, 1, tzinfo=UTC), not_before=datetime(2020, 1, 1, tzinfo=UTC)
    )
    stranger = ca.issue_cert("stranger.example")
    known = [pem.decode(), expired.cert_chain_pems[0].bytes().decode()]
    async with serving(server_context(certificates, client_certificates=known)) as (port, peers):
        for each in (own, expired):
            client = client_of(certificates)
            each.configure_cert(client)
            await shake(port, client)
            der = ssl.PEM_cert_to_DER_cert(each.cert_chain_pems[0].bytes().decode())
            assert peers[-1].tls is not None
            assert peers[-1].tls.fingerprint == hashlib.sha256(der).hexdigest()
        # Without a certificate, another entry may fit.
        await shake(port, client_of(certificates))
        assert peers[-1].tls is not None
        assert peers[-1].tls.fingerprint is None
        client = client_of(certificates)
        stranger.configure_cert(client)
        with pytest.raises((ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream)):
            await shake(port, client)
    assert peers[-1].tls is None
    assert peers[-1].tls_error == "CERTIFICATE_VERIFY_FAILED"


async def test_plain_text_instead_of_a_handshake(certificates: list[tuple[Path, Path]]) -> None:
    async with serving(server_context(certificates)) as (port, peers):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"EHLO me\r\n")
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await stream.receive()
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            # It is closed once the server has seen the end, and so has accepted it.
            await stream.send_eof()
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await stream.receive()
    assert [peer.tls_error for peer in peers] == ["WRONG_VERSION_NUMBER", "CONNECTION_CLOSED"]


async def test_silence_instead_of_a_handshake(certificates: list[tuple[Path, Path]]) -> None:
    context = server_context(certificates)
    failed = anyio.Event()
    peers = []

    async def handle(connection: AcceptedConnection) -> None:
        peers.append(connection.peer)
        with pytest.raises(TlsHandshakeError):
            await connection.start_tls(context, anyio.current_time())
        failed.set()

    listener = await open_listener("tls", "127.0.0.1", 0)
    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        async with await anyio.connect_tcp("127.0.0.1", listener.port):
            await failed.wait()
        listener.close()
    assert peers[0].tls_error == "TIMEOUT"


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    for name, reason in (("bad.pem", "it is not a certificate"), ("none.pem", "No such file")):
        with pytest.raises(InputError, match=reason) as caught:
            server_context([(tmp_path / name, tmp_path / name)])
        assert caught.value.key == "certificate"
    encrypted = tmp_path / "encrypted.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    form = Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    encrypted.write_bytes(key.private_bytes(*form))
    certificate = ensure_certificates(tmp_path, HOSTS)[0][0]
    with pytest.raises(InputError, match="the key has a passphrase"):
        server_context([(certificate, encrypted)])
    with pytest.raises(InputError, match="certificate of a device"):
        server_context([], client_certificates=["no certificate"])
