"""Sessions, throttling, passwords, keys and certificates on their own, with injected clocks."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mailslot.errors import InputError, MailError
from mailslot.oauth.timing import Clocks
from mailslot.service.device import open_device
from mailslot.slots.records import Records
from mailslot.wire.secret import Secret
from mailslot_plugins.panel.section import PANEL
from mailslot_plugins.panel.security import addresses, certificate, keys, session
from mailslot_plugins.panel.security.keys import ApiKeys
from mailslot_plugins.panel.security.password import MAX_LENGTH, MIN_LENGTH, Password, PasswordExistsError
from mailslot_plugins.panel.security.security import Security
from mailslot_plugins.panel.security.session import Notice, Sessions

if TYPE_CHECKING:
    from pathlib import Path

    import trustme

IDLE = 900.0


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


# Names


def test_a_non_ascii_host_name(tmp_path: Path) -> None:
    """Browsers send it as an A-label, and a certificate holds nothing else."""
    settings = Records(tmp_path).settings
    [given] = settings.change_section(PANEL, {"names": "Kopierer.Büro.example"})["names"]
    name = addresses.ascii_name(given)
    assert addresses.is_own_host("kopierer.xn--bro-hoa.example:8443", [name])
    assert not addresses.is_own_host("kopierer.xn--bro-hoa.evil.example", [name])
    certificate.self_signed_certificate(tmp_path, [name], 1_800_000_000.0)


# Sessions


def test_sessions_end_after_inactivity_and_at_their_maximum_age() -> None:
    sessions = Sessions()
    id_, found = sessions.sign_in(sessions.new()[0], 0.0)
    assert sessions.find(id_, IDLE - 1, IDLE) is found
    assert sessions.find(id_, IDLE, IDLE) is None
    id_, found = sessions.sign_in(id_, 0.0)
    found.last_used = session.MAX_AGE - 1
    assert sessions.find(id_, session.MAX_AGE - 1, IDLE) is found
    assert sessions.find(id_, session.MAX_AGE, IDLE) is None
    assert len(sessions) == 0


async def test_live_updates_do_not_keep_a_session_alive(tmp_path: Path) -> None:
    clock = Clock()
    async with open_device(Records(tmp_path), clocks=Clocks(clock, clock)) as device:
        device.records.settings.change_section(PANEL, {"idle_minutes": 10})
        security = Security(device)
        await security.is_claimed()
        first = await security.visit("", person=True)
        first.id, first.session = security._sessions.sign_in(first.id, clock.now)
        for _ in range(9):
            clock.now += 60
            assert (await security.visit(first.id, person=False)).session.signed_in
        clock.now += 59
        assert (await security.visit(first.id, person=True)).session.signed_in
        clock.now += 599
        assert (await security.visit(first.id, person=False)).session.signed_in
        clock.now += 1
        assert not (await security.visit(first.id, person=False)).session.signed_in


def test_anonymous_sessions_use_no_memory() -> None:
    sessions = Sessions()
    admin, _ = sessions.sign_in(sessions.new()[0], 0.0)
    own_id, kept = sessions.new()
    kept.notices.append(Notice("done", "You have signed out."))
    sessions.save(own_id, kept)
    for _ in range(10_000):
        id_, other = sessions.new()
        sessions.save(id_, other)
    assert sessions.find(own_id, 1.0, IDLE) is kept
    for _ in range(session.MAX_ANONYMOUS):
        id_, other = sessions.new()
        other.notices.append(Notice("done", "x"))
        sessions.save(id_, other)
    assert (again := sessions.find(own_id, 1.0, IDLE)) is not None
    # What was said is forgotten; the token of the forms is not.
    assert (again.notices, again.csrf) == ([], kept.csrf)
    found = sessions.find(admin, 1.0, IDLE)
    assert found is not None
    assert found.signed_in


def test_the_least_recently_used_session_ends() -> None:
    sessions = Sessions()
    ids = [sessions.sign_in(sessions.new()[0], float(number))[0] for number in range(session.MAX_SIGNED_IN)]
    first = sessions.find(ids[0], 50.0, IDLE)
    assert first is not None
    first.last_used = 50.0
    sessions.sign_in(sessions.new()[0], 60.0)
    assert len(sessions) == session.MAX_SIGNED_IN
    signed_in = [(found := sessions.find(id_, 60.0, IDLE)) is not None and found.signed_in for id_ in ids[:3]]
    assert signed_in == [True, False, True]


@pytest.mark.parametrize("id_", ["", "x", "a" * 42, "a" * 44, "a" * 42 + "\n", "a" * 42 + "ä", "a" * 42 + "/"])
def test_invalid_session_ids(id_: str) -> None:
    assert Sessions().find(id_, 0.0, IDLE) is None


def test_signing_in_again_ends_the_previous_session() -> None:
    sessions = Sessions()
    before, _ = sessions.sign_in(sessions.new()[0], 0.0)
    sessions.sign_in(before, 1.0)
    assert len(sessions) == 1
    found = sessions.find(before, 1.0, IDLE)
    assert found is not None
    assert not found.signed_in


# The password


def test_the_password(tmp_path: Path) -> None:
    password = Password(tmp_path)
    assert password.stamp() is None
    assert not password.verify(Secret("anything at all"))
    password.set(Secret("Fußgängerübergang"), first=True)
    assert password.verify(Secret("Fußgängerübergang"))
    # As a Mac's keyboard has it.
    assert password.verify(Secret("Fußga\u0308ngeru\u0308bergang"))
    assert not password.verify(Secret("fußgängerübergang"))
    assert not password.verify(Secret(""))
    before = password.stamp()
    with pytest.raises(PasswordExistsError):
        password.set(Secret("somebody else's"), first=True)
    assert password.stamp() == before
    password.set(Secret("p" * MAX_LENGTH))
    assert password.stamp() != before
    assert not password.verify(Secret("p" * (MAX_LENGTH + 1)))
    assert (tmp_path / "panel").stat().st_mode & 0o777 == 0o700
    hashed = (tmp_path / "panel" / "password").read_text()
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    for wrong in ("p" * (MIN_LENGTH - 1), "", "p" * (MAX_LENGTH + 1)):
        with pytest.raises(InputError, match="8 to 1024 characters"):
            password.set(Secret(wrong))
    assert (tmp_path / "panel" / "password").read_text() == hashed


# Keys


def test_keys(tmp_path: Path) -> None:
    clock = Clock()
    kept = ApiKeys(tmp_path, clock)
    assert kept.all() == []
    assert kept.check(Secret("")) is None
    one, other = kept.make("  Fleet \n script "), kept.make("other")
    assert one != other
    assert [key.name for key in kept.all()] == ["Fleet script", "other"]
    found = kept.check(one)
    assert found is not None
    assert found.name == "Fleet script"
    assert [key.used for key in kept.all()] == [clock.now, None]
    first = clock.now
    clock.now += 60
    kept.check(one)
    assert [key.used for key in kept.all()] == [first, None]
    clock.now += 3600
    kept.check(one)
    assert [key.used for key in kept.all()] == [clock.now, None]
    assert kept.delete(found.id)
    assert not kept.delete(found.id)
    assert kept.check(one) is None
    for name in ("", " ", "x" * 81, "a\x00b"):
        with pytest.raises(InputError):
            kept.make(name)
    for number in range(keys.MAX_KEYS - 1):
        kept.make(str(number))
    with pytest.raises(InputError, match="delete one first"):
        kept.make("one too many")
    (tmp_path / "panel" / "keys.json").write_text('[{"id": 7}]')
    with pytest.raises(MailError, match="is damaged"):
        kept.check(one)


# Certificates


def test_a_self_signed_certificate(tmp_path: Path) -> None:
    now = datetime.now(UTC).timestamp()
    names = ("localhost", "127.0.0.1", "::1", "copier.local")
    made = certificate.self_signed_certificate(tmp_path, names, now)
    assert made.key_path.stat().st_mode & 0o777 == 0o600
    found = x509.load_pem_x509_certificate(made.path.read_bytes())
    alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == ["copier.local", "localhost"]
    assert sorted(map(str, alternatives.get_values_for_type(x509.IPAddress))) == ["127.0.0.1", "::1"]
    assert found.not_valid_after_utc - found.not_valid_before_utc == timedelta(days=397)
    assert not made.is_own
    # It stays as it is while it is good …
    assert certificate.self_signed_certificate(tmp_path, names, now + 300 * 86400) == made
    assert certificate.self_signed_certificate(tmp_path, names[:2], now) == made
    key = made.key_path.read_bytes()
    # … and is made anew in time, or for another name, with the same key.
    later = certificate.self_signed_certificate(tmp_path, names, now + 370 * 86400)
    assert later.expires_at > made.expires_at
    more = certificate.self_signed_certificate(tmp_path, (*names, "192.0.2.7"), now + 370 * 86400)
    assert len({made.fingerprint, later.fingerprint, more.fingerprint}) == 3
    assert made.key_path.read_bytes() == key
    # A clock that was set back by years makes none that is not valid yet.
    assert certificate.self_signed_certificate(tmp_path, names, now - 4000 * 86400).expires_at < now
    for file, octets in ((made.key_path, b"damaged"), (made.path, b"damaged")):
        file.write_bytes(octets)
        again = certificate.self_signed_certificate(tmp_path, names, now)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(again.path, again.key_path)


def test_an_administrators_certificate(tmp_path: Path, ca: trustme.CA) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    leaf, other = ca.issue_cert("panel.example.com"), ca.issue_cert("other.example.com")
    chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    assert certificate.load_own_certificate(chain, key).is_own
    key.write_bytes(other.private_key_pem.bytes())
    with pytest.raises(InputError, match="it is not a certificate with its key, in PEM"):
        certificate.load_own_certificate(chain, key)
    with pytest.raises(InputError, match="No such file"):
        certificate.load_own_certificate(chain, tmp_path / "none.pem")
    # OpenSSL would ask for the password on the terminal.
    key.write_bytes(key_with_password())
    with pytest.raises(InputError, match="cannot be used"):
        certificate.load_own_certificate(chain, key)


def key_with_password() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a password"),
    )
