"""Whether a connection test was made with the settings that a record has now."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from mailslot.slots.keys import json_value
from mailslot.slots.settings import KEYS

if TYPE_CHECKING:
    from mailslot.diagnosis.history import PastTest
    from mailslot.diagnosis.result import TestResult
    from mailslot.slots.settings import Settings

_UNTESTED: Final = frozenset(
    {"sender_name", "check_interval", "after_fetch", "first_poll", "flow", "redirect_uri", "redirect_port"}
)
"""Settings that a test does not depend on."""


def tested_settings(settings: Settings) -> str:
    """Return a digest of the settings that a connection test depends on; secrets are no part of it."""
    facts = {key: str(json_value(getattr(settings, key))) for key in KEYS if key not in _UNTESTED}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def is_outdated(test: PastTest | TestResult, settings: Settings) -> bool:
    """Return whether the settings have changed since a test; False for tests that did not record them."""
    return bool(test.settings) and test.settings != tested_settings(settings)
