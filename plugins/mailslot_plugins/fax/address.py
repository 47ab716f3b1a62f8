"""Addresses of fax machines behind a gateway: ``FAX=+12027653000/T33S=1387@gateway.example`` (RFC 3191, RFC 3192).

Any other address is an ordinary mail address, of a device that receives Internet Fax itself.
"""

from __future__ import annotations

import re
from typing import Final

from mailslot.errors import InputError
from mailslot.smtp.address import parse_address

_ELEMENT: Final = re.compile(r"/?([A-Za-z0-9][A-Za-z0-9-]*)=([^/=]*)")
_GLOBAL_NUMBER: Final = re.compile(r"\+[0-9](?:[0-9.\-]*[0-9])?")
_SUB_ADDRESS: Final = re.compile(r"[0-9#*]+")
_SEPARATORS: Final = str.maketrans("", "", "-.")


def fax_address(text: str) -> str:
    """Return a fax address without separators in its number (RFC 3191 section 2).

    Args:
        text: a mail address, or the address of a fax machine behind a gateway.

    Raises:
        InputError: it is not an address, or its number is not an international one.
    """
    given = parse_address(text.strip(), "recipient").original
    local, _, domain = given.rpartition("@")
    plain = local[1:-1] if len(local) > 1 and local[0] == local[-1] == '"' else local
    plain = plain.strip("/")
    if not plain.upper().startswith("FAX="):
        return given
    elements = _ELEMENT.findall(f"/{plain}")
    if "/".join(f"{name}={value}" for name, value in elements) != plain:
        raise _unusable(text, "it must be FAX=+NUMBER@GATEWAY or FAX=+NUMBER/T33S=SUBADDRESS@GATEWAY")
    checked: list[str] = []
    for position, (name, value) in enumerate(elements):
        if position == 0:
            if not _GLOBAL_NUMBER.fullmatch(value):
                raise _unusable(text, "the number must begin with + and the country code and consist of digits")
            checked.append(f"FAX={value.translate(_SEPARATORS)}")
        elif name.upper() == "T33S":
            if not _SUB_ADDRESS.fullmatch(value.translate(_SEPARATORS)):
                raise _unusable(text, "a sub-address consists of digits, # and *")
            checked.append(f"T33S={value.translate(_SEPARATORS)}")
        else:
            # Unknown elements are for the gateway (RFC 3192 section 3).
            checked.append(f"{name}={value}")
    return f"{'/'.join(checked)}@{domain}"


def _unusable(text: str, why: str) -> InputError:
    return InputError(f"The fax address {text.strip()[:120]!r} cannot be used: {why}.", stage="envelope")
