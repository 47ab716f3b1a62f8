"""Entries of devices: who may hand mail to the gateway and what becomes of it, ``[devices.NAME]``.

``DeviceEntry`` is a copier or fax machine that uses this gateway. `mailslot.service.device.Device` is the machine that
mailslot itself runs on.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import ssl
from base64 import b64decode, b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.slots import keys
from mailslot.slots.gateway.patterns import ANY, domain_of, matches, parse_pattern
from mailslot.slots.keys import Key
from mailslot.slots.slot import is_valid_name

if TYPE_CHECKING:
    from collections.abc import Mapping

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_SIZE: Final = 1_000_000_000
"""Octets of a message that an entry may allow at most."""

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_LIMIT: Final = re.compile(rf"([1-9][0-9]{{0,6}})/({'|'.join(_SECONDS)})", re.ASCII)
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_MAX_CERTIFICATE: Final = 32 * 1024


def _network(value: object) -> str:
    network = ipaddress.ip_network(keys.text(value), strict=False)
    if network.prefixlen == 0:
        raise ValueError  # it would be everybody
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def parse_certificate(value: object) -> str:
    """Parse a certificate in PEM, of several the first, or in DER as base64; return the latter.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or len(value) > _MAX_CERTIFICATE:
        raise ValueError
    found = _PEM.search(value)
    return _checked_certificate("".join((found[1] if found else value).split()))


@lru_cache(maxsize=1024)
def _checked_certificate(text: str) -> str:
    octets = b64decode(text, validate=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=octets)
    except OSError:
        raise ValueError from None
    if context.cert_store_stats()["x509"] != 1:
        raise ValueError
    return b64encode(octets).decode()


def _name(value: object) -> str:
    found = keys.text(value)
    if not is_valid_name(found):
        raise ValueError
    return found


def _user(value: object) -> str:
    found = keys.text(value)
    if len(found) > 255 or " " in found:
        raise ValueError
    return found


def _sender(value: object) -> str:
    found = keys.text(value)
    return found.lower() if found.lower() in {"account", "keep"} else keys.address(found)


def _limit(value: object) -> str:
    found = keys.text(value).lower()
    if not _LIMIT.fullmatch(found):
        raise ValueError
    return found


_PATTERNS: Final = keys.list_of(parse_pattern)

DEVICE_KEYS: Final[Mapping[str, Key]] = {
    "address": Key(
        "a list of addresses or networks, such as 192.168.1.20 or 192.168.2.0/24",
        keys.list_of(_network),
        set_by="administrator",
    ),
    "user": Key("a user name without blanks", _user, set_by="administrator"),
    "certificate": Key(
        "a list of certificates, in DER as base64",
        keys.list_of(parse_certificate),
        set_by="administrator",
    ),
    "listener": Key("the name of a listener; any without it", _name),
    "via": Key(
        "the id of a slot or account, such as network.smtp or account.office",
        keys.text,
        default="network.smtp",
        set_by="administrator",
    ),
    "sender": Key("account, keep or an e-mail address", _sender, default="account", set_by="administrator"),
    "from": Key("a list of addresses, *@domain or *", _PATTERNS, default=("*",)),
    "to": Key(
        "a list of addresses, *@domain or *; without it, the domain of the sending account",
        _PATTERNS,
        set_by="administrator",
    ),
    "limit": Key("a list of limits, such as 20/minute, 500/day", keys.list_of(_limit), default=()),
    "size": Key(f"octets of a message, from 1 to {MAX_SIZE}", keys.number(1, MAX_SIZE)),
    "notify": Key("an e-mail address, which is told of what could not be delivered", keys.address),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """So many messages in so many seconds."""

    messages: int
    seconds: int


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A device that may use the gateway.

    Attributes:
        name: its name.
        addresses: where it may come from; empty for anywhere.
        user: the user that it must sign in as; None where it need not.
        certificates: SHA-256 fingerprints of client certificates, in hexadecimal; empty where it needs none.
        certificate_texts: the same certificates in PEM, for the listener that asks for them.
        listener: the only listener that it may use; None for any.
        via: the slot that its mail is sent through, or that it fetches from.
        sender: what becomes of its sender: ``"account"``, ``"keep"``, or an address.
        senders: patterns of the senders that it may name.
        recipients: patterns of the recipients that it may send to; None for those in the domain of the account.
        limits: how much it may send; all of them hold.
        size: octets that a message may have; None for what the gateway takes.
        notify: who is told of what could not be delivered; None for nobody.
    """

    name: str
    addresses: tuple[Network, ...] = ()
    user: str | None = None
    certificates: tuple[str, ...] = ()
    certificate_texts: tuple[str, ...] = ()
    listener: str | None = None
    via: str = "network.smtp"
    sender: str = "account"
    senders: tuple[str, ...] = ("*",)
    recipients: tuple[str, ...] | None = None
    limits: tuple[Limit, ...] = ()
    size: int | None = None
    notify: str | None = None

    @classmethod
    def from_values(cls, name: str, values: Mapping[str, Any]) -> DeviceEntry:
        """Return an entry from the values of its table, as they were parsed."""
        certificates = [b64decode(each) for each in values.get("certificate", ())]
        limits = [_LIMIT.fullmatch(each) for each in values.get("limit", ())]
        return cls(
            name=name,
            addresses=tuple(map(ipaddress.ip_network, values.get("address", ()))),
            user=values.get("user"),
            certificates=tuple(hashlib.sha256(each).hexdigest() for each in certificates),
            certificate_texts=tuple(map(ssl.DER_cert_to_PEM_cert, certificates)),
            listener=values.get("listener"),
            via=values.get("via", "network.smtp"),
            sender=values.get("sender", "account"),
            senders=values.get("from", ("*",)),
            recipients=values.get("to"),
            limits=tuple(Limit(int(each[1]), _SECONDS[each[2]]) for each in limits if each is not None),
            size=values.get("size"),
            notify=values.get("notify"),
        )

    def match_address(self, address: IPAddress) -> int | None:
        """Return how precisely an address is this device's: bits of a prefix, 0 where any is; None where it is not."""
        if not self.addresses:
            return 0
        return max((each.prefixlen for each in self.addresses if address in each), default=None)

    def match(
        self, address: IPAddress, *, listener: str, user: str | None = None, certificate: str | None = None
    ) -> bool:
        """Whether a client is this device: everything that its entry names must fit.

        Args:
            address: the client's, from `client_address`.
            listener: the listener that it came to.
            user: the user whose password was verified; None where nobody has signed in.
            certificate: the SHA-256 fingerprint of its certificate in lower-case hexadecimal; None without one.
        """
        return (
            self.listener in {None, listener}
            and self.match_address(address) is not None
            and (not self.certificates or certificate in self.certificates)
            and (self.user is None or (user is not None and same_user(self.user, user)))
        )

    def allows_sender(self, address: str) -> bool:
        """Whether the device may name a sender; the null sender, an empty text, is nobody's and always allowed."""
        # Some devices give a name without a domain, which only a pattern for anything stands for.
        return not address or ANY in self.senders or matches(self.senders, address)

    def allows_recipient(self, address: str, account: str) -> bool:
        """Whether the device may send to an address.

        Args:
            address: the recipient.
            account: the address of the sending account.
        """
        if self.recipients is not None:
            return matches(self.recipients, address)
        domain = domain_of(account)
        return bool(domain) and matches((f"*@{domain}",), address)


def check_device_entry(values: Mapping[str, Any]) -> None:
    """Refuse an entry that nothing identifies.

    Args:
        values: of its table, as they were parsed.

    Raises:
        InputError: it has neither an address, nor a user, nor a certificate.
    """
    if not any(values.get(key) for key in ("address", "user", "certificate")):
        raise InputError(
            "Nothing identifies this device: give its address, a user for it to sign in as, or its certificate.",
            stage="resolve",
            key="address",
        )


def client_address(text: str) -> IPAddress:
    """Return a client's address: without its zone, and an IPv4 address that came over IPv6 as what it is.

    Raises:
        ValueError: it is none.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def same_user(one: str, other: str) -> bool:
    """Whether two user names are the same; some devices write them in capitals."""
    return one.casefold() == other.casefold()
