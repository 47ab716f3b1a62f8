"""The address of a device in a fleet: ``postgresql://…/DATABASE?device=TENANT/DEVICE``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from mailslot.errors import InputError

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
SCHEMES: Final = ("postgresql", "postgres")


@dataclass(frozen=True, slots=True)
class DeviceAddress:
    """A device in a fleet.

    Attributes:
        database: the address of the database, which may contain a password.
        tenant: the name of the tenant.
        device: the name of the device.
    """

    database: str = field(repr=False)
    tenant: str
    device: str

    @property
    def full(self) -> str:
        """The address as it is used, with a password if there is one."""
        parts = urlsplit(self.database)
        device = urlencode({"device": f"{self.tenant}/{self.device}"}, safe="/")
        return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, device)))))

    @property
    def shown(self) -> str:
        """What people enter for it, without a password."""
        parts = urlsplit(self.database)
        user, at, host = parts.netloc.rpartition("@")
        query = urlencode(
            [*parse_qsl(parts.query), ("device", f"{self.tenant}/{self.device}")], safe="/", quote_via=quote
        )
        query = "&".join(each for each in query.split("&") if not each.startswith("password="))
        return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}", query=query))


def is_address(place: str) -> bool:
    """Tell whether a home is the address of a database, and no folder."""
    return place.partition("://")[0] in SCHEMES and "://" in place


def parse_address(place: str) -> DeviceAddress:
    """Parse the address of a device.

    Raises:
        InputError: it names no device.
    """
    parts = urlsplit(place)
    values = parse_qsl(parts.query, keep_blank_values=True)
    devices = [value for name, value in values if name == "device"]
    if len(devices) != 1:
        raise InputError("The address of a device in a database ends with ?device=TENANT/DEVICE.", stage="resolve")
    tenant, device = parse_device(devices[0])
    query = urlencode([(name, value) for name, value in values if name != "device"])
    return DeviceAddress(urlunsplit(parts._replace(query=query)), tenant, device)


def parse_device(text: str) -> tuple[str, str]:
    """Return the names of tenant and device in ``TENANT/DEVICE``.

    Raises:
        InputError: these are no names.
    """
    tenant, slash, device = text.partition("/")
    if not slash:
        raise InputError(f"{text[:80]!r} is not of the form TENANT/DEVICE.", stage="resolve")
    return check_name(tenant), check_name(device)


def check_name(name: str) -> str:
    """Return the name of a tenant or device, if it is one.

    Raises:
        InputError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name[:80]!r} cannot name a tenant or device: use lower-case letters, digits, - and _, at most 63.",
            stage="resolve",
        )
    return name
