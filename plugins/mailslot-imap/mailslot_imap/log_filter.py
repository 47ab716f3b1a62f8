"""Silence while aioimaplib works for us: it would log tokens in base64, what a server says back, and mail."""

from __future__ import annotations

import logging
from typing import Final

from aioimaplib import aioimaplib


class _Quiet(logging.Filter):
    """Drops what is logged in its context, in which nothing waits: so it is nobody else's."""

    def __init__(self) -> None:
        super().__init__()
        self._working = False

    def __enter__(self) -> None:
        self._working = True

    def __exit__(self, *_: object) -> None:
        self._working = False

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - whatever it says
        return not self._working


quiet: Final = _Quiet()
aioimaplib.log.addFilter(quiet)
