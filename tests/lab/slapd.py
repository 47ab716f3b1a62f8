"""OpenLDAP's server, from Debian's package, in a folder and on ports of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.process import free_ports, running
from lab.template import write_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trustme import LeafCert

UNPACKED = Path(sys.prefix) / "debian"
BINARY = UNPACKED / "usr/sbin/slapd"

BASE = "dc=example,dc=com"
USER = "cn=copier,dc=example,dc=com"
LIMITED = "cn=limited,dc=example,dc=com"
PASSWORD = "directory password"
MANY = 230
"""Entries called Clerk: more than two pages of an answer."""

PEOPLE = {
    "alice": ("Alice", "Example", ["alice@example.com", "a.example@example.net"], "+1 (202) 765-3000"),
    "bob": ("Bob", "Müller", ["bob@example.com"], ""),
    "carol": ("Carol", "Star*Paren(s)\\Back", ["carol@example.com"], ""),
    "no mail": ("Nomail", "Nobody", [], ""),
    "two words": ("Two", "Words", ["two@example.com"], ""),
    "broken": ("Broken", "Address", ["not an address", "broken@example.com"], "extension 12"),
}
"""Given name, family name, mail addresses and fax number, by user id."""


@dataclass(frozen=True)
class Slapd:
    """A running server.

    Attributes:
        plain: its port for LDAP, with StartTLS.
        tls: its port for LDAP over TLS.
    """

    plain: int
    tls: int


def ldif() -> str:
    """The entries, in LDIF."""
    entries = [
        f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n",
        *(
            f"dn: {dn}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\nuserPassword: {PASSWORD}\n"
            for dn in (USER, LIMITED)
        ),
        f"dn: ou=people,{BASE}\nobjectClass: organizationalUnit\n",
    ]
    people = {**PEOPLE, **{f"clerk{n}": ("Clerk", f"Number {n}", [f"clerk{n}@example.com"], "") for n in range(MANY)}}
    for uid, (given, family, addresses, fax) in people.items():
        lines = [f"dn: uid={uid},ou=people,{BASE}", "objectClass: inetOrgPerson", f"cn: {given} {family}"]
        lines += [f"givenName: {given}", f"sn: {family}", *(f"mail: {address}" for address in addresses)]
        entries.append("\n".join(lines + ([f"facsimileTelephoneNumber: {fax}"] if fax else [])) + "\n")
    return "\n".join(entries)


@contextmanager
def start_slapd(folder: Path, certificate: LeafCert) -> Iterator[Slapd]:
    """Run a server until the end of the block."""
    folder.mkdir()
    (folder / "data").mkdir()
    (folder / "key.pem").write_bytes(certificate.private_key_pem.bytes())
    (folder / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    libraries = next((UNPACKED / "usr/lib").glob("*-linux-gnu*"), UNPACKED / "usr/lib")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    values = {"folder": folder, "package": UNPACKED, "base": BASE, "user": USER, "limited": LIMITED}
    write_settings("slapd", folder, values)
    settings = folder / "slapd.conf"
    subprocess.run(
        [BINARY, "-Tadd", "-f", settings],
        input=ldif().encode(),
        env=environment,
        check=True,
        capture_output=True,
    )
    plain, tls = free_ports(2)
    addresses = f"ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{tls}"
    command = [BINARY, "-d", "0", "-f", settings, "-h", addresses]
    with running(command, ports=[plain, tls], log=folder / "log", environment=environment):
        yield Slapd(plain, tls)
