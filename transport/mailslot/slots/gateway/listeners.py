"""Listeners of the gateway, ``[listeners.NAME]`` in ``mailslot.toml``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.net.endpoint import Endpoint, Security
from mailslot.slots import keys
from mailslot.slots.keys import Key
from mailslot.slots.settings import PROTOCOL_KEY, protocol_from

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mailslot.slots.slot import Protocol

# RFC 1918 section 3, RFC 3927 (link-local), RFC 4193 (unique local), RFC 4291 section 2.5.6 (link-local).
_PRIVATE: Final = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)
_ADDRESS: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]+)):([0-9]{1,5})", re.ASCII)


def _listen(value: object) -> str:
    match = _ADDRESS.fullmatch(keys.text(value))
    if match is None or int(match[3]) > 65535:
        raise ValueError
    host = match[1] or match[2]
    try:
        _ = Endpoint(host, 1, Security.NONE).ascii_host
    except InputError:
        raise ValueError from None
    return f"[{host}]:{int(match[3])}" if ":" in host else f"{host}:{int(match[3])}"


LISTENER_KEYS: Final[Mapping[str, Key]] = {
    "listen": Key("HOST:PORT, such as 192.168.1.5:587; port 0 is any free one", _listen, set_by="administrator"),
    "protocol": PROTOCOL_KEY,
    "security": Key(
        "none, starttls or tls",
        keys.one_of(*(each.value for each in Security), convert=Security),
        default=Security.STARTTLS,
        set_by="administrator",
    ),
    "legacy": Key(
        "true or false; true also speaks TLS 1.0 and 1.1 with old ciphers",
        keys.flag,
        default=False,
        set_by="administrator",
    ),
    "certificate": Key("the path of a file with a certificate and its chain, in PEM", keys.path),
    "key": Key("the path of a file with its private key, in PEM", keys.path),
}


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener: an address and port at which devices connect.

    Attributes:
        name: its name.
        host: a host name or an IP address.
        port: the port; 0 for any that is free.
        protocol: SMTP or POP.
        security: implicit TLS, STARTTLS, or none; with none, passwords are sent in clear.
        legacy: whether TLS 1.0 and 1.1 and old ciphers are accepted, too.
        certificate: the file with the certificate; None to generate one.
        key: the file with its key; None if `certificate` is None.
    """

    name: str
    host: str
    port: int
    protocol: Protocol
    security: Security
    legacy: bool = False
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def from_values(cls, name: str, values: Mapping[str, Any]) -> Listener:
        """Return a listener from the values of its table, which `check_listener` has checked."""
        match = _ADDRESS.fullmatch(values["listen"])
        assert match is not None  # noqa: S101 - `_listen` has checked it
        given = {key: values.get(key, known.default) for key, known in LISTENER_KEYS.items() if key != "listen"}
        given["protocol"] = protocol_from(given["protocol"])
        return cls(name, match[1] or match[2], int(match[3]), **given)

    @property
    def address(self) -> str:
        """Its address, ``HOST:PORT``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def check_listener(values: Mapping[str, Any]) -> None:
    """Check that the settings of a listener are complete and do not contradict each other.

    Args:
        values: the parsed values of its table.

    Raises:
        InputError: it has no address, passwords would cross a public network in clear, or only one of certificate and
            key is set.
    """
    if "listen" not in values:
        raise InputError("A listener needs an address: set listen to HOST:PORT.", stage="resolve", key="listen")
    listener = Listener.from_values("", values)
    if listener.security is Security.NONE:
        if not is_private(listener.host):
            raise InputError(
                f"Without encryption, passwords could be read on the way to {listener.host}: listen on a loopback or "
                "private address, or set security to starttls or tls.",
                stage="resolve",
                key="security",
            )
        if listener.legacy or listener.certificate is not None or listener.key is not None:
            raise InputError(
                "Without encryption there is no TLS to set up: leave out legacy, certificate and key, or set security "
                "to starttls or tls.",
                stage="resolve",
                key="security",
            )
    if (listener.certificate is None) != (listener.key is None):
        raise InputError("A certificate and its key belong together: set both.", stage="resolve", key="certificate")


def is_private(host: str) -> bool:
    """Whether only nearby machines reach an address: it is loopback, private, link-local or ``localhost``."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in _PRIVATE if network.version == address.version)
