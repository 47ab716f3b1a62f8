"""Suppressing aioimaplib's log while it works for us: it would log tokens in base64, responses and mail."""

from __future__ import annotations

import logging
from typing import Final

from aioimaplib import aioimaplib


class _SilencingFilter(logging.Filter):
    """Drops everything that is logged in its context; nothing awaits there, so no other task's records are lost."""

    def __init__(self) -> None:
        super().__init__()
        self._working = False

    def __enter__(self) -> None:
        self._working = True

    def __exit__(self, *_: object) -> None:
        self._working = False

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - whatever it says
        return not self._working


silenced: Final = _SilencingFilter()
aioimaplib.log.addFilter(silenced)
