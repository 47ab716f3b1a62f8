"""The service lock, which shows whether a service is running for a home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mailslot.home.home import Home

SERVICE_LOCK: Final = "service"
"""The name of the lock."""

LOCK_TIMEOUT: Final = 2.0
"""Seconds that a service waits for the lock, since checking whether one is running holds it for a moment."""


def is_service_running(home: Home) -> bool:
    """Whether a service, or a fleet's worker, is running for a home; also True if that is unknown. It blocks."""
    return home.is_locked(SERVICE_LOCK) or home.has_workers()
