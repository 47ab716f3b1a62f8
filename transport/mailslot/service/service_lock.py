"""The service lock, which shows whether a service is running for a home folder."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

LOCK_TIMEOUT: Final = 2.0
"""Seconds that a service waits for the lock, since checking whether one is running holds it for a moment."""


def service_lock(home: Path) -> Path:
    """Return the lock file of a home folder's service."""
    return home / "locks" / "service.lock"


def is_service_running(home: Path) -> bool:
    """Whether a service is running for a home folder; also True if that is unknown. It blocks for a moment."""
    try:
        descriptor = os.open(service_lock(home), os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
