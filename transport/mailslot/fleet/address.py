"""The address of a device in a fleet: ``postgresql://…/DATABASE?device=TENANT/DEVICE``.

It is parsed as by libpq, and the part for libpq is passed on unchanged: unlike in web addresses, the host may be empty
and ``+`` does not mean a space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

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
        return self._with_device(self.database)

    @property
    def shown(self) -> str:
        """The address as people enter it, without a password."""
        start, parameters = _split(self.database)
        scheme, _, rest = start.partition("://")
        authority, slash, name = rest.partition("/")
        credentials, at, server = authority.rpartition("@")
        shown = f"{scheme}://{credentials.partition(':')[0]}{at}{server}{slash}{name}"
        return self._with_device(_join(shown, [each for each in parameters if not _is_secret(each)]))

    def _with_device(self, database: str) -> str:
        start, parameters = _split(database)
        return _join(start, [*parameters, f"device={self.tenant}/{self.device}"])


def is_address(place: str) -> bool:
    """Return whether a home is the address of a database rather than a folder."""
    scheme, separator, _ = place.partition("://")
    return bool(separator) and scheme in SCHEMES


def parse_address(place: str) -> DeviceAddress:
    """Parse the address of a device.

    Raises:
        InputError: it names no device.
    """
    start, parameters = _split(place)
    devices = [unquote(each.partition("=")[2]) for each in parameters if _name_of(each) == "device"]
    if len(devices) != 1:
        raise InputError("The address of a device in a database ends with ?device=TENANT/DEVICE.", stage="resolve")
    tenant, device = parse_device(devices[0])
    return DeviceAddress(_join(start, [each for each in parameters if _name_of(each) != "device"]), tenant, device)


def parse_device(text: str) -> tuple[str, str]:
    """Return the names of tenant and device in ``TENANT/DEVICE``.

    Raises:
        InputError: it has another form, or a name is not valid.
    """
    tenant, slash, device = text.partition("/")
    if not slash:
        raise InputError(f"{text[:80]!r} is not of the form TENANT/DEVICE.", stage="resolve")
    return check_name(tenant), check_name(device)


def check_name(name: str) -> str:
    """Return the name of a tenant or device, if it is valid.

    Raises:
        InputError: it is not valid.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name[:80]!r} cannot name a tenant or device: use lower-case letters, digits, - and _, at most 63.",
            stage="resolve",
        )
    return name


def _split(address: str) -> tuple[str, list[str]]:
    """Return an address without its parameters, and the parameters as they were entered."""
    # Up to the first slash there may be a user and a password, which may contain a question mark.
    authority = address.partition("://")[2].partition("/")[0]
    end = address.find("?", len(address.partition("://")[0]) + 3 + authority.rfind("@") + 1)
    if end < 0:
        return address, []
    return address[:end], [each for each in address[end + 1 :].split("&") if each]


def _join(start: str, parameters: list[str]) -> str:
    return "?".join(filter(None, (start, "&".join(parameters))))


def _name_of(parameter: str) -> str:
    return unquote(parameter.partition("=")[0])


def _is_secret(parameter: str) -> bool:
    """Tell whether a parameter of libpq is secret: ``password``, ``sslpassword``, ``oauth_client_secret``."""
    return _name_of(parameter).endswith(("password", "secret"))
