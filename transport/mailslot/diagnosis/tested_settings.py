"""Detects whether a record's settings have changed since a connection test."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from mailslot.errors import MailError
from mailslot.slots.keys import json_value
from mailslot.slots.settings import KEYS

if TYPE_CHECKING:
    from mailslot.diagnosis.history import PastTest
    from mailslot.diagnosis.result import TestResult
    from mailslot.slots.records import Records

_UNTESTED: Final = frozenset(
    {"sender_name", "check_interval", "after_fetch", "first_poll", "flow", "redirect_uri", "redirect_port"}
)
"""Settings that a test does not depend on."""


def tested_settings(records: Records, record: str) -> str:
    """Return a digest of what a connection test of a record depends on: its settings and its stored password.

    The digest does not depend on the password itself but on the vault's version of it, which also changes when secrets
    are encrypted with a new key. Blocks for a moment.

    Args:
        records: the records.
        record: the name of one.

    Returns:
        the digest; empty if the settings or the vault cannot be read.
    """
    try:
        settings = records.settings.current().records[record]
        facts: dict[str, object] = {
            key: str(json_value(getattr(settings, key))) for key in KEYS if key not in _UNTESTED
        }
        if settings.authentication == "password":
            facts["stored password"] = records.vault.mark(record, "password")
    except MailError:
        return ""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def is_outdated(test: PastTest | TestResult, current: str) -> bool:
    """Return whether the settings have changed since a test; False if that is unknown.

    Args:
        test: the test.
        current: the result of `tested_settings` now.
    """
    return bool(test.settings) and bool(current) and test.settings != current
