"""Recognises browsers in which the administrator has signed in before, by a cookie that outlives the session.

Such a browser is not slowed down by the guesses of others. Its own wrong guesses count, so a stolen cookie allows only
a few guesses. This is the protocol of OWASP, "Slow Down Online Guessing Attacks with Device Cookies". The cookie does
not sign anybody in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

LIFETIME: Final = 400 * 24 * 3600
"""Seconds that browsers keep the cookie: the maximum (RFC 6265bis section 5.5)."""

_LABEL: Final = b"mailslot known browser"


def make_cookie(key: bytes) -> str:
    """Return a cookie's value for a browser in which the administrator has just signed in.

    Args:
        key: a key that changes with the password.
    """
    name = secrets.token_urlsafe(16)
    return f"{name}.{_signature(key, name)}"


def check_cookie(key: bytes, value: str) -> str | None:
    """Return the name of the browser in a cookie's value; None if the value is not valid.

    Args:
        key: as for `make_cookie`.
        value: the cookie's value.
    """
    name, _, signature = value.partition(".")
    right = hmac.compare_digest(signature.encode(), _signature(key, name).encode())
    return name if key and right else None


def _signature(key: bytes, name: str) -> str:
    return hmac.new(key, _LABEL + b"\0" + name.encode(), hashlib.sha256).hexdigest()
