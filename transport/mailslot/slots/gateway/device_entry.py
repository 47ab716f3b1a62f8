"""Entries of devices, ``[devices.NAME]``: who may use the gateway, and how their mail is handled.

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
"""The largest message size, in octets, that an entry can allow."""

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_LIMIT: Final = re.compile(rf"([1-9][0-9]{{0,6}})/({'|'.join(_SECONDS)})", re.ASCII)
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_MAX_CERTIFICATE: Final = 32 * 1024


def _network(value: object) -> str:
    network = ipaddress.ip_network(keys.text(value), strict=False)
    if network.prefixlen == 0:
        raise ValueError  # any client would match
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def parse_certificate(value: object) -> str:
    """Parse a certificate, in PEM (the first of several) or DER in base64; return it as DER in base64.

    Raises:
        ValueError: it is not one.
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
    """A limit: at most `messages` within `seconds`."""

    messages: int
    seconds: int


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A device that may use the gateway.

    Attributes:
        name: its name.
        addresses: the networks that it may connect from; empty for any.
        user: the user that it must sign in as; None if it need not sign in.
        certificates: SHA-256 fingerprints, in hexadecimal, of the client certificates of which it must present one;
            empty if it needs none.
        certificate_texts: the same certificates in PEM, for the listener that requests them.
        listener: the name of the only listener that it may use; None for any.
        via: the id of the slot through which its mail is sent, or from which it fetches mail.
        sender: how the sender of its mail is changed: ``"account"`` (to the account's address), ``"keep"`` (not at
            all), or an address.
        senders: patterns of the senders that it may use.
        recipients: patterns of the recipients that it may send to; None for those in the account's domain.
        limits: how many messages it may send; all of them apply.
        size: the maximum octets of a message; None for the gateway's maximum.
        notify: the address that is told about mail that could not be delivered; None for nobody.
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
        """Return an entry from the parsed values of its table."""
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
        """Return the prefix length of the network that contains an address, 0 if there are none; else None."""
        if not self.addresses:
            return 0
        return max((each.prefixlen for each in self.addresses if address in each), default=None)

    def match(
        self, address: IPAddress, *, listener: str, user: str | None = None, certificate: str | None = None
    ) -> bool:
        """Whether a client is this device: everything that its entry requires must match.

        Args:
            address: the client's address, from `client_address`.
            listener: the name of the listener that it has connected to.
            user: the user who has signed in; None if nobody has.
            certificate: the SHA-256 fingerprint of its certificate, in lower-case hexadecimal; None without one.
        """
        return (
            self.listener in {None, listener}
            and self.match_address(address) is not None
            and (not self.certificates or certificate in self.certificates)
            and (self.user is None or (user is not None and same_user(self.user, user)))
        )

    def allows_sender(self, address: str) -> bool:
        """Whether the device may use a sender; the null sender, an empty text, is always allowed."""
        # Some devices give a name without a domain, which only a pattern for anything stands for.
        return not address or ANY in self.senders or matches(self.senders, address)

    def allows_recipient(self, address: str, account: str) -> bool:
        """Whether the device may send to an address.

        Args:
            address: the recipient's address.
            account: the address of the sending account.
        """
        if self.recipients is not None:
            return matches(self.recipients, address)
        domain = domain_of(account)
        return bool(domain) and matches((f"*@{domain}",), address)


def check_device_entry(values: Mapping[str, Any]) -> None:
    """Check that something identifies the device of an entry.

    Args:
        values: the parsed values of its table.

    Raises:
        InputError: it has no address, no user and no certificate.
    """
    if not any(values.get(key) for key in ("address", "user", "certificate")):
        raise InputError(
            "Nothing identifies this device: give its address, a user for it to sign in as, or its certificate.",
            stage="resolve",
            key="address",
        )


def client_address(text: str) -> IPAddress:
    """Parse a client's address, without its zone; an IPv4-mapped IPv6 address becomes an IPv4 address.

    Raises:
        ValueError: it is not one.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def same_user(one: str, other: str) -> bool:
    """Whether two user names are the same, ignoring case, since some devices write them in capitals."""
    return one.casefold() == other.casefold()
