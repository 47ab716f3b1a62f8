"""Addresses of devices in a fleet: what libpq gets, and what people see."""

from __future__ import annotations

import pytest

from mailslot.errors import InputError
from mailslot.fleet.address import DeviceAddress, is_address, parse_address

DEVICE = "device=acme/copier"


@pytest.mark.parametrize(
    ("database", "shown"),
    [
        ("postgresql://db.example.com/mailslot", None),
        ("postgresql://ann@db.example.com:5432,other.example.com/mailslot", None),
        ("postgresql:///mailslot?host=/run/postgresql", None),
        ("postgresql://", None),
        ("postgresql://db/m?options=-c%20statement_timeout%3D5s&application_name=a+b", None),
        ("postgresql://ann:hush@[::1]:5432/m", "postgresql://ann@[::1]:5432/m"),
        ("postgresql://ann:hu?sh#@db/m?sslmode=require", "postgresql://ann@db/m?sslmode=require"),
        ("postgresql://ann:hush@ush@db/m", "postgresql://ann@db/m"),
        (
            "postgres://db/m?user=ann&password=hush&sslpassword=hush&sslmode=require",
            "postgres://db/m?user=ann&sslmode=require",
        ),
    ],
)
def test_a_device_has_an_address(database: str, shown: str | None) -> None:
    entered = f"{database}{'&' if '=' in database else '?'}{DEVICE}"
    address = parse_address(entered)
    assert address == DeviceAddress(database, "acme", "copier")
    assert address.full == entered
    assert address.shown == (entered if shown is None else f"{shown}{'&' if '=' in shown else '?'}{DEVICE}")
    assert is_address(entered)
    assert "hush" not in f"{address!r} {address.shown}"


def test_the_device_may_stand_anywhere() -> None:
    address = parse_address("postgresql://db/m?device=acme%2Fcopier&sslmode=require")
    assert address == DeviceAddress("postgresql://db/m?sslmode=require", "acme", "copier")


@pytest.mark.parametrize("end", ["", "?device=", "?device=acme", "?device=acme/A", "?device=a/b&device=a/c"])
def test_an_address_names_one_device(end: str) -> None:
    with pytest.raises(InputError, match=r"TENANT/DEVICE|cannot name"):
        parse_address(f"postgresql://db.example.com/mailslot{end}")
