"""Fax addresses (RFC 3191, RFC 3192)."""

from __future__ import annotations

import pytest

from mailslot.errors import InputError
from mailslot_plugins.fax.address import fax_address


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("alice@example.com", "alice@example.com"),
        (" fax.room@example.com ", "fax.room@example.com"),
        ("FAX=+12027653000@gw.example", "FAX=+12027653000@gw.example"),
        ("fax=+1-202-765.3000@gw.example", "FAX=+12027653000@gw.example"),
        ("/FAX=+33-1-88335215/@gw.example", "FAX=+33188335215@gw.example"),
        ('"FAX=+12027653000/T33S=1387"@gw.example', "FAX=+12027653000/T33S=1387@gw.example"),
        ("FAX=+12027653000/t33s=13-87#*@gw.example", "FAX=+12027653000/T33S=1387#*@gw.example"),
        ("FAX=+12027653000/ISUB=1/X-A=b@gw.example", "FAX=+12027653000/ISUB=1/X-A=b@gw.example"),
    ],
)
def test_addresses(given: str, used: str) -> None:
    assert fax_address(given) == used


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("FAX=0123@gw.example", "begin with"),
        ("FAX=+@gw.example", "begin with"),
        ("FAX=+1a@gw.example", "begin with"),
        ("FAX=@gw.example", "begin with"),
        ("FAX=+1/T33S=x@gw.example", "sub-address"),
        ("FAX=+1/T33S=@gw.example", "sub-address"),
        ("FAX=+1/what@gw.example", "must be FAX="),
        ("FAX=+1//T33S=1@gw.example", "must be FAX="),
        (f"FAX=+1/{'A' * 30}={'b' * 30}@gw.example", "64 octets"),
        ("nobody", "domain"),
    ],
)
def test_invalid_addresses(given: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        fax_address(given)
