"""Who has a mailbox in the lab."""

from __future__ import annotations

DOMAIN = "example.test"
USERS = ("daemon", "alice", "bob", "carol", "bøb")
"""The last one is for internationalised mail (RFC 6531), and has no tokens."""
PASSWORD = "secret"
"""Everybody's."""


def name(user: str) -> str:
    """The local part of an address of the lab: what mailbox, client and folder are called."""
    local, _, domain = user.partition("@")
    assert domain in {"", DOMAIN}, f"{user} is nobody in the lab"
    return local
