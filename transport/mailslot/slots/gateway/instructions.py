"""Instructions: what a person enters at a device so that it uses the gateway."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.net.endpoint import Security
    from mailslot.slots.gateway.device_entry import DeviceEntry
    from mailslot.slots.gateway.gateway_settings import GatewaySettings

_ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - nothing is bound here
_DISCARD_PORT: Final = 9


@dataclass(frozen=True, slots=True)
class Instruction:
    """The values to enter at a device for one listener.

    Attributes:
        listener: its name.
        host: the server's name or address to enter.
        port: the port; 0 if the listener takes any free port and was never started.
        security: the encryption.
        user: the user name; None if the device need not sign in.
        legacy: whether the listener accepts TLS 1.0 and 1.1 as well.
    """

    listener: str
    host: str
    port: int
    security: Security
    user: str | None
    legacy: bool = False


def instructions(
    settings: GatewaySettings, entry: DeviceEntry, listening: Mapping[str, tuple[str, int]]
) -> list[Instruction]:
    """Return the instructions for a device, one for each listener that it may use. It blocks for a moment.

    Args:
        settings: the listeners and devices.
        entry: the device.
        listening: the host and port that each listener is bound to, by its name.
    """
    protocol = settings.protocol(entry)
    found: list[Instruction] = []
    for listener in settings.listeners.values():
        if listener.protocol != protocol or entry.listener not in {None, listener.name}:
            continue
        port = listener.port or listening.get(listener.name, ("", 0))[1]
        host = _own_address(entry, listener.host) if listener.host in _ANY_ADDRESS else listener.host
        found.append(Instruction(listener.name, host, port, listener.security, entry.user, listener.legacy))
    return found


def _own_address(entry: DeviceEntry, host: str) -> str:
    """Return this machine's address as a device sees it; its host name if that is not known."""
    # Connecting a datagram socket sends nothing, but chooses which of the machine's addresses would be used.
    target = (
        str(entry.addresses[0].network_address) if entry.addresses else ("2001:db8::1" if ":" in host else "192.0.2.1")
    )
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((target, _DISCARD_PORT))
        return str(probe.getsockname()[0])
    return socket.gethostname()
