"""Browsers in which the administrator has signed in before, by a cookie that outlives the session.

Whoever shows it is not slowed down by others who guess, wherever they come from; its own wrong guesses count, so that
a stolen cookie is worth a few guesses and no more. This is the protocol of OWASP, "Slow Down Online Guessing Attacks
with Device Cookies". The cookie lets nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

LIFETIME: Final = 400 * 24 * 3600
"""Seconds that browsers keep it: the longest that they do (RFC 6265bis section 5.5)."""

_LABEL: Final = b"mailslot known browser"


def make(key: bytes) -> str:
    """Return the value of a cookie for a browser in which the administrator has just signed in.

    Args:
        key: what changes with the password.
    """
    name = secrets.token_urlsafe(16)
    return f"{name}.{_signature(key, name)}"


def check(key: bytes, value: str) -> str | None:
    """Return the name of the browser that a cookie's value was made for; None where it was not made here.

    Args:
        key: as for `make`.
        value: the cookie's.
    """
    name, _, signature = value.partition(".")
    right = hmac.compare_digest(signature.encode(), _signature(key, name).encode())
    return name if key and right else None


def _signature(key: bytes, name: str) -> str:
    return hmac.new(key, _LABEL + b"\0" + name.encode(), hashlib.sha256).hexdigest()
